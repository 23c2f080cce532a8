// Tombstones: the only grounds on which anything is removed from an engine. Must never be written because a thing is unknown.
import { sql } from "kysely";
import type { Db } from "./pool.ts";

export interface Tombstone { readonly id: number; readonly kind: string; readonly cluster: string; readonly ref: Record<string, unknown>; readonly generation: number; readonly madeAt: Date }

/** Decides that an object is to be removed, inside the transaction of the decision. */
export async function bury(trx: Db, tombstone: { readonly kind: string; readonly cluster: string; readonly ref: Readonly<Record<string, unknown>>; readonly generation: number }): Promise<number> {
  const row = await trx.insertInto("tombstones").values({ kind: tombstone.kind, cluster: tombstone.cluster, ref: JSON.stringify(tombstone.ref), generation: tombstone.generation }).returning("id").executeTakeFirstOrThrow();
  return row.id;
}

/** What is still to be removed on a cluster, oldest first. */
export async function openTombstones(db: Db, query: { readonly cluster: string; readonly kind?: string; readonly limit?: number }): Promise<Tombstone[]> {
  const rows = await db.selectFrom("tombstones").selectAll().where("cluster", "=", query.cluster).where("done_at", "is", null)
    .$if(query.kind !== undefined, (q) => q.where("kind", "=", query.kind ?? "")).orderBy("id").limit(query.limit ?? 100).execute();
  return rows.map((row) => ({ id: row.id, kind: row.kind, cluster: row.cluster, ref: row.ref as Record<string, unknown>, generation: row.generation, madeAt: row.made_at }));
}

/** The object is gone. */
export async function settleTombstone(db: Db, id: number): Promise<void> {
  await db.updateTable("tombstones").set({ done_at: sql<Date>`now()` }).where("id", "=", id).where("done_at", "is", null).execute();
}

/** Forgets tombstones that were done before then. */
export async function removeTombstonesBefore(db: Db, before: Date): Promise<void> {
  await db.deleteFrom("tombstones").where("done_at", "<", before).execute();
}
