// Who a process is on this machine, as /proc tells. A process id alone is never trusted, because pids are handed out again: identity is pid and start time,
// and beyond one boot of the machine the boot id too. What has ended is not there, also where its zombie is never reaped.
import { readFileSync, readdirSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/PID/stat. */ readonly start: string;
}

/** Fit to be written down: a reboot does not make another process of it. */
export interface LastingIdentity extends ProcessIdentity {
  readonly boot: string;
}

/** Fields of /proc/PID/stat, proc(5). */
export interface ProcessStat extends ProcessIdentity {
  /** What the kernel calls it, at most 15 characters. */
  readonly name: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly state: string;
  /** Clock ticks (100 a second on Linux) in user and kernel mode, own and of children that were waited for. */
  readonly ticks: number;
}

/** The text of a file below /proc; undefined when its process ended meanwhile or belongs to somebody else: there is nothing to know then. */
export function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (error instanceof Error && "code" in error && ["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(String(error.code))) return undefined;
    throw error;
  }
}

/** The name in parentheses may contain anything, so fields are counted after the last `)`. */
export function parseStat(text: string): ProcessStat | undefined {
  const end = text.lastIndexOf(")");
  const pid = Number.parseInt(text, 10);
  const fields = text
    .slice(end + 2)
    .trim()
    .split(" ");
  const start = fields[19];
  if (end < 0 || !Number.isInteger(pid) || start === undefined) return undefined;
  const number = (index: number): number => Number(fields[index] ?? 0);
  return {
    pid,
    start,
    name: text.slice(text.indexOf("(") + 1, end).replace(/[^\x20-\x7e]/g, "?"),
    state: fields[0] ?? "",
    parent: number(1),
    group: number(2),
    session: number(3),
    ticks: number(11) + number(12) + number(13) + number(14),
  };
}

/** Also of a zombie; undefined when there is no such process. */
export function statOf(pid: number): ProcessStat | undefined {
  const text = readProc(`/proc/${String(pid)}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

/** A zombie has ended: in a container whose first process never reaps, it stays for ever. */
const hasEnded = (stat: ProcessStat): boolean => stat.state === "Z" || stat.state === "X";

/** undefined when it has ended, too. */
export function livingStat(pid: number): ProcessStat | undefined {
  const stat = statOf(pid);
  return stat === undefined || hasEnded(stat) ? undefined : stat;
}

/** All processes that have not ended, in no order. */
export function livingProcesses(): ProcessStat[] {
  return readdirSync("/proc").flatMap((entry) => (/^\d+$/.test(entry) ? (livingStat(Number(entry)) ?? []) : []));
}

export function isRunning(pid: number): boolean {
  return livingStat(pid) !== undefined;
}

/** Whether exactly that process runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return livingStat(identity.pid)?.start === identity.start;
}

export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

/** The identity of a process, of a zombie too; undefined when there is none. */
export function identify(pid: number): LastingIdentity | undefined {
  const stat = statOf(pid);
  return stat === undefined ? undefined : { pid, start: stat.start, boot: bootId() };
}

/** Whether exactly that process runs, after a reboot too. */
export function isSameProcess(identity: LastingIdentity): boolean {
  return isAlive(identity) && identity.boot === bootId();
}
