// Reads /proc: who a process is, which processes belong to an instance, what they use and where they listen.
// A process id alone is never trusted: identity is pid + start time + boot id, because pids are handed out again.
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { basename } from "node:path";

export interface ProcessIdentity { readonly pid: number; /** Field 22 of /proc/PID/stat, clock ticks since boot. */ readonly start: string }

export interface ProcessStat extends ProcessIdentity {
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly state: string;
  /** Clock ticks (100 a second on Linux) in user and kernel mode, own and of children that were waited for. */
  readonly ticks: number;
}

/** proc(5): the name in parentheses may contain anything, so fields are counted after the last `)`. */
export function parseStat(text: string): ProcessStat | undefined {
  const end = text.lastIndexOf(")");
  const pid = Number.parseInt(text, 10);
  const fields = text.slice(end + 2).trim().split(" ");
  const start = fields[19];
  if (end < 0 || !Number.isInteger(pid) || start === undefined) return undefined;
  const number = (index: number): number => Number(fields[index] ?? 0);
  return { pid, start, state: fields[0] ?? "", parent: number(1), group: number(2), session: number(3), ticks: number(11) + number(12) + number(13) + number(14) };
}

export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process ended meanwhile, or belongs to someone else: both mean "nothing to know here".
    return undefined;
  }
}

export function statOf(pid: number): ProcessStat | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

/** A zombie has ended: in a container whose first process never reaps, it stays for ever. */
const ended = (stat: ProcessStat): boolean => stat.state === "Z" || stat.state === "X";

export function isAlive(identity: ProcessIdentity): boolean {
  const stat = statOf(identity.pid);
  return stat !== undefined && stat.start === identity.start && !ended(stat);
}

/** The environment a process was started with; undefined when it may not be read. */
function markOf(pid: number): string | undefined {
  const environment = readProc(`/proc/${pid}/environ`);
  return environment?.split("\0").find((entry) => entry.startsWith("BERTH_INSTANCE="))?.slice("BERTH_INSTANCE=".length);
}

/** All processes that had not ended when it was made. Marks are read when first asked for. */
export class ProcessTable {
  readonly all: readonly ProcessStat[];
  readonly #marks = new Map<number, string | undefined>();

  constructor() {
    const found: ProcessStat[] = [];
    for (const entry of readdirSync("/proc")) {
      const stat = /^\d+$/.test(entry) ? statOf(Number(entry)) : undefined;
      if (stat !== undefined && !ended(stat)) found.push(stat);
    }
    this.all = found;
  }

  #mark(pid: number): string | undefined {
    if (!this.#marks.has(pid)) this.#marks.set(pid, markOf(pid));
    return this.#marks.get(pid);
  }

