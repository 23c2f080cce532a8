// Finds and ends everything that a program started: its session, its descendants, and what left both but still carries the program's mark.
// Knows what a process is by pid, start time and boot id, so that a reused pid is never killed.
import { readFileSync, readdirSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

export interface ProcessIdentity { readonly pid: number; /** Clock ticks after boot, /proc/PID/stat field 22. */ readonly startTime: string; readonly bootId: string }

interface ProcessStat { readonly pid: number; readonly state: string; readonly parent: number; readonly session: number; readonly startTime: string }

export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** undefined when there is no such process. */
export function readStat(pid: number): ProcessStat | undefined {
  const text = readProc(pid, "stat");
  if (text === undefined) return undefined;
  // The name in parentheses may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { pid, state: fields[0] ?? "", parent: Number(fields[1]), session: Number(fields[3]), startTime: fields[19] ?? "" };
}

export function identityOf(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, startTime: stat.startTime, bootId: bootId() };
}

/** A process can end between any two looks at it: absent and unreadable are the same here. */
function readProc(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${String(pid)}/${name}`, "latin1");
  } catch (error) {
    if (error instanceof Error && "code" in error && ["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(String(error.code))) return undefined;
    throw error;
  }
}

export interface Prey {
  /** Leaders of sessions that belong to the build. */
  readonly leaders: readonly ProcessIdentity[];
  /** The leaders were alive a moment ago, so that the numbers of their sessions cannot be somebody else's yet. */
  readonly recent: boolean;
  /** `NAME=value` that every process of the build has in its environment. */
  readonly mark: string;
}

/** All living processes that belong to the build: members of its sessions, their descendants, and every process with its mark. */
export function findProcesses(prey: Prey): ProcessStat[] {
  const boot = bootId();
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  const living = pids.flatMap((pid) => readStat(pid) ?? []).filter((stat) => stat.state !== "Z" && stat.state !== "X");
  const byPid = new Map(living.map((stat) => [stat.pid, stat]));
  const sessions = new Set<number>();
  for (const leader of prey.leaders) {
    if (leader.bootId !== boot) continue;
    // While a session has members its number is not given to a new process; long after its leader is gone, only a process's mark tells whose it is.
    const now = byPid.get(leader.pid);
    if (now === undefined ? prey.recent : now.startTime === leader.startTime) sessions.add(leader.pid);
  }
  const found = new Set<number>();
  for (const stat of living) if (stat.pid > 1 && stat.pid !== process.pid && (sessions.has(stat.session) || hasMark(stat.pid, prey.mark))) found.add(stat.pid);
  for (let grew = true; grew;) {
    grew = false;
    for (const stat of living) if (!found.has(stat.pid) && found.has(stat.parent)) { found.add(stat.pid); grew = true; }
  }
  return [...found].flatMap((pid) => byPid.get(pid) ?? []);
}

function hasMark(pid: number, mark: string): boolean {
  const environ = readProc(pid, "environ");
  return environ !== undefined && `\0${environ}`.includes(`\0${mark}\0`);
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM"))) throw error;
  }
}

/** Kills until nothing of the build is left. Throws when something survives for `patience` ms (a process in uninterruptible sleep). */
export async function killProcesses(prey: Prey, patience = 10_000): Promise<void> {
  const until = performance.now() + patience;
  for (let round = 0; ; round += 1) {
    const victims = findProcesses(prey);
    if (victims.length === 0) return;
    if (performance.now() > until) throw new Error(`processes ${victims.map((victim) => victim.pid).join(", ")} of ${prey.mark} could not be killed`);
    for (const victim of victims) if (readStat(victim.pid)?.startTime === victim.startTime) sendSignal(victim.pid, "SIGKILL");
    await pause(Math.min(2 ** round, 50));
  }
}
