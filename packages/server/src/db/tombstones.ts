// Tombstones: the only grounds on which anything is removed from a cluster. One is written in the transaction of the decision, and goes on speaking after its
// owner's row is gone: for an object that turns up late. Must never be written because a thing is unknown, nor speak for what was made after it.
import { sql } from "kysely";
import type { Db } from "./pool.ts";

/** What is to go. A stack's covers everything of its components. */
export type Grave =
  | { readonly kind: "component"; readonly stack: string; readonly component: string }
  | { readonly kind: "stack"; readonly stack: string }
  | { readonly kind: "volume"; readonly stackId: string; readonly volume: string };

export interface Tombstone {
  readonly id: number;
  readonly cluster: string;
  readonly grave: Grave;
  /** It speaks for objects up to this epoch and, in it, up to this generation. */
  readonly epoch: number;
  readonly generation: number;
  readonly teamId: string | null;
}

interface Row {
  readonly id: number;
  readonly cluster: string;
  readonly kind: string;
  readonly ref: object;
  readonly epoch: number;
  readonly generation: number;
  readonly team_id: string | null;
}
const columns = ["id", "cluster", "kind", "ref", "epoch", "generation", "team_id"] as const;

/** Decides that something is to be removed, inside the transaction of the decision; decided twice is decided once. */
export async function bury(trx: Db, grave: Grave, where: { readonly cluster: string; readonly teamId: string }): Promise<void> {
  const { kind, ref } = stored(grave);
  await sql`
    insert into tombstones (kind, cluster, ref, generation, epoch, team_id)
    select ${kind}, ${where.cluster}, ${ref}::jsonb, nextval('fences'), coalesce((select epoch from installation), 1), ${where.teamId}::uuid
    where not exists (select 1 from tombstones where cluster = ${where.cluster} and kind = ${kind} and ref = ${ref}::jsonb and done_at is null)`.execute(
    trx,
  );
}

/** The decision that is still to be carried out; without one nothing may be removed. */
export async function openTombstone(db: Db, cluster: string, grave: Grave): Promise<Tombstone | undefined> {
  const { kind, ref } = stored(grave);
  const row = await db
    .selectFrom("tombstones")
    .select(columns)
    .where("cluster", "=", cluster)
    .where("kind", "=", kind)
    .where(sql<boolean>`ref = ${ref}::jsonb`)
    .where("done_at", "is", null)
    .executeTakeFirst();
  return row === undefined ? undefined : read(row);
}

/** It is gone, by orders up to this generation: what is as old and turns up later goes on the same word. */
export async function settleTombstone(trx: Db, id: number, generation: number): Promise<void> {
  await trx
    .updateTable("tombstones")
    .set({ done_at: sql<Date>`now()`, generation: sql<number>`greatest(generation, ${generation}::bigint)` })
    .where("id", "=", id)
    .where("done_at", "is", null)
    .execute();
}

/** Nobody can carry it out any more, for its cluster is gone: should that ever come back, what turns up there goes on the same word. */
export async function settleUnseen(trx: Db, cluster: string, grave: Grave): Promise<void> {
  const { kind, ref } = stored(grave);
  await trx
    .updateTable("tombstones")
    .set({ done_at: sql<Date>`now()`, generation: sql<number>`nextval('fences')` })
    .where("cluster", "=", cluster)
    .where("kind", "=", kind)
    .where(sql<boolean>`ref = ${ref}::jsonb`)
    .where("done_at", "is", null)
    .execute();
}

/** The decision is taken back before it was carried out. */
export async function withdrawTombstone(trx: Db, cluster: string, grave: Grave): Promise<void> {
  const { kind, ref } = stored(grave);
  await trx
    .deleteFrom("tombstones")
    .where("cluster", "=", cluster)
    .where("kind", "=", kind)
    .where(sql<boolean>`ref = ${ref}::jsonb`)
    .where("done_at", "is", null)
    .execute();
}

/** The word on which a component's object of that age may go: its own tombstone, or its stack's, if neither is older than the object. */
export async function tombstoneFor(
  db: Db,
  cluster: string,
  ref: { readonly stack: string; readonly component: string },
  seen: { readonly epoch: number; readonly generation: number },
): Promise<Tombstone | undefined> {
  const component = stored({ kind: "component", ...ref });
  const stack = stored({ kind: "stack", stack: ref.stack });
  const row = await db
    .selectFrom("tombstones")
    .select(columns)
    .where("cluster", "=", cluster)
    .where(
      sql<boolean>`((kind = 'component' and ref = ${component.ref}::jsonb) or (kind = 'stack' and ref = ${stack.ref}::jsonb)) and (epoch, generation) >= (${seen.epoch}::bigint, ${seen.generation}::bigint)`,
    )
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? undefined : read(row);
}

/** Forgets tombstones that were settled before then. */
export async function removeTombstonesBefore(db: Db, before: Date): Promise<void> {
  await db.deleteFrom("tombstones").where("done_at", "<", before).execute();
}

function stored({ kind, ...ref }: Grave): { readonly kind: Grave["kind"]; readonly ref: string } {
  return { kind, ref: JSON.stringify(ref) };
}

function read(row: Row): Tombstone {
  return {
    id: row.id,
    cluster: row.cluster,
    grave: { kind: row.kind, ...row.ref } as Grave,
    epoch: row.epoch,
    generation: row.generation,
    teamId: row.team_id,
  };
}
