// How a component that is scaled by what its instances use is told of.
import type { Component } from "@berth/contract/resources/components.ts";

/** `3 now, 2 to 10, for 70% of cpu`; undefined: it is scaled by hand. */
export function autoscaleText({ replicas, stopped, spec }: Pick<Component, "replicas" | "stopped" | "spec">): string | undefined {
  const limits = spec.autoscale;
  if (limits === undefined) return undefined;
  const aims = [
    ...(limits.cpu === undefined ? [] : [`${limits.cpu}% of cpu`]),
    ...(limits.memory === undefined ? [] : [`${limits.memory}% of memory`]),
  ];
  return `${stopped ? "stopped" : `${replicas} now`}, ${limits.min} to ${limits.max}, for ${aims.join(" and ")}`;
}

/** What stands in the column of a list: `2/3`, and between which numbers the cluster decides: `2/3 (1-10)`. */
export function readyText({ kind, ready, replicas, spec }: Pick<Component, "kind" | "ready" | "replicas" | "spec">): string {
  if (kind === "cron") return "-";
  return `${ready}/${replicas}${spec.autoscale === undefined ? "" : ` (${spec.autoscale.min}-${spec.autoscale.max})`}`;
}
