// SQL of the lists of tokens, users, teams and roles. Making and checking tokens is db/tokens.ts; a token's hash never comes from here.
import { lists } from "@berth/contract/lists.ts";
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, instantOrLast, text, uuid, type Keyed, type Slice } from "../page.ts";

export const tokenList = defineList(lists.tokens, {
  sort: {
    name: text("t.name"),
    createdAt: instant("t.created_at"),
    expiresAt: instantOrLast("t.expires_at"),
    lastUsedAt: instantOrLast("t.last_used_at"),
  },
  unique: [uuid("t.id")],
  search: { name: sql.ref("t.name"), prefix: sql.ref("t.prefix") },
});
export interface TokenRow {
  readonly id: string;
  readonly prefix: string;
  readonly name: string;
  readonly scopes: string[];
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly last_used_at: Date | null;
  readonly user: string;
}
/** A user's tokens that were not revoked. */
export async function listTokens(
  trx: Db,
  userId: string,
  query: { readonly id?: string; readonly page: Slice },
): Promise<(TokenRow & Keyed)[]> {
  return trx
    .selectFrom("api_tokens as t")
    .innerJoin("users as u", "u.id", "t.user_id")
    .select([
      "t.id",
      "t.prefix",
      "t.name",
      "t.scopes",
      "t.created_at",
      "t.expires_at",
      "t.last_used_at",
      "u.name as user",
      query.page.keys.as("cursor_keys"),
    ])
    .where("t.user_id", "=", userId)
    .where("t.revoked_at", "is", null)
    .$if(query.id !== undefined, (q) => q.where("t.id", "=", query.id ?? ""))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}

const named = { sort: { name: text("name"), createdAt: instant("created_at") }, unique: [uuid("id")], search: { name: sql.ref("name") } };
export const userList = defineList(lists.users, named);
export const teamList = defineList(lists.teams, named);
export async function listNamed(
  trx: Db,
  table: "users" | "teams",
  page: Slice,
): Promise<({ id: string; name: string; created_at: Date } & Keyed)[]> {
  return trx
    .selectFrom(table)
    .select(["id", "name", "created_at", page.keys.as("cursor_keys")])
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}

export const roleList = defineList(lists.roles, {
  sort: { name: text("name") },
  unique: [text("name")],
  search: { name: sql.ref("name"), permissions: sql`array_to_string(permissions, ' ')` },
});
/** `permission`: only those that give it. */
export async function listRoles(
  trx: Db,
  query: { readonly permission?: string | undefined; readonly page: Slice },
): Promise<({ name: string; permissions: string[] } & Keyed)[]> {
  return trx
    .selectFrom("roles")
    .select(["name", "permissions", query.page.keys.as("cursor_keys")])
    .$if(query.permission !== undefined, (q) => q.where(sql<boolean>`permissions && array['*', ${query.permission}]`))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}
