// Reads failure and health out of observations: when a rollout cannot succeed any more, and what to call a component's state. Pure.
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { ComponentKind } from "@berth/contract/spec.ts";

export interface JudgedInstance {
  readonly current: boolean;
  readonly restarts: number;
  readonly phase: string;
  readonly ready: boolean;
  readonly cause?: Cause;
}

/** Causes that waiting does not mend. */
const definite = new Set(["command_not_found", "wrong_port", "volume_missing", "start_failed", "exited_zero", "artifact_missing"]);
/** So many ends of one new instance mean that it will not come up. */
const exitLimit = 3;
/** ms without progress before a rollout fails, unless the strategy says otherwise. */
export const defaultProgressDeadline = 120_000;

/** Why the rollout cannot succeed, if that is certain by now. */
export function definiteFailure(instances: readonly JudgedInstance[]): Cause | undefined {
  for (const instance of instances) {
    if (!instance.current || instance.ready || instance.cause === undefined) continue;
    if (definite.has(instance.cause.code)) return instance.cause;
    if (instance.restarts >= exitLimit || (instance.restarts >= exitLimit - 1 && instance.phase === "backoff")) return instance.cause;
    if (instance.phase === "exited") return instance.cause;
  }
  return undefined;
}

/** The cause to show when the deadline passed: the most telling one of the instances, else that nothing moved. */
export function deadlineCause(instances: readonly JudgedInstance[], numbers: { readonly waited: number; readonly ready: number; readonly wanted: number }): Cause {
  const told = instances.find((instance) => instance.current && !instance.ready && instance.cause !== undefined)?.cause;
  return told ?? cause("deadline_exceeded", { waited: duration(numbers.waited), ready: numbers.ready, wanted: numbers.wanted });
}

export interface Reached { readonly updated: number; readonly available: number; readonly old: number }
/** The furthest that a rollout has come, each number by itself. Only what goes beyond it is progress: a release that flaps must still meet its deadline (promise 4). */
export function furthest(before: Reached | undefined, now: Reached): { readonly best: Reached; readonly advanced: boolean } {
  if (before === undefined) return { best: now, advanced: true };
  const best = { updated: Math.max(before.updated, now.updated), available: Math.max(before.available, now.available), old: Math.min(before.old, now.old) };
  return { best, advanced: best.updated > before.updated || best.available > before.available || best.old < before.old };
}

/** `250 ms`, `4.2 s`, `90 s`, `3 min`, `2 h`, `7 days`: for sentences. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1000).toFixed(ms < 9_950 ? 1 : 0)} s`;
  if (ms < 100 * 60_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 50 * 3_600_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** What a component's state is called from; `lastRolloutFailed` matters only while nothing was ever released. */
export interface StateFacts { readonly kind: ComponentKind; readonly deleting: boolean; readonly stopped: boolean; readonly released: boolean; readonly rolloutOpen: boolean; readonly lastRolloutFailed: boolean; readonly wanted: number; readonly available: number }
export function componentState(facts: StateFacts): "new" | "healthy" | "progressing" | "degraded" | "failed" | "stopped" | "scheduled" | "deleting" {
  if (facts.deleting) return "deleting";
  if (facts.rolloutOpen) return "progressing";
  if (!facts.released) return facts.lastRolloutFailed ? "failed" : "new";
  if (facts.stopped) return "stopped";
  if (facts.kind === "cron") return "scheduled";
  return facts.available >= facts.wanted ? "healthy" : "degraded";
}
