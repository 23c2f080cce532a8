// Removal of a stack: its components first, each by its own loop, then what is kept for it outside the database, then its rows. Volumes stay, with the stack's
// row, unless their removal was asked for.
import { cause } from "@berth/contract/causes.ts";
import type { Builder } from "../builders/builder.ts";
import type { Db } from "../db/pool.ts";
import { openTombstone, settleTombstone, type Tombstone } from "../db/tombstones.ts";
import type { BuildLogs } from "../resources/builds/log.ts";
import { updateBuild } from "../resources/builds/store.ts";
import type { Places } from "../resources/deps.ts";
import { buryPart, otherParts } from "../resources/components/parts.ts";
import { allComponents, updateComponent } from "../resources/components/store.ts";
import { buryComponent, stackEvent } from "../resources/intent.ts";
import { stackHandle } from "../resources/stacks/service.ts";
import { findStackById } from "../resources/stacks/store.ts";
import { slice } from "../resources/page.ts";
import { buryVolume, deleteVolumeRow, listVolumes, volumeList } from "../resources/volumes/store.ts";
import type { HandlerContext } from "./loop.ts";
import { enqueue, type Commit } from "./queue.ts";
import { forgetStack, removeVolume } from "./remove.ts";

export interface StackLoopDeps {
  readonly db: Db;
  readonly places: Places;
  readonly builderFor: (cluster: string) => Pick<Builder, "forget">;
  readonly buildLogs: Pick<BuildLogs, "remove">;
  readonly clock: () => Date;
}
type Context = Pick<HandlerContext, "signal" | "commit" | "fence">;

/** ms after which something that was still ending is asked again. */
const soon = 500;
const remover = "the removal of its stack";

export async function reconcileStack(
  deps: StackLoopDeps,
  stackId: string,
  { signal, commit, fence }: Context,
): Promise<{ readonly again?: Date }> {
  const again = { again: new Date(deps.clock().getTime() + soon) };
  const empty = await removeParts(deps.clock, stackId, commit);
  if (empty === undefined) return {};
  if (empty.building) return again;
  // While its row, and with it its name, is still taken: what comes after must find nothing of it, and a crash in the middle only repeats this.
  if (
    !(await forgetStack(
      deps.places,
      empty.tombstone,
      { id: stackId, name: empty.name, namespace: empty.namespace, volumes: empty.volumes },
      signal,
    ))
  )
    return again;
  await deps.builderFor(empty.tombstone.cluster).forget(stackId);
  for (const { id } of await deps.db.selectFrom("builds").select("id").where("stack_id", "=", stackId).execute())
    await deps.buildLogs.remove(id);
  await removeRows(deps.clock, stackId, empty.tombstone, { commit, fence });
  return {};
}

/** `building`: a build still runs, in the stack's caches. */
interface Empty {
  readonly name: string;
  readonly namespace: string | null;
  readonly tombstone: Tombstone;
  readonly volumes: "kept" | "none";
  readonly building: boolean;
}

/** Asks for the removal of what is left of components and volumes, and for the end of builds; the stack itself when no part is left. */
function removeParts(clock: () => Date, stackId: string, commit: Commit): Promise<Empty | undefined> {
  return commit(async (trx) => {
    const stack = await findStackById(trx, stackId);
    if (stack === undefined || stack.delete_requested_at === null) return undefined;
    const tombstone = await openTombstone(trx, stack.cluster, { kind: "stack", stack: stack.name });
    if (tombstone === undefined) throw new Error(`stack ${stack.name} is on its way out, but no tombstone says so`);
    const scope = { id: stack.id, name: stack.name, teamId: stack.team_id, cluster: stack.cluster };
    const components = await allComponents(trx, stackId);
    for (const component of components) {
      if (component.delete_requested_at !== null) continue;
      await updateComponent(trx, component.id, { deleteRequested: true });
      await buryComponent(trx, scope, component);
      for (const part of await otherParts(trx, stackHandle(stack), component.id)) await buryPart(trx, part);
    }
    const building = await endBuilds(trx, clock, stackId, stack.cluster);
    // The last component's removal wakes this row again.
    if (components.length > 0) return undefined;
    const { delete_volumes: withVolumes } = await trx
      .selectFrom("stacks")
      .select("delete_volumes")
      .where("id", "=", stackId)
      .executeTakeFirstOrThrow();
    const volumes = await listVolumes(trx, { stackId, page: slice(volumeList, { limit: 10_000 }) });
    if (withVolumes && volumes.length > 0) {
      for (const volume of volumes) {
        await buryVolume(trx, volume);
        await enqueue(trx, { kind: "volume", key: volume.id, cluster: stack.cluster });
      }
      return undefined;
    }
    return { name: stack.name, namespace: stack.namespace, tombstone, volumes: volumes.length > 0 ? "kept" : "none", building };
  });
}