  /**
   * The processes of an instance: the program's session and group, all descendants, and (because a child may leave all three by forking twice)
   * everything that carries the instance's mark in its environment. A cgroup's members belong here too, once instances have one.
   */
  membersOf(program: ProcessIdentity | undefined, instance: string): ProcessStat[] {
    const members = new Map<number, ProcessStat>();
    // A pid that was handed out again since must not draw a stranger in.
    const root = program === undefined ? undefined : this.all.find((one) => one.pid === program.pid);
    const reused = program !== undefined && root !== undefined && root.start !== program.start;
    for (const one of this.all) {
      const kin = program !== undefined && !reused && (one.pid === program.pid || one.session === program.pid || one.group === program.pid);
      if (kin || this.#mark(one.pid) === instance) members.set(one.pid, one);
    }
    for (let grew = true; grew;) {
      grew = false;
      for (const one of this.all) {
        if (!members.has(one.pid) && members.has(one.parent)) {
          members.set(one.pid, one);
          grew = true;
        }
      }
    }
    return [...members.values()];
  }
}

/** Sends a signal to each of these processes unless it ended or its pid went to another process since it was read. */
export function signalAll(members: readonly ProcessIdentity[], signal: NodeJS.Signals): void {
  for (const member of members) {
    if (!isAlive(member)) continue;
    try {
      process.kill(member.pid, signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }
}

/** Sends a signal to the process group that this process leads, unless it has ended. */
export function signalGroup(leader: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(leader)) return;
  try {
    process.kill(-leader.pid, signal);
  } catch (error) {
    // Ended between the look and the signal.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

export interface Listener { readonly port: number; readonly inode: string; readonly uid: number; readonly host: string }

/** Listening TCP sockets of this network namespace, IPv4 and IPv6. */
export function listeners(): Listener[] {
  const found: Listener[] = [];
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of (readProc(file) ?? "").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      const [host, port] = (fields[1] ?? "").split(":");
      if (fields[3] !== "0A" || host === undefined || port === undefined) continue;
      found.push({ port: Number.parseInt(port, 16), inode: fields[9] ?? "", uid: Number(fields[7] ?? 0), host });
    }
  }
  return found;
}

/** Inodes of the sockets that a process holds open; empty when it may not be looked at. */
export function socketsOf(pid: number): Set<string> {
  const inodes = new Set<string>();
  let entries: string[];
  try {
    entries = readdirSync(`/proc/${pid}/fd`);
  } catch {
    // It ended meanwhile or belongs to another user.
    return inodes;
  }
  for (const entry of entries) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${entry}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // The descriptor was closed between listing and reading.
    }
  }
  return inodes;
}

/** TCP ports on which any of these processes listens, ascending. */
export function portsOf(members: readonly { readonly pid: number }[]): number[] {
  const open = listeners();
  const ports = new Set<number>();
  for (const member of members) {
    const inodes = socketsOf(member.pid);
    for (const one of open) if (inodes.has(one.inode)) ports.add(one.port);
  }
  return [...ports].sort((a, b) => a - b);
}

export interface PortOwner { readonly pid?: number; readonly name: string; readonly uid: number; /** Instance of Berth that the owner belongs to. */ readonly instance?: string }

/** What a program was called by when it was started; its threads may call themselves what they like, but are not what people know it by. */
function programName(pid: number): string {
  const [called = ""] = (readProc(`/proc/${pid}/cmdline`) ?? "").split(/[\0 ]/);
  return basename(called).replace(/:$/, "") || readProc(`/proc/${pid}/comm`)?.trim() || "a program";
}

/** Who listens on a port; undefined when nobody does. */
export function ownerOf(port: number): PortOwner | undefined {
  const wanted = listeners().filter((one) => one.port === port);
  const first = wanted[0];
  if (first === undefined) return undefined;
  const inodes = new Set(wanted.map((one) => one.inode));
  for (const one of new ProcessTable().all) {
    for (const inode of socketsOf(one.pid)) {
      if (!inodes.has(inode)) continue;
      const name = programName(one.pid);
      const instance = markOf(one.pid);
      return { pid: one.pid, name, uid: first.uid, ...(instance === undefined ? {} : { instance }) };
    }
  }
  return { name: "a program", uid: first.uid };
}

export interface TreeUsage { readonly cpuSeconds: number; readonly memory: number; readonly processes: number }

/** Seconds of CPU and bytes of memory (proportional set size where the kernel tells it, else resident size) of these processes together. */
export function usageOf(members: readonly ProcessStat[]): TreeUsage {
  let ticks = 0;
  let memory = 0;
  for (const member of members) {
    ticks += member.ticks;
    const rollup = readProc(`/proc/${member.pid}/smaps_rollup`);
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(rollup ?? "")?.[1] ?? /^VmRSS:\s+(\d+) kB/m.exec(readProc(`/proc/${member.pid}/status`) ?? "")?.[1];
    memory += Number(kilobytes ?? 0) * 1024;
  }
  return { cpuSeconds: ticks / 100, memory, processes: members.length };
}
