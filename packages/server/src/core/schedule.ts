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

export type DueRun = { readonly do: "run" } | { readonly do: "miss" } | { readonly do: "skip" } | { readonly do: "replace"; readonly running: readonly string[] };

/** What to do with the run that was due at `due`, given those that still run. */
export function dueRun(schedule: Schedule, due: Date, now: Date, running: readonly string[]): DueRun {
  if (now.getTime() - due.getTime() > (schedule.startingDeadline ?? defaultStartingDeadline)) return { do: "miss" };
  if (running.length === 0 || schedule.overlap === "allow") return { do: "run" };
  return schedule.overlap === "replace" ? { do: "replace", running } : { do: "skip" };
}
