// Reads failure and health out of observations: when a rollout cannot succeed any more, and what to call a component's state. Pure.
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { ComponentKind, ComponentSpec } from "@berth/contract/spec.ts";
import { duration } from "../words.ts";

export interface JudgedInstance {
  /** Of the wanted revision, and meant to stay. */
  readonly current: boolean;
  /** Since the rollout began: what an instance went through before it is not this rollout's failure. */
  readonly restarts: number;
  /** ms since the process of now was started. */
  readonly runningFor: number;
  readonly phase: string;
  readonly ready: boolean;
  readonly cause?: Cause;
}

/** Causes that waiting does not mend. */
const definite = new Set(["command_not_found", "volume_missing", "start_failed", "exited_zero", "artifact_missing"]);
/** Causes that a slow program may show for a while: some open a port for metrics long before the one that counts. They are shown at once, and believed after a time. */
const elsewhere = new Set(["wrong_port", "wrong_address"]);
/** ms that a program may listen elsewhere before that is taken for its mistake. */
const elsewherePatience = 15_000;
/** So many ends of one new instance mean that it will not come up. */
const exitLimit = 3;
/** ms without progress before a rollout fails, unless the strategy says otherwise. */
export const defaultProgressDeadline = 120_000;

/** ms that a program which listens elsewhere is waited for: its author's own word where there is one. A startup probe ends the run itself when its time is over. */
export function portPatience(probes: ComponentSpec["probes"]): number {
  return probes.startup === undefined ? elsewherePatience + (probes.readiness?.initialDelay ?? 0) : Number.POSITIVE_INFINITY;
}

/** Why the rollout cannot succeed, if that is certain by now. */
export function definiteFailure(instances: readonly JudgedInstance[], patience: number): Cause | undefined {
  for (const instance of instances) {
    if (!instance.current || instance.ready || instance.cause === undefined) continue;
    if (definite.has(instance.cause.code)) return instance.cause;
    // In its pause or over: its run was ended because of it.
    if (elsewhere.has(instance.cause.code) && (instance.runningFor >= patience || instance.phase === "backoff")) return instance.cause;
    if (instance.restarts >= exitLimit || (instance.restarts >= exitLimit - 1 && instance.phase === "backoff")) return instance.cause;
    if (instance.phase === "exited") return instance.cause;
  }
  return undefined;
}

/** What a rollout that still goes on is waiting for, as far as an instance tells: shown at once, long before it decides anything (promise 6). */
export function trouble(instances: readonly JudgedInstance[]): Cause | undefined {
  return instances.find((instance) => instance.current && !instance.ready && instance.cause !== undefined)?.cause;
}

/** The cause to show when the deadline passed: the most telling one of the instances, else that nothing moved. */
export function deadlineCause(
  instances: readonly JudgedInstance[],
  numbers: { readonly waited: number; readonly ready: number; readonly wanted: number },
): Cause {
  return (
    trouble(instances) ?? cause("deadline_exceeded", { waited: duration(numbers.waited), ready: numbers.ready, wanted: numbers.wanted })
  );
}

export interface Reached {
  readonly updated: number;
  readonly available: number;
  readonly old: number;
}
/** The furthest that a rollout has come, each number by itself. Only what goes beyond it is progress: a release that flaps must still meet its deadline (promise 4). */
export function furthest(before: Reached | undefined, now: Reached): { readonly best: Reached; readonly advanced: boolean } {
  if (before === undefined) return { best: now, advanced: true };
  const best = {
    updated: Math.max(before.updated, now.updated),
    available: Math.max(before.available, now.available),
    old: Math.min(before.old, now.old),
  };
  return { best, advanced: best.updated > before.updated || best.available > before.available || best.old < before.old };
}

/** What a component's state is called from; `lastRolloutFailed` matters only while nothing was ever released. */
export interface StateFacts {
  readonly kind: ComponentKind;
  readonly deleting: boolean;
  readonly stopped: boolean;
  readonly released: boolean;
  readonly rolloutOpen: boolean;
  readonly lastRolloutFailed: boolean;
  readonly wanted: number;
  readonly available: number;
}
export function componentState(
  facts: StateFacts,
): "new" | "healthy" | "progressing" | "degraded" | "failed" | "stopped" | "scheduled" | "deleting" {
  if (facts.deleting) return "deleting";
  if (facts.rolloutOpen) return "progressing";
  if (!facts.released) return facts.lastRolloutFailed ? "failed" : "new";
  if (facts.stopped) return "stopped";
  if (facts.kind === "cron") return "scheduled";
  return facts.available >= facts.wanted ? "healthy" : "degraded";
}
