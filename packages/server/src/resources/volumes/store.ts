// SQL of named volumes. A volume's row outlives its component and its stack until someone deletes it by name.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import { stackIsWithin, type StackScope } from "../../db/permissions.ts";
import type { Db } from "../../db/pool.ts";
import { bury, withdrawTombstone } from "../../db/tombstones.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

/** Makes the missing ones, and takes back the deletion of those that were to go; answers the names of both. */
export async function ensureVolumes(
  trx: Db,
  stack: { readonly id: string; readonly clusterId: string; readonly cluster: string },
  names: readonly string[],
): Promise<string[]> {
  if (names.length === 0) return [];
  const made = await trx
    .insertInto("volumes")
    .values([...new Set(names)].map((name) => ({ stack_id: stack.id, cluster_id: stack.clusterId, name })))
    .onConflict((conflict) =>
      conflict
        .columns(["stack_id", "name"])
        .doUpdateSet({ delete_requested_at: null })
        .where("volumes.delete_requested_at", "is not", null),
    )
    .returning("name")
    .execute();
  for (const { name } of made) await withdrawTombstone(trx, stack.cluster, { kind: "volume", stackId: stack.id, volume: name });
  return made.map((row) => row.name);
}

export async function volumeNames(trx: Db, stackId: string): Promise<string[]> {
  return (
    await trx.selectFrom("volumes").select("name").where("stack_id", "=", stackId).where("delete_requested_at", "is", null).execute()
  ).map((row) => row.name);
}

/** Holds where a component of that name mounts the volume `v`. */
const isUsedBy = (component: string) =>
  sql<boolean>`exists (select 1 from components c where c.stack_id = v.stack_id and c.name = ${component} and c.delete_requested_at is null and c.spec -> 'volumes' @> jsonb_build_array(jsonb_build_object('volume', v.name)))`;
const unique = [text("s.name"), text("v.name")];
export const volumeList = defineList(lists.volumes, {
  sort: { name: text("v.name"), createdAt: instant("v.created_at") },
  unique,
  search: { name: sql.ref("v.name") },
});
export const allVolumeList = defineList(lists.allVolumes, {
  sort: { stack: text("s.name"), name: text("v.name"), createdAt: instant("v.created_at") },
  unique,
  search: { stack: sql.ref("s.name"), name: sql.ref("v.name") },
});
export interface VolumeRow {
  readonly id: string;
  readonly stack_id: string;
  readonly stack: string;
  readonly team_id: string;
  readonly name: string;
  readonly cluster: string;
  readonly created_at: Date;
  readonly stack_deleted: boolean;
  readonly delete_requested: boolean;
  readonly used_by: string[];
}
export async function listVolumes(
  trx: Db,
  query: {
    readonly stackId?: string;
    readonly stackName?: string;
    readonly within?: StackScope;
    readonly name?: string;
    readonly usedBy?: string | undefined;
    readonly stackDeleted?: boolean | undefined;
    readonly page: Slice;
  },
): Promise<(VolumeRow & Keyed)[]> {
  const rows = await trx
    .selectFrom("volumes as v")
    .innerJoin("stacks as s", "s.id", "v.stack_id")
    .innerJoin("clusters as k", "k.id", "v.cluster_id")
    .select([
      "v.id",
      "v.stack_id",
      "s.name as stack",
      "s.team_id",
      "v.name",
      "k.name as cluster",
      "v.created_at",
      sql<boolean>`s.deleted_at is not null`.as("stack_deleted"),
      sql<boolean>`v.delete_requested_at is not null`.as("delete_requested"),
    ])
    .$if(query.stackId !== undefined, (q) => q.where("v.stack_id", "=", query.stackId ?? ""))
    .$if(query.stackName !== undefined, (q) => q.where("s.name", "=", query.stackName ?? ""))
    .where(stackIsWithin(query.within ?? "all"))
    .$if(query.name !== undefined, (q) => q.where("v.name", "=", query.name ?? ""))
    .$if(query.usedBy !== undefined, (q) => q.where(isUsedBy(query.usedBy ?? "")))
    .$if(query.stackDeleted !== undefined, (q) => q.where(sql<boolean>`(s.deleted_at is not null) = ${query.stackDeleted}`))
    .where(query.page.where)
    .select(query.page.keys.as("cursor_keys"))
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
  return withUsers(trx, rows);
}

/** With the components that mount them, each of which is read once and not for every volume of its stack. */
async function withUsers<Row extends Pick<VolumeRow, "stack_id" | "name">>(
  trx: Db,
  rows: readonly Row[],
): Promise<(Row & Pick<VolumeRow, "used_by">)[]> {
  if (rows.length === 0) return [];
  const users = await trx
    .selectFrom("components as c")
    .where("c.stack_id", "in", [...new Set(rows.map((row) => row.stack_id))])
    .where("c.delete_requested_at", "is", null)
    .where(sql<boolean>`c.spec -> 'volumes' <> '[]'`)
    .select(["c.stack_id", "c.name", sql<string[]>`jsonb_path_query_array(c.spec, '$.volumes[*].volume')`.as("volumes")])
    .orderBy("c.name")
    .execute();
  const ofStack = Map.groupBy(users, (user) => user.stack_id);
  return rows.map((row) => ({
    ...row,
    used_by: (ofStack.get(row.stack_id) ?? []).filter(({ volumes }) => volumes.includes(row.name)).map(({ name }) => name),
  }));
}

/** Decides that a volume and what is in it are to go. */
export async function buryVolume(trx: Db, volume: Pick<VolumeRow, "id" | "stack_id" | "team_id" | "name" | "cluster">): Promise<void> {
  await trx
    .updateTable("volumes")
    .set({ delete_requested_at: sql`coalesce(delete_requested_at, now())` })
    .where("id", "=", volume.id)
    .execute();
  await bury(trx, { kind: "volume", stackId: volume.stack_id, volume: volume.name }, { cluster: volume.cluster, teamId: volume.team_id });
}

/** The row of a volume whose content is gone; false when its deletion was taken back meanwhile: then the row stays, for an empty volume. */
export async function deleteVolumeRow(trx: Db, id: string): Promise<boolean> {
  const result = await trx.deleteFrom("volumes").where("id", "=", id).where("delete_requested_at", "is not", null).executeTakeFirst();
  return result.numDeletedRows > 0n;
}
