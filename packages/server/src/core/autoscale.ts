// What scaling by what instances use asks of a component, and what it comes to for one instance of it. Pure.
import type { Autoscale, ComponentSpec } from "@berth/contract/spec.ts";

/** Why a component's `autoscale` cannot be done, and the way out; undefined: it can, or there is none. */
export function autoscaleProblem(spec: ComponentSpec): { readonly reason: string; readonly way: string } | undefined {
  const { autoscale, resources } = spec;
  if (autoscale === undefined) return undefined;
  if (spec.kind !== "web" && spec.kind !== "worker")
    return { reason: `a component of the kind ${spec.kind} is not made of instances that come and go`, way: "Leave `autoscale` out." };
  if (spec.placement !== undefined) return { reason: "it is placed in clusters by number", way: "Leave `autoscale` or `placement` out." };
  if (spec.restart !== "always")
    return { reason: "what may end by itself is not scaled", way: "Leave `autoscale` out, or let it restart always." };
  if (spec.strategy.type === "recreate")
    return {
      reason: "its strategy is `recreate`, for what only one instance may hold",
      way: "Leave `autoscale` out, or let it be `rolling`.",
    };
  if (autoscale.max < autoscale.min)
    return {
      reason: `its most, ${String(autoscale.max)}, is below its least, ${String(autoscale.min)}`,
      way: "Let `max` be `min` or more.",
    };
  if (autoscale.cpu === undefined && autoscale.memory === undefined)
    return { reason: "it says of nothing how much an instance should use", way: "Add `cpu: 70`, percent of its limit." };
  if (autoscale.cpu !== undefined && resources.cpu === undefined)
    return { reason: "a percentage of its cpu takes a limit, and it has none", way: "Add `cpus: 1` to the service." };
  if (autoscale.memory !== undefined && resources.memory === undefined)
    return { reason: "a percentage of its memory takes a limit, and it has none", way: "Add `mem_limit: 512m` to the service." };
  return undefined;
}

/** A number of instances within the limits, where there are any. */
export const within = (replicas: number, limits: Autoscale | undefined): number =>
  limits === undefined ? replicas : Math.min(Math.max(replicas, limits.min), limits.max);

/** How much one instance should use on average: thousandths of a core, and bytes. `resources`: its own limits. */
export function wantedUse(limits: Autoscale, resources: ComponentSpec["resources"]): { readonly cpu?: number; readonly memory?: number } {
  const part = (percent: number | undefined, limit: number | undefined, unit: number): number | undefined =>
    percent === undefined || limit === undefined ? undefined : Math.max(1, Math.floor((limit * unit * percent) / 100));
  const cpu = part(limits.cpu, resources.cpu, 1000);
  const memory = part(limits.memory, resources.memory, 1);
  return { ...(cpu === undefined ? {} : { cpu }), ...(memory === undefined ? {} : { memory }) };
}
