// What belongs to one Berth on this machine, read from its own files and from /proc: the processes to kill, and what must be gone in the end.
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly start: string;
  readonly command: string;
  readonly instance?: string;
}
export interface RunningInstance {
  readonly stack: string;
  readonly component: string;
  readonly id: string;
  readonly pid: number;
  readonly task: boolean;
}
export interface EdgePids {
  readonly primary: number;
  readonly workers: readonly number[];
  readonly agent: number | null;
  readonly collector: number | null;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // it ended meanwhile, or is not ours to read
  }
}

function json(path: string): Record<string, unknown> | undefined {
  const text = read(path);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>);
  } catch {
    return undefined; // being written
  }
}

/** Every process that was started by the Berth with this home, or by what it started: its command line, folder or environment names the home. Zombies have ended. */
export function processesOf(home: string): Process[] {
  const found: Process[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const stat = read(`/proc/${name}/stat`);
    if (stat === undefined) continue;
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") continue;
    const command = (read(`/proc/${name}/cmdline`) ?? "").replaceAll("\0", " ").trim();
    const environment = read(`/proc/${name}/environ`) ?? "";
    if (![command, environment, folderOf(name)].some((text) => text.includes(home))) continue;
    const instance = environment
      .split("\0")
      .find((entry) => entry.startsWith("BERTH_INSTANCE="))
      ?.slice("BERTH_INSTANCE=".length);
    found.push({
      pid: Number(name),
      parent: Number(fields[1]),
      start: fields[19] ?? "",
      command,
      ...(instance === undefined ? {} : { instance }),
    });
  }
  return found;
}

function folderOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

/** Instances and tasks whose program runs, from the agent's own records. */
export function runningInstances(home: string): RunningInstance[] {
  const folder = join(home, "edge", "instances");
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((id) => {
    const spec = json(join(folder, id, "spec.json")) as { ref?: { stack: string; component: string }; task?: unknown } | undefined;
    const state = json(join(folder, id, "state.json")) as { live?: boolean; program?: { pid: number; start: string } } | undefined;
    if (
      spec?.ref === undefined ||
      state?.live !== true ||
      state.program === undefined ||
      startOf(state.program.pid) !== state.program.start
    )
      return [];
    return [{ ...spec.ref, id, pid: state.program.pid, task: spec.task !== undefined }];
  });
}

