// SQL of the certificates that Berth gets by itself: for which hosts, how far each one is, and the account at the authority. Keys are sealed like secrets.
import type { Cause } from "@berth/contract/causes.ts";
import { lists } from "@berth/contract/lists.ts";
import { sql } from "kysely";
import { edgeClusters } from "../../db/clusters.ts";
import type { Db } from "../../db/pool.ts";
import type { AutomaticPhase, KeptProof } from "../../db/tables-acme.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { defineList, instantOrLast, text, type Keyed, type Slice } from "../page.ts";

/** What ciphertexts are bound to. */
export const accountIdentity = (cluster: string, directory: string): string => `acme-account:${cluster}:${directory}`;
export const pendingKeyIdentity = (host: string): string => `acme-certificate:${host}`;

/** Kinds of due rows: the hosts of a cluster are looked at, by its name; and one host is brought to its certificate. */
export const hostsKind = "certificate-hosts";
export const hostKind = "certificate-host";

export const automaticList = defineList(lists.automaticCertificates, {
  sort: { host: text("host"), renewsAt: instantOrLast("renew_at") },
  unique: [text("host")],
  search: { host: sql.ref("host") },
});

export interface AutomaticRow {
  readonly host: string;
  readonly cluster: string;
  readonly phase: AutomaticPhase;
  readonly directory: string | null;
  readonly order_url: string | null;
  readonly challenge: KeptProof | null;
  readonly ciphertext: string | null;
  readonly attempts: number;
  readonly failures: number;
  readonly ordered_at: Date | null;
  readonly next_at: Date | null;
  readonly cause: Cause | null;
  readonly failed_at: Date | null;
  readonly certificate: string | null;
  readonly issued_at: Date | null;
  readonly renew_at: Date | null;
  /** Of the certificate that is in force. */ readonly ends_at: Date | null;
}
const columns = [
  "host",
  "cluster",
  "phase",
  "directory",
  "order_url",
  "challenge",
  "ciphertext",
  "attempts",
  "failures",
  "ordered_at",
  "next_at",
  "cause",
  "failed_at",
  "certificate",
  "issued_at",
  "renew_at",
] as const;
const endsAt = sql<Date | null>`(select c.not_after from certificates c where c.name = automatic_certificates.certificate)`.as("ends_at");

export async function listAutomatic(trx: Db, page: Slice): Promise<(AutomaticRow & Keyed)[]> {
  return trx
    .selectFrom("automatic_certificates")
    .select([...columns, endsAt, page.keys.as("cursor_keys")])
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}

export async function findAutomatic(trx: Db, host: string): Promise<AutomaticRow | undefined> {
  return trx
    .selectFrom("automatic_certificates")
    .select([...columns, endsAt])
    .where("host", "=", host)
    .executeTakeFirst();
}

/** Hosts of a cluster whose last attempt failed, and why. */
export async function failingAutomatic(trx: Db, cluster: string): Promise<{ host: string; cause: Cause }[]> {
  const rows = await trx
    .selectFrom("automatic_certificates")
    .select(["host", "cause"])
    .where("cluster", "=", cluster)
    .where("cause", "is not", null)
    .orderBy("host")
    .execute();
  return rows.flatMap(({ host, cause }) => (cause === null ? [] : [{ host, cause }]));
}

export interface AutomaticChange {
  readonly phase?: AutomaticPhase;
  readonly directory?: string;
  readonly order_url?: string | null;
  readonly challenge?: KeptProof | null;
  readonly ciphertext?: string | null;
  readonly attempts?: number;
  readonly failures?: number;
  readonly ordered_at?: Date;
  readonly next_at?: Date | null;
  readonly cause?: Cause | null;
  readonly failed_at?: Date | null;
  readonly certificate?: string;
  readonly issued_at?: Date;
  readonly renew_at?: Date;
}

export async function changeAutomatic(trx: Db, host: string, change: AutomaticChange): Promise<void> {
  const { challenge, cause, ...plain } = change;
  await trx
    .updateTable("automatic_certificates")
    .set({
      ...plain,
      ...(challenge === undefined ? {} : { challenge: challenge === null ? null : JSON.stringify(challenge) }),
      ...(cause === undefined ? {} : { cause: cause === null ? null : JSON.stringify(cause) }),
    })
    .where("host", "=", host)
    .execute();
}

