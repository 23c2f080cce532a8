// Resync: compares what a cluster really has with what was seen last, and wakes the loops of components that differ. Watching is a hint, this is the truth.
// What no row knows goes only on the word of a tombstone; anything else that is unknown is reported and left alone.
import { sql } from "kysely";
import { BerthError } from "../core/errors.ts";
import { appendEvent } from "../db/events.ts";
import type { Db } from "../db/pool.ts";
import { tombstoneFor } from "../db/tombstones.ts";
import type { Engine, Observed, Ref } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";
import { wakeComponent } from "../resources/intent.ts";
import { removeObjects } from "./remove.ts";

export interface ResyncDeps {
  readonly db: Db;
  readonly places: {
    engine(cluster: string): Pick<Engine, "list" | "remove" | "forgetComponent">;
    traffic(cluster: string): Pick<Traffic, "list" | "remove">;
  };
  readonly installation: () => { readonly id: string; readonly epoch: number };
  /** A component was found other than it was last seen: nothing is repaired by that alone, its loop looks. */
  readonly countDifference: (what: "instances" | "routes") => void;
  /** What a removal had left behind, or what came back after it, was removed. */
  readonly countRepair: (what: "leftovers") => void;
  /** Told, each time, of the objects of this installation that the database does not know. */
  readonly reportUnknown: (cluster: string, refs: readonly string[]) => void;
}

const keyOf = ({ stack, component }: Ref): string => `${stack}/${component}`;

/** `fence`: the number of the claim under which this runs; what is ordered for a ref after it wins. */
export async function resync(
  deps: ResyncDeps,
  cluster: string,
  fence: number,
  signal: AbortSignal,
): Promise<{ readonly woken: number; readonly removed: number }> {
  const rows = await deps.db
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .innerJoin("clusters as k", (join) => join.on("k.id", "=", sql`coalesce(c.cluster_id, s.cluster_id)`))
    .leftJoin("rollouts as o", (join) => join.onRef("o.component_id", "=", "c.id").on("o.ended_at", "is", null))
    .select([
      "c.id",
      "c.name",
      "s.name as stack",
      "c.observed",
      "c.memory",
      "c.held",
      "c.stable_release_id",
      "c.replicas",
      "c.stopped",
      "c.kind",
      "o.id as rollout",
    ])
    .where("k.name", "=", cluster)
    .execute();
  const seen = new Map<string, Observed>();
  for await (const observed of deps.places.engine(cluster).list(signal)) seen.set(keyOf(observed.ref), observed);
  const entries = new Map((await deps.places.traffic(cluster).list(signal)).map((entry) => [keyOf(entry.ref), entry]));
  let woken = 0;
  for (const row of rows) {
    if (row.rollout !== null) continue;
    const key = `${row.stack}/${row.name}`;
    const instancesDiffer = signature(seen.get(key)?.instances ?? []) !== signature(row.observed.instances);
    // What is held keeps the routes that it was found with, and remembers none of them.
    const routesDiffer = !row.held && entries.get(key)?.generation !== row.memory.entry?.generation;
    if (!instancesDiffer && !routesDiffer) continue;
    deps.countDifference(instancesDiffer ? "instances" : "routes");
    await wakeComponent(deps.db, row.id, cluster);
    woken += 1;
  }
  const known = new Set(rows.map((row) => `${row.stack}/${row.name}`));
  const strangers = [
    ...new Map(
      [
        ...[...seen.values()].filter((observed) => observed.instances.length > 0).map(({ ref }) => ref),
        ...[...entries.values()].map(({ ref }) => ref),
      ].map((ref) => [keyOf(ref), ref]),
    ).values(),
  ].filter((ref) => !known.has(keyOf(ref)));
  return { woken, removed: await clear(deps, cluster, fence, strangers, seen, entries, signal) };
}

/** Removes those that a tombstone speaks for, and reports the rest. */
async function clear(
  deps: ResyncDeps,
  cluster: string,
  fence: number,
  strangers: readonly Ref[],
  seen: ReadonlyMap<string, Observed>,
  entries: ReadonlyMap<string, { readonly generation: number }>,
  signal: AbortSignal,
): Promise<number> {
  const { id: installation, epoch } = deps.installation();
  const unknown: string[] = [];
  let removed = 0;
  for (const ref of strangers) {
    const observed = seen.get(keyOf(ref))?.fence;
    // A route's entry names no epoch: it counts as of now, which is the careful reading.
    const age = {
      epoch: observed?.epoch ?? epoch,
      generation: Math.max(observed?.generation ?? 0, entries.get(keyOf(ref))?.generation ?? 0),
    };
    const tombstone = await tombstoneFor(deps.db, cluster, ref, age);
    if (tombstone === undefined) {
      // It may have been made since the rows were read.
      if (!(await isThere(deps.db, cluster, ref))) unknown.push(keyOf(ref));
      continue;
    }
    try {
      await removeObjects(deps.places, tombstone, ref, { installation, epoch, generation: fence }, signal);
    } catch (error) {
      // Something newer was ordered for it meanwhile: it is nobody's leftover.
      if (error instanceof BerthError && error.code === "stale_generation") continue;
      throw error;
    }
    await appendEvent(deps.db, {
      code: "leftover_removed",
      params: { stack: ref.stack, component: ref.component },
      ...(tombstone.teamId === null ? {} : { teamId: tombstone.teamId }),
      stack: ref.stack,
      component: ref.component,
      topics: [`stack:${ref.stack}`, `component:${keyOf(ref)}`],
    });
    deps.countRepair("leftovers");
    removed += 1;
  }
  deps.reportUnknown(cluster, unknown);
  return removed;
}

async function isThere(db: Db, cluster: string, ref: Ref): Promise<boolean> {
  return (
    (await db
      .selectFrom("components as c")
      .innerJoin("stacks as s", "s.id", "c.stack_id")
      .innerJoin("clusters as k", (join) => join.on("k.id", "=", sql`coalesce(c.cluster_id, s.cluster_id)`))
      .select("c.id")
      .where("k.name", "=", cluster)
      .where("s.name", "=", ref.stack)
      .where("c.name", "=", ref.component)
      .executeTakeFirst()) !== undefined
  );
}

function signature(
  instances: readonly {
    readonly id: string;
    readonly phase: string;
    readonly ready: boolean;
    readonly restarts: number;
    readonly pid?: number;
  }[],
): string {
  // After a reboot an instance is the same, but for its process.
  return instances
    .map((instance) => `${instance.id} ${instance.phase} ${instance.ready} ${instance.restarts} ${instance.pid ?? 0}`)
    .toSorted()
    .join("\n");
}
