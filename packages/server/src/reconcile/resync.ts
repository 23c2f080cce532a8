// Resync: compares what a cluster really has with what was seen last, and wakes the loops of components that differ. Watching is a hint, this is the truth.
// It counts what it had to repair; it removes nothing, least of all what it does not know.
import type { Db } from "../db/pool.ts";
import type { Engine, Observed } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";
import { wakeComponent } from "../resources/intent.ts";

export interface ResyncDeps {
  readonly db: Db;
  readonly places: { engine(cluster: string): Pick<Engine, "list">; traffic(cluster: string): Pick<Traffic, "list"> };
  readonly countDrift: (cluster: string, what: "instances" | "routes") => void;
  /** Told of objects of this installation that the database does not know. */
  readonly reportUnknown: (cluster: string, refs: readonly string[]) => void;
}

export async function resync(deps: ResyncDeps, cluster: string, signal: AbortSignal): Promise<{ readonly woken: number }> {
  const rows = await deps.db.selectFrom("components as c").innerJoin("stacks as s", "s.id", "c.stack_id").innerJoin("clusters as k", "k.id", "s.cluster_id").leftJoin("rollouts as o", (join) => join.onRef("o.component_id", "=", "c.id").on("o.ended_at", "is", null))
    .select(["c.id", "c.name", "s.name as stack", "c.observed", "c.memory", "c.stable_release_id", "c.replicas", "c.stopped", "c.kind", "o.id as rollout"]).where("k.name", "=", cluster).execute();
  const seen = new Map<string, Observed>();
  for await (const observed of deps.places.engine(cluster).list(signal)) seen.set(`${observed.ref.stack}/${observed.ref.component}`, observed);
  const entries = new Map((await deps.places.traffic(cluster).list(signal)).map((entry) => [`${entry.ref.stack}/${entry.ref.component}`, entry.generation]));
  const known = new Set(rows.map((row) => `${row.stack}/${row.name}`));
  let woken = 0;
  for (const row of rows) {
    if (row.rollout !== null) continue;
    const key = `${row.stack}/${row.name}`;
    const instancesDiffer = signature(seen.get(key)?.instances ?? []) !== signature(row.observed.instances);
    const routesDiffer = row.memory.entry !== undefined && entries.get(key) !== row.memory.entry.generation;
    if (!instancesDiffer && !routesDiffer) continue;
    deps.countDrift(cluster, instancesDiffer ? "instances" : "routes");
    await wakeComponent(deps.db, row.id, cluster);
    woken += 1;
  }
  const unknown = [...seen.entries()].filter(([key, observed]) => !known.has(key) && observed.instances.length > 0).map(([key]) => key);
  if (unknown.length > 0) deps.reportUnknown(cluster, unknown);
  return { woken };
}

function signature(instances: readonly { readonly id: string; readonly phase: string; readonly ready: boolean; readonly restarts: number }[]): string {
  return instances.map((instance) => `${instance.id} ${instance.phase} ${instance.ready} ${instance.restarts}`).toSorted().join("\n");
}