/** Whether one still runs; its own loop ends it. */
async function endBuilds(trx: Db, clock: () => Date, stackId: string, cluster: string): Promise<boolean> {
  const open = await trx
    .selectFrom("builds")
    .select(["id", "phase"])
    .where("stack_id", "=", stackId)
    .where("phase", "in", ["queued", "running"])
    .execute();
  for (const { id, phase } of open) {
    const ended =
      phase === "queued" ? { phase: "cancelled" as const, endedAt: clock(), cause: cause("build_cancelled", { by: remover }) } : {};
    await updateBuild(trx, id, { cancelRequestedBy: remover, ...ended });
    await enqueue(trx, { kind: "build", key: id, cluster });
  }
  return open.some(({ phase }) => phase === "running");
}

function removeRows(
  clock: () => Date,
  stackId: string,
  tombstone: Tombstone,
  { commit, fence }: Pick<HandlerContext, "commit" | "fence">,
): Promise<void> {
  return commit(async (trx) => {
    const stack = await findStackById(trx, stackId);
    if (stack === undefined || stack.delete_requested_at === null) return;
    const volumes = await listVolumes(trx, { stackId, page: slice(volumeList, { limit: 1 }) });
    const scope = { name: stack.name, teamId: stack.team_id };
    if (volumes.length > 0)
      await trx.updateTable("stacks").set({ deleted_at: clock(), delete_requested_at: null }).where("id", "=", stackId).execute();
    for (const table of ["hooks", "builds", "sources", "config_versions", "secrets", "credentials", "stack_versions"] as const)
      await trx.deleteFrom(table).where("stack_id", "=", stackId).execute();
    if (volumes.length === 0) await trx.deleteFrom("stacks").where("id", "=", stackId).execute();
    await settleTombstone(trx, tombstone.id, fence);
    await stackEvent(trx, scope, { code: "stack_deleted" });
  });
}

/** Deletes a volume's content, then its row; the stack that waits for it is woken. */
export async function reconcileVolume(
  { db, places }: Pick<StackLoopDeps, "db" | "places">,
  volumeId: string,
  { signal, commit, fence }: Context,
): Promise<{ readonly again?: Date }> {
  const row = await db
    .selectFrom("volumes as v")
    .innerJoin("stacks as s", "s.id", "v.stack_id")
    .innerJoin("clusters as k", "k.id", "v.cluster_id")
    .select([
      "v.id",
      "v.name",
      "v.stack_id",
      "v.delete_requested_at",
      "s.name as stack",
      "s.team_id",
      "s.namespace",
      "s.deleted_at",
      "s.delete_requested_at as stack_delete",
      "k.name as cluster",
    ])
    .where("v.id", "=", volumeId)
    .executeTakeFirst();
  if (row?.delete_requested_at == null) return {};
  const tombstone = await openTombstone(db, row.cluster, { kind: "volume", stackId: row.stack_id, volume: row.name });
  if (tombstone === undefined) throw new Error(`volume ${row.stack}/${row.name} is on its way out, but no tombstone says so`);
  await removeVolume(places, tombstone, signal);
  await commit(async (trx) => {
    // Taken back meanwhile: the volume is empty now, and stays.
    if (!(await deleteVolumeRow(trx, row.id))) return;
    await settleTombstone(trx, tombstone.id, fence);
    await stackEvent(
      trx,
      { name: row.stack, teamId: row.team_id },
      { code: "volume_deleted", params: { volume: row.name }, topics: [`volume:${row.stack}/${row.name}`] },
    );
    const left = await listVolumes(trx, { stackId: row.stack_id, page: slice(volumeList, { limit: 1 }) });
    if (row.stack_delete !== null) await enqueue(trx, { kind: "stack", key: row.stack_id, cluster: row.cluster });
    else if (row.deleted_at !== null && left.length === 0)
      await removeEmptied(trx, places, tombstone, { id: row.stack_id, name: row.stack, namespace: row.namespace }, signal);
  });
  return {};
}

/** The last kept volume of a deleted stack is gone: so is the stack, unless somebody made it anew meanwhile. */
async function removeEmptied(
  trx: Db,
  places: Places,
  tombstone: Tombstone,
  { id, name, namespace }: { readonly id: string; readonly name: string; readonly namespace: string | null },
  signal: AbortSignal,
): Promise<void> {
  const kept = await trx
    .selectFrom("stacks")
    .select("id")
    .where("id", "=", id)
    .where("deleted_at", "is not", null)
    .forUpdate()
    .executeTakeFirst();
  if (kept === undefined) return;
  await forgetStack(places, tombstone, { id, name, namespace, volumes: "none" }, signal);
  await trx.deleteFrom("stacks").where("id", "=", id).execute();
}
