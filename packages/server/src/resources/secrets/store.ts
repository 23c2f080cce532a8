// SQL of secrets: every version is kept encrypted; values leave this file only through `openSecrets`, for a workload or a build.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import { BerthError } from "../../core/errors.ts";
import type { SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { defineList, instant, number, text, type Keyed, type Slice } from "../page.ts";

/** What a ciphertext is bound to, so that it cannot be moved to another name. */
export function secretIdentity(stackId: string, name: string, version: number): string {
  return `secret:${stackId}/${name}/${version}`;
}

/** Environment variable -> value; a reference without a row is left out. Errors: `secret_unreadable`. */
export async function openSecrets(
  trx: Db,
  secretBox: SecretBox,
  stackId: string,
  refs: Readonly<Record<string, SecretRef>>,
): Promise<Record<string, string>> {
  const entries = Object.entries(refs);
  if (entries.length === 0) return {};
  const rows = await trx
    .selectFrom("secrets")
    .select(["name", "version", "ciphertext"])
    .where("stack_id", "=", stackId)
    .where("name", "in", [...new Set(entries.map(([, ref]) => ref.secret))])
    .execute();
  const opened: Record<string, string> = {};
  for (const [variable, ref] of entries) {
    const row = rows.find((candidate) => candidate.name === ref.secret && candidate.version === ref.version);
    if (row !== undefined) opened[variable] = openOne(secretBox, stackId, row);
  }
  return opened;
}

/** The newest value of each of these secrets that can be opened. */
export async function readableSecrets(
  trx: Db,
  secretBox: SecretBox,
  stackId: string,
  versions: ReadonlyMap<string, number>,
): Promise<Record<string, string>> {
  const opened: Record<string, string> = {};
  for (const [secret, version] of versions)
    try {
      Object.assign(opened, await openSecrets(trx, secretBox, stackId, { [secret]: { secret, version } }));
    } catch (error) {
      // Its key is gone: whatever the new value is, it differs.
      if (!(error instanceof BerthError) || error.code !== "secret_unreadable") throw error;
    }
  return opened;
}

function openOne(box: SecretBox, stackId: string, row: { name: string; version: number; ciphertext: string }): string {
  try {
    return box.open(row.ciphertext, secretIdentity(stackId, row.name, row.version));
  } catch (error) {
    throw new BerthError("secret_unreadable", { secret: row.name, version: row.version }, { cause: error });
  }
}

/** The newest value of each of these secrets, by the keys that name them. Errors: `secret_not_found`, `secret_unreadable`. */
export async function openNewest(
  trx: Db,
  secretBox: SecretBox,
  stackId: string,
  named: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const versions = await newestVersions(trx, stackId, Object.values(named));
  const refs = Object.entries(named).map(([key, secret]) => {
    const version = versions.get(secret);
    if (version === undefined) throw new BerthError("secret_not_found", { secret });
    return [key, { secret, version }] as const;
  });
  return openSecrets(trx, secretBox, stackId, Object.fromEntries(refs));
}

/** The newest version of each of these secrets; unknown names are left out. */
export async function newestVersions(trx: Db, stackId: string, names: readonly string[]): Promise<Map<string, number>> {
  if (names.length === 0) return new Map();
  const rows = await trx
    .selectFrom("secrets")
    .select(["name", (eb) => eb.fn.max("version").as("version")])
    .where("stack_id", "=", stackId)
    .where("name", "in", [...names])
    .groupBy("name")
    .execute();
  return new Map(rows.map((row) => [row.name, row.version]));
}

export interface SecretListRow {
  readonly name: string;
  readonly version: number;
  readonly created_at: Date;
  readonly created_by: string;
  readonly used_by: string[];
  /** Components whose stable release has an older value. */ readonly pending_in: string[];
  /** The key that the newest value is sealed with. */ readonly sealed_with: string;
}
export const secretList = defineList(lists.secrets, {
  sort: { name: text("s.name"), version: number("s.version"), updatedAt: instant("s.created_at") },
  unique: [text("s.name")],
  search: { name: sql.ref("s.name"), updatedBy: sql.ref("s.created_by") },
});
/** The newest version of each. A component in several clusters uses what its release in any of them does. */
export async function listSecrets(
  trx: Db,
  stackId: string,
  query: { readonly name?: string; readonly usedBy?: string | undefined; readonly page: Slice },
): Promise<(SecretListRow & Keyed)[]> {
  // Who uses them is looked up for the newest of each alone, and not for every version that is kept.
  return trx
    .selectFrom((eb) =>
      eb
        .selectFrom((inner) =>
          inner
            .selectFrom("secrets")
            .distinctOn("name")
            .where("stack_id", "=", stackId)
            .$if(query.name !== undefined, (q) => q.where("name", "=", query.name ?? ""))
            .select(["stack_id", "name", "version", "created_at", "created_by", "ciphertext"])
            .orderBy("name")
            .orderBy("version", "desc")
            .as("n"),
        )
        .select([
          "n.name",
          "n.version",
          "n.created_at",
          "n.created_by",
          sql<
            string[]
          >`coalesce((select array_agg(distinct c.name order by c.name) from components c where c.stack_id = n.stack_id and (exists (select 1 from jsonb_each_text(c.spec -> 'secrets') e where e.value = n.name)
        or exists (select 1 from jsonb_each_text(c.spec #> '{build,secrets}') e where e.value = n.name)
        or exists (select 1 from releases r, jsonb_each(r.secret_refs) e where r.id = c.stable_release_id and e.value ->> 'secret' = n.name))), '{}')`.as(
            "used_by",
          ),
          sql<
            string[]
          >`coalesce((select array_agg(distinct c.name order by c.name) from components c join releases r on r.id = c.stable_release_id where c.stack_id = n.stack_id
        and exists (select 1 from jsonb_each(r.secret_refs) e where e.value ->> 'secret' = n.name and (e.value ->> 'version')::int < n.version)), '{}')`.as(
            "pending_in",
          ),
          sql<string>`split_part(n.ciphertext, '.', 2)`.as("sealed_with"),
        ])
        .as("s"),
    )
    .selectAll("s")
    .select(query.page.keys.as("cursor_keys"))
    .$if(query.usedBy !== undefined, (q) => q.where(sql<boolean>`${query.usedBy} = any(s.used_by)`))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}

export async function insertSecret(
  trx: Db,
  secretBox: SecretBox,
  secret: { stackId: string; name: string; value: string; by: string },
): Promise<number> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`secret ${secret.stackId}/${secret.name}`}, 0))`.execute(trx);
  const version = ((await newestVersions(trx, secret.stackId, [secret.name])).get(secret.name) ?? 0) + 1;
  await trx
    .insertInto("secrets")
    .values({
      stack_id: secret.stackId,
      name: secret.name,
      version,
      ciphertext: secretBox.seal(secret.value, secretIdentity(secret.stackId, secret.name, version)),
      created_by: secret.by,
    })
    .execute();
  return version;
}

export async function deleteSecret(trx: Db, stackId: string, name: string): Promise<boolean> {
  const result = await trx.deleteFrom("secrets").where("stack_id", "=", stackId).where("name", "=", name).executeTakeFirst();
  return result.numDeletedRows > 0n;
}