/** undefined: it ended. */
export function startOf(pid: number): string | undefined {
  const stat = read(`/proc/${String(pid)}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields === undefined || fields[0] === "Z" ? undefined : fields[19];
}

export function postmasterPid(home: string): number | undefined {
  const pid = Number(postmasterLines(home)[0]);
  return Number.isInteger(pid) && pid > 0 && startOf(pid) !== undefined ? pid : undefined;
}

/** It has come up and takes questions. */
export function isDatabaseReady(home: string): boolean {
  return postmasterLines(home)[7]?.trim() === "ready";
}

function postmasterLines(home: string): string[] {
  return (read(join(home, "postgres", "data", "postmaster.pid")) ?? "").split("\n");
}

/** undefined while the edge does not answer. */
export async function edgePids(home: string): Promise<EdgePids | undefined> {
  const text = await askEdge(home, "/v1/hello");
  if (text === undefined) return undefined;
  const { pid, workers, agent, collector } = JSON.parse(text) as {
    pid: number;
    workers: number[];
    agent: number | null;
    collector: number | null;
  };
  return { primary: pid, workers, agent, collector };
}

/** Sum of a counter of the edge over all of its labels; undefined while the edge does not answer. */
export async function edgeCounter(home: string, name: string): Promise<number | undefined> {
  const text = await askEdge(home, "/metrics");
  return text
    ?.split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

function askEdge(home: string, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request({ socketPath: join(home, "run", "edge.sock"), path, timeout: 30_000 }, (answer) => {
      let text = "";
      answer
        .setEncoding("utf8")
        .on("data", (chunk: string) => {
          text += chunk;
        })
        .on("end", () => {
          resolve(answer.statusCode === 200 ? text : undefined);
        })
        .on("error", () => {
          resolve(undefined);
        });
    });
    asked
      .on("timeout", () => {
        asked.destroy();
      })
      .on("error", () => {
        resolve(undefined);
      })
      .end();
  });
}

/** TCP ports on which these processes listen, with one of them. */
export function listeningPorts(pids: readonly number[]): Map<number, number> {
  const owners = new Map(pids.flatMap((pid) => socketsOf(pid).map((inode) => [inode, pid] as const)));
  const ports = new Map<number, number>();
  for (const { state, inode, local } of tcpSockets()) {
    const owner = owners.get(inode);
    if (state === "0A" && owner !== undefined) ports.set(local, owner);
  }
  return ports;
}

/** The clients' ports of connections to this port that a process holds. */
export function clientPorts(pid: number, port: number): number[] {
  const own = new Set(socketsOf(pid));
  return [...tcpSockets()].flatMap(({ state, inode, local, remote }) =>
    state !== "0A" && local === port && own.has(inode) ? [remote] : [],
  );
}

function socketsOf(pid: number): string[] {
  const folder = `/proc/${String(pid)}/fd`;
  return filesOf(folder).flatMap((fd) => /^socket:\[(\d+)\]$/.exec(linkOf(join(folder, fd)))?.[1] ?? []);
}

/** proc(5): addresses and state in hexadecimal; `0A` is LISTEN. */
function* tcpSockets(): Generator<{ readonly state: string; readonly inode: string; readonly local: number; readonly remote: number }> {
  const portOf = (address = ""): number => Number.parseInt(address.split(":")[1] ?? "", 16);
  for (const line of ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => (read(file) ?? "").split("\n").slice(1))) {
    const fields = line.trim().split(/\s+/);
    if (fields.length > 9) yield { state: fields[3] ?? "", inode: fields[9] ?? "", local: portOf(fields[1]), remote: portOf(fields[2]) };
  }
}

/** Requests of the load that the edge's access log reports as interrupted: id -> the instance that had it. To be looked at now and then: the log keeps its bound. */
export class Interruptions {
  readonly #folder: string;
  /** Bytes that were read, by the file's inode: it is renamed when it is full. */
  readonly #read = new Map<number, number>();
  readonly found = new Map<string, string>();

  constructor(home: string) {
    this.#folder = join(home, "logs", "edge");
  }

  look(): ReadonlyMap<string, string> {
    for (const name of filesOf(this.#folder).filter((file) => file.startsWith("access.log"))) this.#take(join(this.#folder, name));
    return this.found;
  }

  #take(file: string): void {
    let fd: number;
    try {
      fd = openSync(file, "r");
    } catch {
      return; // moved meanwhile, and found by its other name next time
    }
    try {
      const { ino, size } = fstatSync(fd);
      const from = this.#read.get(ino) ?? 0;
      // An inode whose file is shorter than what was read is another file's now.
      const at = from > size ? 0 : from;
      const bytes = Buffer.alloc(size - at);
      const length = readSync(fd, bytes, 0, bytes.length, at);
      const whole = bytes.subarray(0, length).lastIndexOf(10) + 1;
      this.#read.set(ino, at + whole);
      for (const line of bytes.toString("utf8", 0, whole).split("\n")) this.#note(line);
    } finally {
      closeSync(fd);
    }
  }

  #note(line: string): void {
    if (!line.endsWith(',"interrupted":true}')) return;
    const { requestId, instance } = JSON.parse(line) as { requestId: string; instance?: string };
    if (requestId.startsWith("load-")) this.found.set(requestId, instance ?? "");
  }
}

/** What the access log has about a request: its line, or that there is none. */
export function accessLineOf(home: string, requestId: string): string {
  const folder = join(home, "logs", "edge");
  const lines = filesOf(folder)
    .filter((file) => file.startsWith("access.log"))
    .flatMap((file) => (read(join(folder, file)) ?? "").split("\n"));
  return lines.find((line) => line.includes(`"${requestId}"`)) ?? `no line about ${requestId}`;
}

/** Stops a process in the middle of whatever it does, so that it can be looked at; SIGKILL ends it from there. */
export async function freeze(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  const until = Date.now() + 30_000;
  while (!/^[TtZX]/.test(stateOf(pid)) && Date.now() < until) await delay(1);
}

/** Until a killed process is gone: on a busy machine its sockets stay open for a moment, and what is sent to them is lost with it. */
export async function gone(pid: number): Promise<void> {
  const until = Date.now() + 60_000;
  while (!/^[ZX]/.test(stateOf(pid)) && Date.now() < until) await delay(1);
}

function stateOf(pid: number): string {
  const stat = read(`/proc/${String(pid)}/stat`);
  return stat === undefined ? "X" : stat.slice(stat.lastIndexOf(")") + 2);
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
