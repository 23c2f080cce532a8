// The programs of the cluster, each a session of its own that outlives the command which started it. What runs is known by pid and start time, in run/NAME.json.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { killProcesses, sendSignal } from "../../packages/server/src/builders/process.ts";
import { identify, isSameProcess, type LastingIdentity } from "../../packages/server/src/os/process.ts";
import { ClusterFailed } from "./failed.ts";
import { at, mark } from "./settings.ts";

export interface Daemon {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  /** Path -> content of the files that it reads; a change of them starts it anew. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

interface DaemonRecord {
  readonly identity: LastingIdentity;
  /** Of what it was started with. */
  readonly key: string;
}

const recordPath = (name: string): string => at("run", `${name}.json`);
export const logPath = (name: string): string => at("log", `${name}.log`);

/** Starts it, unless it runs already with the same arguments and files. Returns whether it had to. */
export async function startDaemon({ name, argv, files = {}, env = {} }: Daemon): Promise<boolean> {
  const key = createHash("sha256")
    .update(JSON.stringify([argv, files, env]))
    .digest("hex");
  const before = readRecord(name);
  if (before !== undefined && isSameProcess(before.identity) && before.key === key) return false;
  await stopDaemon(name);
  for (const [path, content] of Object.entries(files)) writeFileSync(path, content);
  for (const folder of ["run", "log"]) mkdirSync(at(folder), { recursive: true });
  const log = openSync(logPath(name), "a");
  const child = spawn("nice", ["-n", priority, ...argv], {
    detached: true,
    stdio: ["ignore", log, log],
    cwd: at(),
    env: { PATH: searchPath, HOME: at(), [mark.name]: mark.value, ...env },
  });
  closeSync(log);
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  prefer(child.pid ?? 0);
  const identity = identify(child.pid ?? 0);
  if (identity !== undefined) writeFileSync(recordPath(name), JSON.stringify({ identity, key } satisfies DaemonRecord));
  child.unref();
  return true;
}

/** A cluster is other machines, elsewhere: what tests do beside it is not to hold up who says which pods are there and who leads requests to them. */
const priority = "-10";

/** Where the kernel shares its time by sessions, the priority of a process counts only within its own. As far as this machine lets us. */
function prefer(pid: number): void {
  try {
    writeFileSync(`/proc/${String(pid)}/autogroup`, priority);
  } catch (error) {
    if (!["ENOENT", "EPERM", "EACCES", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** Programs of Debian that plain users do not have on their path; and the cluster's own environment is not the caller's. */
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function isDaemonRunning(name: string): boolean {
  const record = readRecord(name);
  return record !== undefined && isSameProcess(record.identity);
}

/** Names of all that were started and not stopped, whether they still run or not. */
export function startedDaemons(): string[] {
  if (!existsSync(at("run"))) return [];
  return readdirSync(at("run")).flatMap((file) => (file.endsWith(".json") ? file.slice(0, -".json".length) : []));
}

/** Asks it to end, and kills it after `patience` ms. */
export async function stopDaemon(name: string, patience = 5000): Promise<void> {
  const record = readRecord(name);
  if (record === undefined) return;
  const { identity } = record;
  if (isSameProcess(identity)) sendSignal(identity.pid, "SIGTERM");
  for (const until = performance.now() + patience; isSameProcess(identity) && performance.now() < until;) await pause(20);
  while (isSameProcess(identity)) {
    sendSignal(identity.pid, "SIGKILL");
    await pause(20);
  }
  rmSync(recordPath(name), { force: true });
}

/** Kills every program of the cluster with all that they started, containers too. */
export async function killEverything(): Promise<void> {
  await killProcesses({ leaders: [], recent: false, mark: `${mark.name}=${mark.value}` });
  for (const name of startedDaemons()) rmSync(recordPath(name), { force: true });
}

/**
 * Waits until `done` says so; what it throws means "not yet". Errors: ClusterFailed `daemon_ended` when one of the daemons ends meanwhile, and `not_ready` after
 * `patience` ms, both with the end of its log.
 */
export async function until(what: string, daemons: readonly string[], done: () => Promise<boolean>, patience = 180_000): Promise<void> {
  let last: unknown;
  for (const end = performance.now() + patience; ;) {
    try {
      if (await done()) return;
    } catch (error) {
      last = error;
    }
    const ended = daemons.find((name) => !isDaemonRunning(name));
    if (ended !== undefined)
      throw new ClusterFailed("daemon_ended", `${ended} ended at its start.`, `Its log: ${logPath(ended)}`, readLog(ended));
    if (performance.now() > end) {
      const seen = last instanceof Error ? `\n${last.message}` : "";
      const [name = ""] = daemons;
      throw new ClusterFailed(
        "not_ready",
        `No ${what} after ${String(patience / 1000)} s.`,
        `Logs: ${at("log")}`,
        `${readLog(name)}${seen}`,
      );
    }
    await pause(50);
  }
}

function readLog(name: string): string {
  return existsSync(logPath(name)) ? readFileSync(logPath(name), "utf8").slice(-8000) : "";
}

function readRecord(name: string): DaemonRecord | undefined {
  try {
    return JSON.parse(readFileSync(recordPath(name), "utf8")) as DaemonRecord;
  } catch (error) {
    // What a power cut left of it belongs to another boot.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