/** The row and the certificate that was got for it. */
export async function forgetAutomatic(trx: Db, { host, certificate }: Pick<AutomaticRow, "host" | "certificate">): Promise<void> {
  await trx.deleteFrom("automatic_certificates").where("host", "=", host).execute();
  if (certificate !== null) await trx.deleteFrom("certificates").where("name", "=", certificate).where("kept_by", "is not", null).execute();
}

/** Hosts that the components of a cluster are reached at by a name of their own. */
export async function routedHosts(trx: Db, cluster: string): Promise<string[]> {
  const { rows } = await sql<{ host: string }>`
    select distinct r.host from routes r join clusters k on k.id = r.cluster_id where k.name = ${cluster} and not r.is_default order by r.host`.execute(
    trx,
  );
  return rows.map(({ host }) => host);
}

/** What operators' own certificates name. */
export async function givenHosts(trx: Db): Promise<string[][]> {
  const rows = await trx.selectFrom("certificates").select("hosts").where("kept_by", "is", null).execute();
  return rows.map(({ hosts }) => hosts);
}

/** Who serves at a host, for events about it: of several the one that has all of it. */
export async function servedBy(trx: Db, host: string): Promise<{ stack: string; component: string; teamId: string } | undefined> {
  const { rows } = await sql<{ stack: string; component: string; teamId: string }>`
    select s.name as stack, c.name as component, s.team_id as "teamId" from routes r join components c on c.id = r.component_id join stacks s on s.id = c.stack_id
    where r.host = ${host} order by length(r.path), s.name limit 1`.execute(trx);
  return rows[0];
}

/**
 * Rows for hosts that have none, and a place on their loop's list for those that have none there or whose host came or went. The others have their time: one that
 * failed must not be tried again before it.
 */
export async function followHosts(trx: Db, cluster: string, wanted: readonly string[]): Promise<void> {
  const { rows } = await sql<{ host: string }>`
    with made as (
      insert into automatic_certificates (host, cluster) select host, ${cluster} from unnest(${wanted}::text[]) host on conflict (host) do nothing returning host
    ), changed as (
      update automatic_certificates set wanted = not wanted where cluster = ${cluster} and wanted <> (host = any(${wanted}::text[])) returning host
    ), lost as (
      select host from automatic_certificates a where cluster = ${cluster} and not exists (select from due d where d.kind = ${hostKind} and d.key = a.host)
    )
    select host from made union select host from changed union select host from lost order by host`.execute(trx);
  for (const { host } of rows) await enqueue(trx, { kind: hostKind, key: host, cluster });
}

/** Certificates that were asked for in the hour before. */
export async function orderedSince(trx: Db, cluster: string, since: Date): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from automatic_certificates where cluster = ${cluster} and ordered_at > ${since}`.execute(trx);
  return rows[0]?.count ?? 0;
}

/** Every server is to look at the hosts of its cluster: routes or given certificates changed. */
export async function wakeHosts(trx: Db): Promise<void> {
  for (const name of await edgeClusters(trx)) await enqueue(trx, { kind: hostsKind, key: name, cluster: name });
}

export interface AccountRow {
  readonly ciphertext: string;
  readonly url: string | null;
  readonly contact: string;
}

export async function findAccount(trx: Db, cluster: string, directory: string): Promise<AccountRow | undefined> {
  return trx
    .selectFrom("acme_accounts")
    .select(["ciphertext", "url", "contact"])
    .where("cluster", "=", cluster)
    .where("directory", "=", directory)
    .executeTakeFirst();
}

/** The first of two that make it at once has made it. */
export async function addAccount(trx: Db, cluster: string, directory: string, ciphertext: string): Promise<void> {
  await trx
    .insertInto("acme_accounts")
    .values({ cluster, directory, ciphertext })
    .onConflict((conflict) => conflict.columns(["cluster", "directory"]).doNothing())
    .execute();
}

export async function changeAccount(
  trx: Db,
  cluster: string,
  directory: string,
  change: { url: string | null; contact?: string },
): Promise<void> {
  await trx.updateTable("acme_accounts").set(change).where("cluster", "=", cluster).where("directory", "=", directory).execute();
}

/** Its key cannot be opened here any more. */
export async function dropAccount(trx: Db, cluster: string, directory: string): Promise<void> {
  await trx.deleteFrom("acme_accounts").where("cluster", "=", cluster).where("directory", "=", directory).execute();
}
