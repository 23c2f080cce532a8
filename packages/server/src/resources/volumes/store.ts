// SQL of named volumes. A volume's row outlives its component and its stack until someone deletes it by name.
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";

/** Makes the missing ones; answers their names. */
export async function ensureVolumes(trx: Db, stack: { readonly id: string; readonly clusterId: string }, names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return [];
  const made = await trx.insertInto("volumes").values([...new Set(names)].map((name) => ({ stack_id: stack.id, cluster_id: stack.clusterId, name }))).onConflict((conflict) => conflict.columns(["stack_id", "name"]).doUpdateSet({ delete_requested_at: null }).where("volumes.delete_requested_at", "is not", null)).returning("name").execute();
  return made.map((row) => row.name);
}

export async function volumeNames(trx: Db, stackId: string): Promise<string[]> {
  return (await trx.selectFrom("volumes").select("name").where("stack_id", "=", stackId).where("delete_requested_at", "is", null).execute()).map((row) => row.name);
}

export interface VolumeRow { readonly id: string; readonly stack_id: string; readonly stack: string; readonly team_id: string; readonly name: string; readonly cluster: string; readonly created_at: Date; readonly stack_deleted: boolean; readonly delete_requested: boolean; readonly used_by: string[] }
export async function listVolumes(trx: Db, query: { readonly stackId?: string; readonly stackName?: string; readonly teams?: readonly string[] | "all"; readonly name?: string; readonly pattern?: string; readonly after?: readonly [string, string]; readonly limit: number }): Promise<VolumeRow[]> {
  return trx.selectFrom("volumes as v").innerJoin("stacks as s", "s.id", "v.stack_id").innerJoin("clusters as k", "k.id", "v.cluster_id")
    .select(["v.id", "v.stack_id", "s.name as stack", "s.team_id", "v.name", "k.name as cluster", "v.created_at", sql<boolean>`s.deleted_at is not null`.as("stack_deleted"), sql<boolean>`v.delete_requested_at is not null`.as("delete_requested"),
      sql<string[]>`coalesce((select array_agg(c.name order by c.name) from components c where c.stack_id = v.stack_id and c.delete_requested_at is null and exists (select 1 from jsonb_array_elements(c.spec -> 'volumes') m where m ->> 'volume' = v.name)), '{}')`.as("used_by")])
    .$if(query.stackId !== undefined, (q) => q.where("v.stack_id", "=", query.stackId ?? ""))
    .$if(query.stackName !== undefined, (q) => q.where("s.name", "=", query.stackName ?? ""))
    .$if(query.teams !== undefined && query.teams !== "all", (q) => (query.teams === "all" || query.teams === undefined || query.teams.length === 0 ? q.where(sql<boolean>`false`) : q.where("s.team_id", "in", [...query.teams])))
    .$if(query.name !== undefined, (q) => q.where("v.name", "=", query.name ?? ""))
    .$if(query.pattern !== undefined, (q) => q.where("v.name", "ilike", query.pattern ?? ""))
    .$if(query.after !== undefined, (q) => q.where(sql<boolean>`(s.name, v.name) > (${query.after?.[0]}, ${query.after?.[1]})`))
    .orderBy("s.name").orderBy("v.name").limit(query.limit + 1).execute();
}

export async function requestVolumeDelete(trx: Db, id: string): Promise<void> {
  await trx.updateTable("volumes").set({ delete_requested_at: sql`coalesce(delete_requested_at, now())` }).where("id", "=", id).execute();
}

export async function deleteVolumeRow(trx: Db, id: string): Promise<void> {
  await trx.deleteFrom("volumes").where("id", "=", id).execute();
}
