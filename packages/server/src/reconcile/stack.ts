// Removal of a stack: its components first, each by its own loop, then its rows. Volumes stay, with the stack's row, unless their removal was asked for.
import { transaction } from "../db/transaction.ts";
import type { Db } from "../db/pool.ts";
import type { Places } from "../resources/deps.ts";
import { allComponents, updateComponent } from "../resources/components/store.ts";
import { stackEvent, wakeComponent } from "../resources/intent.ts";
import { findStackById } from "../resources/stacks/store.ts";
import { deleteVolumeRow, listVolumes, requestVolumeDelete } from "../resources/volumes/store.ts";
import { enqueue } from "./queue.ts";

export async function reconcileStack(db: Db, clock: () => Date, stackId: string): Promise<{ readonly again?: Date }> {
  return transaction(db, async (trx) => {
    const stack = await findStackById(trx, stackId);
    if (stack === undefined || stack.delete_requested_at === null) return {};
    const components = await allComponents(trx, stackId);
    for (const component of components) {
      if (component.delete_requested_at !== null) continue;
      await updateComponent(trx, component.id, { deleteRequested: true });
      await wakeComponent(trx, component.id, stack.cluster);
    }
    // The last component's removal wakes this row again.
    if (components.length > 0) return {};
    const { delete_volumes: withVolumes } = await trx.selectFrom("stacks").select("delete_volumes").where("id", "=", stackId).executeTakeFirstOrThrow();
    const volumes = await listVolumes(trx, { stackId, limit: 10_000 });
    if (withVolumes && volumes.length > 0) {
      for (const volume of volumes) {
        await requestVolumeDelete(trx, volume.id);
        await enqueue(trx, { kind: "volume", key: volume.id, cluster: stack.cluster });
      }
      return {};
    }
    const scope = { name: stack.name, teamId: stack.team_id };
    if (volumes.length > 0) await trx.updateTable("stacks").set({ deleted_at: clock(), delete_requested_at: null }).where("id", "=", stackId).execute();
    for (const table of ["builds", "sources", "config_versions", "secrets", "credentials", "stack_versions"] as const) await trx.deleteFrom(table).where("stack_id", "=", stackId).execute();
    if (volumes.length === 0) await trx.deleteFrom("stacks").where("id", "=", stackId).execute();
    await stackEvent(trx, scope, { code: "stack_deleted" });
    return {};
  });
}

/** Deletes a volume's content, then its row; the stack that waits for it is woken. */
export async function reconcileVolume(db: Db, places: Places, volumeId: string, signal: AbortSignal): Promise<{ readonly again?: Date }> {
  const row = await db.selectFrom("volumes as v").innerJoin("stacks as s", "s.id", "v.stack_id").innerJoin("clusters as k", "k.id", "v.cluster_id").select(["v.id", "v.name", "v.stack_id", "v.delete_requested_at", "s.name as stack", "s.team_id", "s.deleted_at", "s.delete_requested_at as stack_delete", "k.name as cluster"]).where("v.id", "=", volumeId).executeTakeFirst();
  if (row?.delete_requested_at == null) return {};
  await places.engine(row.cluster).volumes.remove(row.stack_id, row.name, signal);
  await transaction(db, async (trx) => {
    await deleteVolumeRow(trx, row.id);
    await stackEvent(trx, { name: row.stack, teamId: row.team_id }, { code: "volume_deleted", params: { volume: row.name }, topics: [`volume:${row.stack}/${row.name}`] });
    const left = await listVolumes(trx, { stackId: row.stack_id, limit: 1 });
    if (row.stack_delete !== null) await enqueue(trx, { kind: "stack", key: row.stack_id, cluster: row.cluster });
    else if (row.deleted_at !== null && left.length === 0) await trx.deleteFrom("stacks").where("id", "=", row.stack_id).execute();
  });
  return {};
}
