// Finds and ends everything that a program started: its session, its descendants, and what left both but still carries the program's mark.
import { setTimeout as pause } from "node:timers/promises";
import {
  bootId,
  isAlive,
  isSameProcess,
  livingProcesses,
  livingStat,
  readProc,
  type LastingIdentity,
  type ProcessIdentity,
  type ProcessStat,
} from "../os/process.ts";

export interface Prey {
  /** Leaders of sessions that belong to the build. */
  readonly leaders: readonly LastingIdentity[];
  /** The leaders were alive a moment ago, so that the numbers of their sessions cannot be somebody else's yet. */
  readonly recent: boolean;
  /** `NAME=value` that every process of the build has in its environment. */
  readonly mark: string;
  /** The control group that each of them was put into before it began, so that nobody else has to be looked at. */
  readonly group?: { members(): number[] } | undefined;
}

/** All living processes that belong to the build: members of its sessions, their descendants, and every process with its mark. */
export function findProcesses(prey: Prey): ProcessStat[] {
  const boot = bootId();
  const living = livingProcesses();
  const byPid = new Map(living.map((stat) => [stat.pid, stat]));
  const sessions = new Set<number>();
  for (const leader of prey.leaders) {
    if (leader.boot !== boot) continue;
    // While a session has members its number is not given to a new process; long after its leader is gone, only a process's mark tells whose it is.
    const now = byPid.get(leader.pid);
    if (now === undefined ? prey.recent : now.start === leader.start) sessions.add(leader.pid);
  }
  const since = firstStart(prey.leaders, boot);
  const found = new Set<number>();
  for (const stat of living) {
    if (stat.pid <= 1 || stat.pid === process.pid) continue;
    if (sessions.has(stat.session) || (Number(stat.start) >= since && hasMark(stat.pid, prey.mark))) found.add(stat.pid);
  }
  for (let grew = true; grew;) {
    grew = false;
    for (const stat of living)
      if (!found.has(stat.pid) && found.has(stat.parent)) {
        found.add(stat.pid);
        grew = true;
      }
  }
  return [...found].flatMap((pid) => byPid.get(pid) ?? []);
}

/** Nothing older than the first leader is the build's: it spares reading the environment of everything else on the machine. Without leaders nothing is known. */
function firstStart(leaders: readonly LastingIdentity[], boot: string): number {
  const starts = leaders.flatMap((leader) => (leader.boot === boot ? [Number(leader.start)] : []));
  return starts.length === 0 ? 0 : Math.min(...starts);
}

function hasMark(pid: number, mark: string): boolean {
  const environ = readProc(`/proc/${String(pid)}/environ`);
  return environ !== undefined && `\0${environ}`.includes(`\0${mark}\0`);
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM"))) throw error;
  }
}

/** Those that are left: in the group, and a leader that was ended before it had entered it. */
function findMembers(group: { members(): number[] }, leaders: readonly LastingIdentity[]): ProcessIdentity[] {
  return [...group.members().flatMap((pid) => livingStat(pid) ?? []), ...leaders.filter(isSameProcess)];
}

/** Kills until nothing of the build is left. Throws when something survives for `patience` ms (a process in uninterruptible sleep). */
export async function killProcesses(prey: Prey, patience = 10_000): Promise<void> {
  const until = performance.now() + patience;
  for (let round = 0; ; round += 1) {
    const victims = prey.group === undefined ? findProcesses(prey) : findMembers(prey.group, prey.leaders);
    if (victims.length === 0) return;
    if (performance.now() > until)
      throw new Error(`processes ${victims.map((victim) => victim.pid).join(", ")} of ${prey.mark} could not be killed`);
    for (const victim of victims) if (isAlive(victim)) sendSignal(victim.pid, "SIGKILL");
    await pause(Math.min(2 ** round, 50));
  }
}
