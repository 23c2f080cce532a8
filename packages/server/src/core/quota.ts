// What a stack may use in all, and whether a change keeps to it. Counted is what is wanted, not what runs: so many instances, each with its limits. Pure.
import type { Quota, QuotaUse } from "@berth/contract/resources/stacks.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { formatBytes } from "./compose/units.ts";

/** A component as far as it counts. */
export interface Counted {
  readonly name: string;
  readonly spec: ComponentSpec;
  readonly replicas: number;
  readonly stopped: boolean;
}

/** How many instances of it there may be. What an autoscaler may make of it counts as if it had; runs of a schedule and tasks do not count. */
export function mostInstances({ spec, replicas, stopped }: Omit<Counted, "name">): number {
  if (stopped || spec.kind === "cron") return 0;
  return spec.autoscale?.max ?? replicas;
}

export function useOf(components: readonly Counted[]): QuotaUse {
  const sum = (each: (spec: ComponentSpec) => number): number =>
    components.reduce((total, component) => total + mostInstances(component) * each(component.spec), 0);
  // Thousandths, so that ten tenths are one.
  return {
    instances: sum(() => 1),
    cpu: sum(({ resources }) => Math.round((resources.cpu ?? 0) * 1000)) / 1000,
    memory: sum(({ resources }) => resources.memory ?? 0),
  };
}

export type QuotaProblem =
  | { readonly problem: "over"; readonly what: string; readonly asked: string; readonly used: string; readonly limit: string }
  /** It says no limit of its own, so that nobody knows what it will use. */
  | { readonly problem: "unbounded"; readonly component: string; readonly what: "cpu" | "memory"; readonly limit: string };

const told = {
  instances: (amount: number) => String(amount),
  cpu: (amount: number) => `${String(amount)} cores`,
  memory: formatBytes,
} as const;

/**
 * What speaks against a change, if anything. A stack that is above its quota already, since that was lowered, may still be made smaller, and changed in what the quota does not speak of.
 * `before` and `after`: all components of the stack.
 */
export function quotaProblem(quota: Quota, before: readonly Counted[], after: readonly Counted[]): QuotaProblem | undefined {
  const used = useOf(before);
  const wanted = useOf(after);
  for (const what of ["instances", "cpu", "memory"] as const) {
    const limit = quota[what];
    if (limit === undefined) continue;
    if (what !== "instances") {
      const wasBounded = (name: string): boolean => before.every((one) => one.name !== name || isBounded(one, what));
      const unbounded = after.find((one) => !isBounded(one, what) && wasBounded(one.name));
      if (unbounded !== undefined) return { problem: "unbounded", component: unbounded.name, what, limit: told[what](limit) };
    }
    if (wanted[what] > limit && wanted[what] > used[what])
      return {
        problem: "over",
        what,
        asked: told[what](Math.round((wanted[what] - used[what]) * 1000) / 1000),
        used: told[what](used[what]),
        limit: told[what](limit),
      };
  }
  return undefined;
}

const isBounded = (component: Counted, what: "cpu" | "memory"): boolean =>
  mostInstances(component) === 0 || component.spec.resources[what] !== undefined;
