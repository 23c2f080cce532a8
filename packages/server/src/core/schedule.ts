// When a cron component runs, and what becomes of a run that is due. Pure: croner only computes instants here, it starts no timer.
import type { Schedule } from "@berth/contract/spec.ts";
import { Cron } from "croner";

const minute = 60_000;
/** ms; no zone sets its clocks back further at once. */
const setBackAtMost = 180 * minute;

/**
 * The first instant after `after`; undefined when there is none. Throws for an expression that is not one; `scheduleProblem` tells beforehand.
 * When clocks go forward, what falls into the missing hour runs as if they had not; when they go back, a time of day comes once, but what runs every hour goes on in the repeated one.
 */
export function nextRun(schedule: Schedule, after: Date): Date | undefined {
  const timeZone = schedule.timeZone ?? "Etc/UTC";
  const cron = new Cron(schedule.cron, { timezone: timeZone, paused: true, mode: "5-part" });
  const areSetBack = zoneOffset(later(after, -setBackAtMost), timeZone) > zoneOffset(later(after, setBackAtMost), timeZone);
  if (!areSetBack) return cron.nextRun(after) ?? undefined;
  // About that time croner passes over the repeated hour and, asked from within it, answers with an instant before `after`.
  const isHourly = schedule.cron.trim().split(/\s+/)[1]?.startsWith("*") === true;
  const end = later(after, 2 * setBackAtMost);
  for (let at = after; at < end; at = nextMinute(at)) {
    const found = isHourly ? nextMinute(at) : cron.nextRun(at);
    if (found !== null && found > after && (!isHourly || cron.match(found))) return found;
  }
  return cron.nextRun(end) ?? undefined;
}

const later = (at: Date, ms: number): Date => new Date(at.getTime() + ms);
const nextMinute = (at: Date): Date => new Date(Math.floor(at.getTime() / minute) * minute + minute);

/** ms that clocks there are ahead of UTC. */
function zoneOffset(at: Date, timeZone: string): number {
  const local = at.toLocaleString("sv-SE", { timeZone }).replace(" ", "T");
  return Date.parse(`${local}Z`) - Math.floor(at.getTime() / 1_000) * 1_000;
}

/** Why the schedule cannot be used; undefined when it can. */
export function scheduleProblem(schedule: Schedule): string | undefined {
  const fields = schedule.cron.trim().split(/\s+/).length;
  if (fields !== 5)
    return `it has ${fields} ${fields === 1 ? "field" : "fields"} instead of five: minute hour day-of-month month day-of-week`;
  if (schedule.timeZone !== undefined && !isTimeZone(schedule.timeZone)) return `${schedule.timeZone} is not an IANA time zone`;
  try {
    return nextRun(schedule, new Date(0)) === undefined ? "it never comes due" : undefined;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).replace(/^Cron\w*: /, "");
  }
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false; // a RangeError is how Intl answers this question
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

export type DueRun =
  | { readonly do: "run" }
  | { readonly do: "miss" }
  | { readonly do: "skip" }
  | { readonly do: "replace"; readonly running: readonly string[] };

/** What to do with the run that was due at `due`, given those that still run. */
export function dueRun(schedule: Schedule, due: Date, now: Date, running: readonly string[]): DueRun {
  if (now.getTime() - due.getTime() > (schedule.startingDeadline ?? defaultStartingDeadline)) return { do: "miss" };
  if (running.length === 0 || schedule.overlap === "allow") return { do: "run" };
  return schedule.overlap === "replace" ? { do: "replace", running } : { do: "skip" };
}
