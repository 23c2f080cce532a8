// SQL of sources.
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";

export interface SourceRow {
  readonly id: string; readonly stack_id: string | null; readonly principal: string; readonly kind: "upload" | "git"; readonly digest: string; readonly size: number; readonly files: number; readonly url: string | null; readonly ref: string | null; readonly revision: string | null;
  readonly author: string | null; readonly message: string | null; readonly dirty: boolean | null; readonly created_by: string; readonly created_at: Date;
}
export type NewSource = Omit<SourceRow, "id" | "created_at">;

export async function insertSource(trx: Db, source: NewSource): Promise<SourceRow> {
  return trx.insertInto("sources").values(source).returningAll().executeTakeFirstOrThrow();
}

/** The newest source with this content that is the stack's, or that this principal uploaded. Nobody builds what he only knows the digest of. */
export async function findSource(trx: Db, owner: { readonly stackId: string | undefined; readonly principal: string }, digest: string): Promise<SourceRow | undefined> {
  return trx.selectFrom("sources").selectAll().where("digest", "=", digest)
    .where((eb) => eb.or([...(owner.stackId === undefined ? [] : [eb("stack_id", "=", owner.stackId)]), eb("principal", "=", owner.principal)]))
    .orderBy("created_at", "desc").limit(1).executeTakeFirst();
}

export async function claimSource(trx: Db, id: string, stackId: string): Promise<void> {
  await trx.updateTable("sources").set({ stack_id: stackId }).where("id", "=", id).where("stack_id", "is", null).execute();
}

export async function listSources(trx: Db, stackId: string, query: { readonly before?: readonly [string, string]; readonly limit: number }): Promise<SourceRow[]> {
  return trx.selectFrom("sources").selectAll().where("stack_id", "=", stackId)
    .$if(query.before !== undefined, (q) => q.where(sql<boolean>`(created_at, id) < (${query.before?.[0]}::timestamptz, ${query.before?.[1]}::uuid)`))
    .orderBy("created_at", "desc").orderBy("id", "desc").limit(query.limit + 1).execute();
}
