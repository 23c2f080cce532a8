// The first look of a restored database at the world, before any loop acts: what runs wins over what was written down. Known releases are
// taken over as they run, with the same processes and in the same number; unknown ones are marked to be left alone. It stops nothing.
import { sql } from "kysely";
import { currentGroup } from "../core/adoption.ts";
import type { Db } from "../db/pool.ts";
import { transaction } from "../db/transaction.ts";
import type { InstanceRecord, Ref } from "../engines/engine.ts";
import { updateComponent } from "../resources/components/store.ts";
import type { Places } from "../resources/deps.ts";
import { stackEvent, wakeComponent } from "../resources/intent.ts";

export interface Adopted {
  readonly adopted: readonly string[];
  readonly held: readonly string[];
}

/** Compares every component of the cluster with what runs there. May be repeated. Errors: `cluster_unreachable`, and then nothing was changed. */
export async function adoptKnown(
  deps: { readonly db: Db; readonly places: Places },
  cluster: string,
  signal: AbortSignal,
): Promise<Adopted> {
  const running = new Map<string, { ref: Ref; records: InstanceRecord[] }>();
  for await (const record of deps.places.engine(cluster).records(signal)) {
    if (record.stopping) continue;
    const key = `${record.ref.stack}/${record.ref.component}`;
    const known = running.get(key) ?? { ref: record.ref, records: [] };
    known.records.push(record);
    running.set(key, known);
  }
  const rows = await deps.db
    .selectFrom("components as c")
    .innerJoin("stacks as s", "s.id", "c.stack_id")
    .innerJoin("clusters as k", (join) => join.on("k.id", "=", sql`coalesce(c.cluster_id, s.cluster_id)`))
    .select([
      "c.id",
      "c.part_of",
      "c.name",
      "c.kind",
      "c.replicas",
      "c.stopped",
      "c.restart",
      "c.stable_release_id",
      "s.id as stack_id",
      "s.name as stack",
      "s.team_id",
    ])
    .where("k.name", "=", cluster)
    .execute();
  const adopted: string[] = [];
  const held: string[] = [];
  for (const row of rows) {
    const key = `${row.stack}/${row.name}`;
    const found = running.get(key);
    if (found === undefined) continue;
    // Another stack that had this name before or since: not what this row is about.
    const records = found.records.filter((record) => record.workload.stackId === row.stack_id);
    const current = currentGroup(records, await deps.places.traffic(cluster).readEntry(found.ref, signal));
    const releases = await deps.db
      .selectFrom("releases")
      .select(["id", "hash", "number"])
      .where("component_id", "=", row.part_of ?? row.id)
      .execute();
    const unknown =
      records.some((record) => !releases.some((release) => release.hash === record.workload.releaseHash)) ||
      records.length < found.records.length;
    const release =
      current === undefined
        ? undefined
        : (releases.find((one) => one.hash === current.releaseHash && one.number === current.releaseNumber) ??
          releases.find((one) => one.hash === current.releaseHash));
    const scope = { name: row.stack, teamId: row.team_id };
    await transaction(deps.db, async (trx) => {
      if (unknown || current === undefined || release === undefined) {
        await updateComponent(trx, row.id, { held: true });
        await stackEvent(trx, scope, { code: "component_held", component: row.name, params: { release: current?.releaseNumber ?? 0 } });
        held.push(key);
        return;
      }
      // Replicas, stopping and waves are operational: as a rollback does, a restore leaves them as they are.
      const replicas = current.instances.length;
      const same = row.stable_release_id === release.id && row.replicas === replicas && !row.stopped && row.restart === current.restart;
      if (!same) await updateComponent(trx, row.id, { stableReleaseId: release.id, replicas, stopped: false, restart: current.restart });
      await stackEvent(trx, scope, {
        code: "component_adopted",
        component: row.name,
        params: { release: release.number, instances: replicas },
      });
      adopted.push(key);
    });
  }
  await transaction(deps.db, async (trx) => {
    await trx.updateTable("clusters").set({ unadopted: false }).where("name", "=", cluster).execute();
    for (const row of rows) await wakeComponent(trx, row.id, cluster);
  });
  return { adopted, held };
}
