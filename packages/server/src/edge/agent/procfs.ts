// Which processes belong to an instance and what they use, as /proc tells.
import { readlinkSync } from "node:fs";
import { uptime } from "node:os";
import { isAlive, livingProcesses, readProc, type ProcessIdentity, type ProcessStat } from "../../os/process.ts";

/** The process namespace that a process lives in, as the kernel names it: `pid:[4026531836]`; undefined when it may not be looked at. */
export function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    // It ended meanwhile, or belongs to another user.
    return undefined;
  }
}

/** Children of a process's main thread, the oldest first. */
export function childrenOf(pid: number): number[] {
  const told = readProc(`/proc/${pid}/task/${pid}/children`);
  if (told !== undefined)
    return told
      .split(" ")
      .filter((one) => one !== "")
      .map(Number);
  // A kernel without that file.
  return new ProcessTable().all
    .filter((one) => one.parent === pid)
    .sort((a, b) => Number(a.start) - Number(b.start))
    .map((one) => one.pid);
}

/** The instance that a process says it belongs to, by the environment it was started with; undefined when it may not be read. */
export function markOf(pid: number): string | undefined {
  const environment = readProc(`/proc/${pid}/environ`);
  return environment
    ?.split("\0")
    .find((entry) => entry.startsWith("BERTH_INSTANCE="))
    ?.slice("BERTH_INSTANCE=".length);
}

/** Clock ticks after which a process is taken to have become what it was started for: a mark comes with the environment, and that one with the program. */
const settled = 100;
/** Marks of settled processes by pid and start. Whoever is started by a marked one is marked from its first moment. */
const knownMarks = new Map<number, { readonly start: string; readonly mark: string | undefined }>();

/** All processes that had not ended when it was made. Marks are read when first asked for, and again as long as a process is young. */
export class ProcessTable {
  readonly all: readonly ProcessStat[] = livingProcesses();
  readonly #marks = new Map<number, string | undefined>();
  readonly #settledBefore = uptime() * 100 - settled;

  #mark({ pid, start }: ProcessStat): string | undefined {
    const known = knownMarks.get(pid);
    if (known?.start === start) return known.mark;
    if (!this.#marks.has(pid)) {
      const mark = markOf(pid);
      this.#marks.set(pid, mark);
      if (Number(start) < this.#settledBefore) knownMarks.set(pid, { start, mark });
    }
    return this.#marks.get(pid);
  }

  /**
   * The processes of an instance: the members of its control group, the program's session and group, all descendants, and (because without a group or a sandbox
   * a child may leave all three by forking twice) everything that carries the instance's mark in its environment.
   */
  membersOf(program: ProcessIdentity | undefined, instance: string, grouped: readonly number[] = []): ProcessStat[] {
    const members = new Map<number, ProcessStat>();
    const inGroup = new Set(grouped);
    // A pid that was handed out again since must not draw a stranger in.
    const root = program === undefined ? undefined : this.all.find((one) => one.pid === program.pid);
    const reused = program !== undefined && root !== undefined && root.start !== program.start;
    for (const one of this.all) {
      const kin = program !== undefined && !reused && (one.pid === program.pid || one.session === program.pid || one.group === program.pid);
      if (kin || inGroup.has(one.pid) || this.#mark(one) === instance) members.set(one.pid, one);
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

export interface TreeUsage {
  readonly cpuSeconds: number;
  readonly memory: number;
  readonly processes: number;
}

/** Seconds of CPU and bytes of memory (proportional set size where the kernel tells it, else resident size) of these processes together. */
export function usageOf(members: readonly ProcessStat[]): TreeUsage {
  let ticks = 0;
  let memory = 0;
  for (const member of members) {
    ticks += member.ticks;
    const rollup = readProc(`/proc/${member.pid}/smaps_rollup`);
    const kilobytes =
      /^Pss:\s+(\d+) kB/m.exec(rollup ?? "")?.[1] ?? /^VmRSS:\s+(\d+) kB/m.exec(readProc(`/proc/${member.pid}/status`) ?? "")?.[1];
    memory += Number(kilobytes ?? 0) * 1024;
  }
  return { cpuSeconds: ticks / 100, memory, processes: members.length };
}
