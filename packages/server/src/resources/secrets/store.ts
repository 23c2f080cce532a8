// SQL of secrets: every version is kept encrypted; values leave this file only through `openSecrets`, for a workload or a build.
import { sql } from "kysely";
import type { SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";

/** What a ciphertext is bound to, so that it cannot be moved to another name. */
export function secretIdentity(stackId: string, name: string, version: number): string {
  return `secret:${stackId}/${name}/${version}`;
}

/** Environment variable -> value; a reference without a row is left out. */
export async function openSecrets(trx: Db, secretBox: SecretBox, stackId: string, refs: Readonly<Record<string, SecretRef>>): Promise<Record<string, string>> {
  const entries = Object.entries(refs);
  if (entries.length === 0) return {};
  const rows = await trx.selectFrom("secrets").select(["name", "version", "ciphertext"]).where("stack_id", "=", stackId).where("name", "in", [...new Set(entries.map(([, ref]) => ref.secret))]).execute();
  const opened: Record<string, string> = {};
  for (const [variable, ref] of entries) {
    const row = rows.find((candidate) => candidate.name === ref.secret && candidate.version === ref.version);
    if (row !== undefined) opened[variable] = secretBox.open(row.ciphertext, secretIdentity(stackId, row.name, row.version));
  }
  return opened;
}

/** The newest version of each of these secrets; unknown names are left out. */
export async function newestVersions(trx: Db, stackId: string, names: readonly string[]): Promise<Map<string, number>> {
  if (names.length === 0) return new Map();
  const rows = await trx.selectFrom("secrets").select(["name", (eb) => eb.fn.max("version").as("version")]).where("stack_id", "=", stackId).where("name", "in", [...names]).groupBy("name").execute();
  return new Map(rows.map((row) => [row.name, row.version]));
}

export interface SecretListRow { readonly name: string; readonly version: number; readonly created_at: Date; readonly created_by: string; readonly used_by: string[] }
export async function listSecrets(trx: Db, stackId: string, query: { readonly name?: string; readonly search?: string; readonly after?: string; readonly limit: number }): Promise<SecretListRow[]> {
  return trx.selectFrom("secrets as s").distinctOn("s.name").where("s.stack_id", "=", stackId)
    .$if(query.name !== undefined, (q) => q.where("s.name", "=", query.name ?? ""))
    .$if(query.search !== undefined, (q) => q.where("s.name", "ilike", query.search ?? ""))
    .$if(query.after !== undefined, (q) => q.where("s.name", ">", query.after ?? ""))
    .select(["s.name", "s.version", "s.created_at", "s.created_by",
      sql<string[]>`coalesce((select array_agg(c.name order by c.name) from components c where c.stack_id = s.stack_id and exists (select 1 from jsonb_each_text(c.spec -> 'secrets') e where e.value = s.name)), '{}')`.as("used_by")])
    .orderBy("s.name").orderBy("s.version", "desc").limit(query.limit + 1).execute();
}

export async function insertSecret(trx: Db, secretBox: SecretBox, secret: { stackId: string; name: string; value: string; by: string }): Promise<number> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`secret ${secret.stackId}/${secret.name}`}, 0))`.execute(trx);
  const version = ((await newestVersions(trx, secret.stackId, [secret.name])).get(secret.name) ?? 0) + 1;
  await trx.insertInto("secrets").values({ stack_id: secret.stackId, name: secret.name, version, ciphertext: secretBox.seal(secret.value, secretIdentity(secret.stackId, secret.name, version)), created_by: secret.by }).execute();
  return version;
}

export async function deleteSecret(trx: Db, stackId: string, name: string): Promise<boolean> {
  const result = await trx.deleteFrom("secrets").where("stack_id", "=", stackId).where("name", "=", name).executeTakeFirst();
  return result.numDeletedRows > 0n;
}
