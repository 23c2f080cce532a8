// SQL of git credentials, sealed like secrets, and of the ssh host keys that git may trust.
import { lists } from "@berth/contract/lists.ts";
import { sql } from "kysely";
import type { GitCredentials } from "../../builders/source/git.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

/** What a ciphertext is bound to. */
export const credentialIdentity = (stackId: string, name: string): string => `credential:${stackId}/${name}`;

export async function set(trx: Db, box: SecretBox, stackId: string, name: string, value: GitCredentials): Promise<void> {
  const ciphertext = box.seal(JSON.stringify(value), credentialIdentity(stackId, name));
  await trx
    .insertInto("credentials")
    .values({ stack_id: stackId, name, kind: value.kind, ciphertext })
    .onConflict((conflict) => conflict.columns(["stack_id", "name"]).doUpdateSet({ kind: value.kind, ciphertext, updated_at: new Date() }))
    .execute();
}

/** Errors: `not_found`, `credential_unreadable`. */
export async function open(trx: Db, box: SecretBox, stackId: string, name: string): Promise<GitCredentials> {
  const row = await trx
    .selectFrom("credentials")
    .select("ciphertext")
    .where("stack_id", "=", stackId)
    .where("name", "=", name)
    .executeTakeFirst();
  if (row === undefined) throw new BerthError("not_found", { kind: "credential", name, hint: "`berth credentials list` shows them." });
  let opened: string;
  try {
    opened = box.open(row.ciphertext, credentialIdentity(stackId, name));
  } catch (cause) {
    throw new BerthError("credential_unreadable", { credential: name }, { cause });
  }
  return JSON.parse(opened) as GitCredentials;
}

export const credentialList = defineList(lists.credentials, {
  sort: { name: text("name"), kind: text("kind"), updatedAt: instant("updated_at") },
  unique: [text("name")],
  search: { name: sql.ref("name") },
});
export async function list(
  trx: Db,
  stackId: string,
  query: { readonly kind?: string | undefined; readonly page: Slice },
): Promise<({ name: string; kind: string; updated_at: Date } & Keyed)[]> {
  return trx
    .selectFrom("credentials")
    .select(["name", "kind", "updated_at", query.page.keys.as("cursor_keys")])
    .where("stack_id", "=", stackId)
    .$if(query.kind !== undefined, (q) => q.where("kind", "=", query.kind ?? ""))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}

export async function remove(trx: Db, stackId: string, name: string): Promise<boolean> {
  const result = await trx.deleteFrom("credentials").where("stack_id", "=", stackId).where("name", "=", name).executeTakeFirst();
  return result.numDeletedRows > 0n;
}

export async function knownHosts(trx: Db): Promise<string[]> {
  return (await trx.selectFrom("known_hosts").select("line").orderBy("created_at").execute()).map((row) => row.line);
}

export const knownHostList = defineList(lists.knownHosts, {
  sort: { line: text("line"), createdAt: instant("created_at") },
  unique: [text("line")],
  search: { line: sql.ref("line") },
});
export async function listKnownHosts(trx: Db, page: Slice): Promise<({ line: string; created_at: Date } & Keyed)[]> {
  return trx
    .selectFrom("known_hosts")
    .select(["line", "created_at", page.keys.as("cursor_keys")])
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}

export async function addKnownHost(trx: Db, line: string): Promise<void> {
  await trx
    .insertInto("known_hosts")
    .values({ line })
    .onConflict((conflict) => conflict.column("line").doNothing())
    .execute();
}
