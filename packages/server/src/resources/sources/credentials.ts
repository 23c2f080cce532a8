// SQL of git credentials, sealed like secrets, and of the ssh host keys that git may trust.
import type { GitCredentials } from "../../builders/source/git.ts";
import { BerthError } from "../../core/errors.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";

const identity = (stackId: string, name: string): string => `credential:${stackId}/${name}`;

export async function set(trx: Db, box: SecretBox, stackId: string, name: string, value: GitCredentials): Promise<void> {
  const ciphertext = box.seal(JSON.stringify(value), identity(stackId, name));
  await trx.insertInto("credentials").values({ stack_id: stackId, name, kind: value.kind, ciphertext }).onConflict((conflict) => conflict.columns(["stack_id", "name"]).doUpdateSet({ kind: value.kind, ciphertext, updated_at: new Date() })).execute();
}

/** Errors: `not_found`. */
export async function open(trx: Db, box: SecretBox, stackId: string, name: string): Promise<GitCredentials> {
  const row = await trx.selectFrom("credentials").select("ciphertext").where("stack_id", "=", stackId).where("name", "=", name).executeTakeFirst();
  if (row === undefined) throw new BerthError("not_found", { kind: "credential", name, hint: "`berth credentials list` shows them." });
  return JSON.parse(box.open(row.ciphertext, identity(stackId, name))) as GitCredentials;
}

export async function list(trx: Db, stackId: string): Promise<{ name: string; kind: string; updatedAt: string }[]> {
  const rows = await trx.selectFrom("credentials").select(["name", "kind", "updated_at"]).where("stack_id", "=", stackId).orderBy("name").execute();
  return rows.map((row) => ({ name: row.name, kind: row.kind, updatedAt: row.updated_at.toISOString() }));
}

export async function remove(trx: Db, stackId: string, name: string): Promise<boolean> {
  const result = await trx.deleteFrom("credentials").where("stack_id", "=", stackId).where("name", "=", name).executeTakeFirst();
  return result.numDeletedRows > 0n;
}

export async function knownHosts(trx: Db): Promise<string[]> {
  return (await trx.selectFrom("known_hosts").select("line").orderBy("created_at").execute()).map((row) => row.line);
}

export async function addKnownHost(trx: Db, line: string): Promise<void> {
  await trx.insertInto("known_hosts").values({ line }).onConflict((conflict) => conflict.column("line").doNothing()).execute();
}
