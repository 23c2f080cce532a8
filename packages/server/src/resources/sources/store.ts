// SQL of sources.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, number, text, uuid, type Keyed, type Slice } from "../page.ts";

export interface SourceRow {
  readonly id: string;
  readonly stack_id: string | null;
  readonly principal: string;
  readonly kind: "upload" | "git";
  readonly digest: string;
  readonly size: number;
  readonly files: number;
  readonly url: string | null;
  readonly ref: string | null;
  readonly revision: string | null;
  readonly author: string | null;
  readonly message: string | null;
  readonly dirty: boolean | null;
  readonly created_by: string;
  readonly created_at: Date;
}
export type NewSource = Omit<SourceRow, "id" | "created_at">;

export async function insertSource(trx: Db, source: NewSource): Promise<SourceRow> {
  return trx.insertInto("sources").values(source).returningAll().executeTakeFirstOrThrow();
}

/** The newest source with this content that is the stack's, or that this principal uploaded. Nobody builds what he only knows the digest of. */
export async function findSource(
  trx: Db,
  owner: { readonly stackId: string | undefined; readonly principal: string },
  digest: string,
): Promise<SourceRow | undefined> {
  return trx
    .selectFrom("sources")
    .selectAll()
    .where("digest", "=", digest)
    .where((eb) =>
      eb.or([...(owner.stackId === undefined ? [] : [eb("stack_id", "=", owner.stackId)]), eb("principal", "=", owner.principal)]),
    )
    .orderBy("created_at", "desc")
    .limit(1)
    .executeTakeFirst();
}

/** The repository and commit that a source came from; undefined for an upload and for one that is gone. */
export async function findOrigin(trx: Db, id: string | null): Promise<{ readonly url: string; readonly revision: string } | undefined> {
  if (id === null) return undefined;
  const source = await trx.selectFrom("sources").select(["url", "revision"]).where("id", "=", id).executeTakeFirst();
  return source === undefined || source.url === null || source.revision === null
    ? undefined
    : { url: source.url, revision: source.revision };
}

export async function claimSource(trx: Db, id: string, stackId: string): Promise<void> {
  await trx.updateTable("sources").set({ stack_id: stackId }).where("id", "=", id).where("stack_id", "is", null).execute();
}

export const sourceList = defineList(lists.sources, {
  sort: { createdAt: instant("created_at"), kind: text("kind"), size: number("size"), files: number("files") },
  unique: [uuid("id")],
  search: {
    revision: sql.ref("revision"),
    message: sql.ref("message"),
    author: sql.ref("author"),
    ref: sql.ref("ref"),
    url: sql.ref("url"),
  },
});
export async function listSources(
  trx: Db,
  stackId: string,
  query: { readonly kind?: "upload" | "git" | undefined; readonly page: Slice },
): Promise<(SourceRow & Keyed)[]> {
  return trx
    .selectFrom("sources")
    .selectAll()
    .select(query.page.keys.as("cursor_keys"))
    .where("stack_id", "=", stackId)
    .$if(query.kind !== undefined, (q) => q.where("kind", "=", query.kind ?? "upload"))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}
