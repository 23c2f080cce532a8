// When a cron component runs, and what becomes of a run that is due. Pure: croner only computes instants here, it starts no timer.
import type { Schedule } from "@berth/contract/spec.ts";
import { Cron } from "croner";

/** The first instant after `after`; undefined when there is none. Throws a RangeError-like error for an expression that is not one. */
export function nextRun(schedule: Schedule, after: Date): Date | undefined {
  const cron = new Cron(schedule.cron, { timezone: schedule.timeZone ?? "Etc/UTC", paused: true, mode: "5-part" });
  return cron.nextRun(after) ?? undefined;
}

/** Why the schedule cannot be used; undefined when it can. */
export function scheduleProblem(schedule: Schedule): string | undefined {
  try {
    return nextRun(schedule, new Date(0)) === undefined ? "it never comes due" : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** ms after its instant that a run may still start when nothing else is said. */
const defaultStartingDeadline = 60_000;

/** Most instants of an absence that are told apart; of a longer one the rest is left out. */
const mostMissed = 100;

/** Which instants came since `due`, that one included: only the last of them can still run, the others were missed. `due` is not after `now`. */
export function dueInstants(schedule: Schedule, due: Date, now: Date): { readonly missed: readonly Date[]; readonly last: Date } {
  const missed: Date[] = [];
  let last = due;
  // After a very long absence the search goes on where a run could still start.
  const window = new Date(now.getTime() - (schedule.startingDeadline ?? defaultStartingDeadline));
  for (;;) {
    const next = nextRun(schedule, missed.length >= mostMissed && last < window ? window : last);
    if (next === undefined || next > now) return { missed, last };
    if (missed.length < mostMissed) missed.push(last);
    last = next;
  }
}

export type DueRun = { readonly do: "run" } | { readonly do: "miss" } | { readonly do: "skip" } | { readonly do: "replace"; readonly running: readonly string[] };

/** What to do with the run that was due at `due`, given those that still run. */
export function dueRun(schedule: Schedule, due: Date, now: Date, running: readonly string[]): DueRun {
  if (now.getTime() - due.getTime() > (schedule.startingDeadline ?? defaultStartingDeadline)) return { do: "miss" };
  if (running.length === 0 || schedule.overlap === "allow") return { do: "run" };
  return schedule.overlap === "replace" ? { do: "replace", running } : { do: "skip" };
}
