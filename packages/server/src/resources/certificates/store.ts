// SQL of certificates. Keys are sealed like secrets and leave this file only through `openCertificates`, for the edge.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { CertificateFacts } from "../../core/certificates.ts";
import { edgeClusters } from "../../db/clusters.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

/** What a ciphertext is bound to. */
export const certificateIdentity = (name: string): string => `certificate:${name}`;

export const certificateList = defineList(lists.certificates, {
  sort: { name: text("name"), notAfter: instant("not_after"), updatedAt: instant("updated_at") },
  unique: [text("name")],
  search: { name: sql.ref("name"), subject: sql.ref("subject"), hosts: sql`array_to_string(hosts, ' ')` },
});

export interface CertificateRow {
  readonly name: string;
  readonly subject: string;
  readonly issuer: string;
  readonly hosts: string[];
  readonly not_before: Date;
  readonly not_after: Date;
  readonly fingerprint: string;
  readonly chain_length: number;
  readonly self_signed: boolean;
  readonly is_default: boolean;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly updated_by: string;
  /** The cluster whose server got it by itself; null: an operator gave it. */
  readonly kept_by: string | null;
  readonly renews_at?: Date | null;
}
const shown = [
  "name",
  "subject",
  "issuer",
  "hosts",
  "not_before",
  "not_after",
  "fingerprint",
  "chain_length",
  "self_signed",
  "is_default",
  "created_at",
  "updated_at",
  "updated_by",
  "kept_by",
] as const;
const renewsAt = sql<Date | null>`(select a.renew_at from automatic_certificates a where a.certificate = certificates.name)`.as(
  "renews_at",
);

export async function listCertificates(trx: Db, page: Slice): Promise<(CertificateRow & Keyed)[]> {
  return trx
    .selectFrom("certificates")
    .select([...shown, renewsAt, page.keys.as("cursor_keys")])
    .where(page.where)
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute();
}

export async function findCertificate(trx: Db, name: string): Promise<CertificateRow | undefined> {
  return trx
    .selectFrom("certificates")
    .select([...shown, renewsAt])
    .where("name", "=", name)
    .executeTakeFirst();
}

export interface NewCertificate {
  readonly name: string;
  readonly chain: string;
  readonly key: string;
  readonly facts: CertificateFacts;
  /** undefined: as it was. */
  readonly isDefault: boolean | undefined;
  readonly by: string;
  /** The cluster whose server got it by itself; absent: an operator gives it. */
  readonly keptBy?: string;
}

/** One at most is the default: another one that was is it no more. */
export async function putCertificate(trx: Db, box: SecretBox, given: NewCertificate): Promise<CertificateRow> {
  const { name, chain, facts, isDefault } = given;
  if (isDefault === true) await trx.updateTable("certificates").set({ is_default: false }).where("is_default", "=", true).execute();
  const values = {
    chain,
    ciphertext: box.seal(given.key, certificateIdentity(name)),
    subject: facts.subject,
    issuer: facts.issuer,
    hosts: [...facts.hosts],
    not_before: facts.notBefore,
    not_after: facts.notAfter,
    fingerprint: facts.fingerprint,
    chain_length: facts.length,
    self_signed: facts.selfSigned,
    updated_at: new Date(),
    updated_by: given.by,
    kept_by: given.keptBy ?? null,
    ...(isDefault === undefined ? {} : { is_default: isDefault }),
  };
  return trx
    .insertInto("certificates")
    .values({ name, ...values })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(values))
    .returning([...shown])
    .executeTakeFirstOrThrow();
}

export async function deleteCertificate(trx: Db, name: string): Promise<boolean> {
  const result = await trx.deleteFrom("certificates").where("name", "=", name).executeTakeFirst();
  return result.numDeletedRows > 0n;
}

/** Every edge is to have what there is now. */
export async function wakeEdges(trx: Db): Promise<void> {
  for (const name of await edgeClusters(trx)) await enqueue(trx, { kind: "certificates", key: name, cluster: name });
}

export interface OpenCertificate {
  readonly name: string;
  readonly chain: string;
  /** Empty: it cannot be opened here any more. */
  readonly key: string;
  readonly isDefault: boolean;
}
/** What operators gave comes first. */
const given = sql`kept_by is not null`;

/** With their keys, the oldest first: of two that cover a name, the one that was there before has it. */
export async function openCertificates(trx: Db, box: SecretBox): Promise<OpenCertificate[]> {
  const rows = await trx
    .selectFrom("certificates")
    .select(["name", "chain", "ciphertext", "is_default"])
    .orderBy(given)
    .orderBy("created_at")
    .orderBy("name")
    .execute();
  return rows.map(({ name, chain, ciphertext, is_default: isDefault }) => ({
    name,
    chain,
    key: keyOrNone(box, ciphertext, certificateIdentity(name)),
    isDefault,
  }));
}

/** One that cannot be opened must not keep the others from the edge, which may have its key still. */
function keyOrNone(box: SecretBox, ciphertext: string, identity: string): string {
  try {
    return box.open(ciphertext, identity);
  } catch {
    return "";
  }
}

/** In the order in which the router chooses among them; none at all unless one ends before `soon`, which is the usual case. */
export async function servingWhenEnding(
  trx: Db,
  soon: Date,
): Promise<Pick<CertificateRow, "name" | "hosts" | "not_before" | "not_after" | "kept_by">[]> {
  return trx
    .selectFrom("certificates")
    .select(["name", "hosts", "not_before", "not_after", "kept_by"])
    .where(({ exists, selectFrom }) => exists(selectFrom("certificates as c").select("c.name").where("c.not_after", "<", soon)))
    .orderBy(given)
    .orderBy("created_at")
    .orderBy("name")
    .execute();
}

/** Those that need to be looked at, for the doctor of a cluster: what another one's server got is sealed for that one. */
export async function expiryOf(
  trx: Db,
  cluster: string,
): Promise<Pick<CertificateRow, "name" | "hosts" | "not_before" | "not_after" | "chain_length" | "self_signed" | "kept_by">[]> {
  return trx
    .selectFrom("certificates")
    .select(["name", "hosts", "not_before", "not_after", "chain_length", "self_signed", "kept_by"])
    .where((is) => is.or([is("kept_by", "is", null), is("kept_by", "=", cluster)]))
    .orderBy("not_after")
    .execute();
}
