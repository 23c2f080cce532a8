// Who did what. Entries are appended by anybody and then numbered, chained and signed by one sealer, with a key outside of the
// database: whoever changes or removes one, even with the database's password, is found out.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign, verify, type KeyObject } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync, existsSync, chmodSync } from "node:fs";
import { sql } from "kysely";
import { canonicalJson } from "../core/canonical.ts";
import type { Db } from "./pool.ts";
import { transaction } from "./transaction.ts";

export interface NewAudit {
  /** Shown to people: a user's name, or `berth` itself. */
  readonly principal: string;
  /** `<noun>.<verb>` */
  readonly action: string;
  /** Named like a topic: `stack:S`, `component:S/C`, ... */
  readonly object: string;
  /** Never a secret's value. */
  readonly params?: Readonly<Record<string, unknown>>;
  readonly requestId?: string;
}

/** Appends an entry inside the transaction of the change; the sealer gives it its number. */
export async function appendAudit(trx: Db, entry: NewAudit): Promise<void> {
  await trx
    .insertInto("audit")
    .values({
      principal: entry.principal,
      action: entry.action,
      object: entry.object,
      params: JSON.stringify(entry.params ?? {}),
      request_id: entry.requestId ?? null,
    })
    .execute();
}

export interface AuditKey {
  readonly id: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly headPath: string;
}
/** The newest entry: kept beside the key after each sealing, and fit to be exported and checked elsewhere. */
export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
  readonly signature: string;
  readonly keyId: string;
  readonly epoch: number;
}

const noHash = "0".repeat(64);
const sealLock = "7238273411938473";

/** Opens `<home>/audit.key` (Ed25519, 0600), making it when there is none; the head lies beside it in `<home>/audit.key.head`. */
export function openAuditKey(path: string): AuditKey {
  if (!existsSync(path)) {
    const draft = `${path}.${randomBytes(6).toString("hex")}`;
    writeFileSync(draft, generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600, flush: true });
    try {
      linkSync(draft, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      rmSync(draft, { force: true });
    }
  }
  chmodSync(path, 0o600);
  const privateKey = createPrivateKey(readFileSync(path));
  const publicKey = createPublicKey(privateKey);
  const id = createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex")
    .slice(0, 16);
  return { id, privateKey, publicKey, headPath: `${path}.head` };
}

interface EntryRow {
  readonly id: string;
  readonly at: Date;
  readonly principal: string;
  readonly action: string;
  readonly object: string;
  readonly params: Record<string, unknown>;
  readonly request_id: string | null;
}

/**
 * Numbers, chains and signs up to `limit` entries that have no number yet. One process at a time: another one returns 0 at once.
 * A late commit simply gets a later number.
 */
export async function sealAudit(db: Db, key: AuditKey, epoch: number, limit = 500): Promise<number> {
  const sealed = await transaction(db, async (trx) => {
    const lock = await sql<{ got: boolean }>`select pg_try_advisory_xact_lock(${sealLock}::bigint) as got`.execute(trx);
    if (lock.rows[0]?.got !== true) return [];
    const entries = await trx
      .selectFrom("audit")
      .select(["id", "at", "principal", "action", "object", "params", "request_id"])
      .where("seq", "is", null)
      .orderBy("at")
      .orderBy("id")
      .limit(limit)
      .execute();
    if (entries.length === 0) return [];
    const last = await trx
      .selectFrom("audit")
      .select(["seq", "hash"])
      .where("seq", "is not", null)
      .orderBy("seq", "desc")
      .limit(1)
      .executeTakeFirst();
    const heads = chain(entries as EntryRow[], { seq: last?.seq ?? 0, hash: last?.hash ?? noHash }, key, epoch);
    await sql`
      update audit set seq = s.seq, previous_hash = s.previous, hash = s.hash, signature = s.signature, key_id = ${key.id}, sealed_at = now()
      from unnest(${heads.map((one) => one.id)}::uuid[], ${heads.map((one) => one.head.seq)}::bigint[], ${heads.map((one) => one.previous)}::text[], ${heads.map((one) => one.head.hash)}::text[], ${heads.map((one) => one.head.signature)}::text[])
        as s (id, seq, previous, hash, signature)
      where audit.id = s.id`.execute(trx);
    return heads;
  });
  const head = sealed.at(-1)?.head;
  if (head !== undefined) writeHead(key, head);
  return sealed.length;
}

function chain(
  entries: readonly EntryRow[],
  from: { readonly seq: number; readonly hash: string },
  key: AuditKey,
  epoch: number,
): { id: string; previous: string; head: AuditHead }[] {
  let { seq, hash } = from;
  return entries.map((entry) => {
    const previous = hash;
    seq += 1;
    hash = hashOf(entry, seq, previous);
    return {
      id: entry.id,
      previous,
      head: { seq, hash, signature: sign(null, Buffer.from(hash, "hex"), key.privateKey).toString("base64"), keyId: key.id, epoch },
    };
  });
}

function hashOf(entry: EntryRow, seq: number, previous: string): string {
  const { id, principal, action, object, params } = entry;
  return createHash("sha256")
    .update(previous)
    .update(canonicalJson({ id, seq, at: entry.at.toISOString(), principal, action, object, params, requestId: entry.request_id }))
    .digest("hex");
}

function writeHead(key: AuditKey, head: AuditHead): void {
  const draft = `${key.headPath}.draft`;
  writeFileSync(draft, `${JSON.stringify(head)}\n`, { mode: 0o600 });
  renameSync(draft, key.headPath);
}

/** The head that was last written outside of the database; undefined before the first sealing. */
export function readAuditHead(key: AuditKey): AuditHead | undefined {
  return existsSync(key.headPath) ? (JSON.parse(readFileSync(key.headPath, "utf8")) as AuditHead) : undefined;
}

export type AuditVerdict =
  | { readonly ok: true; readonly entries: number; readonly unsealed: number }
  | { readonly ok: false; readonly seq: number; readonly problem: "missing" | "changed" | "signature" | "cut_off" };

/**
 * Walks the whole chain: every number there, every hash right, every signature by a known key, and nothing cut off behind the head
 * that is kept outside. `others` are public keys of replicas and of earlier keys, by id.
 */
export async function verifyAudit(
  db: Db,
  key: AuditKey,
  epoch: number,
  others: ReadonlyMap<string, KeyObject> = new Map(),
): Promise<AuditVerdict> {
  const keys = new Map([...others, [key.id, key.publicKey] as const]);
  // Read before the chain: entries that are sealed meanwhile only make the chain longer.
  const head = readAuditHead(key);
  let seq = 0;
  let previous = noHash;
  for (;;) {
    const rows = await db.selectFrom("audit").selectAll().where("seq", ">", seq).orderBy("seq").limit(1_000).execute();
    for (const row of rows) {
      seq += 1;
      if (row.seq !== seq) return { ok: false, seq, problem: "missing" };
      if (row.previous_hash !== previous || row.hash !== hashOf(row as EntryRow, seq, previous))
        return { ok: false, seq, problem: "changed" };
      const publicKey = keys.get(row.key_id ?? "");
      if (publicKey === undefined || !verify(null, Buffer.from(row.hash, "hex"), publicKey, Buffer.from(row.signature ?? "", "base64")))
        return { ok: false, seq, problem: "signature" };
      if (head?.seq === seq && head.epoch === epoch && head.hash !== row.hash) return { ok: false, seq, problem: "changed" };
      previous = row.hash;
    }
    if (rows.length === 0) break;
  }
  // After a restore the epoch is higher: what the backup did not hold yet is lost, and the head of before says so to people.
  if (head !== undefined && head.epoch === epoch && head.seq > seq) return { ok: false, seq: seq + 1, problem: "cut_off" };
  const unsealed = await db
    .selectFrom("audit")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("seq", "is", null)
    .executeTakeFirstOrThrow();
  return { ok: true, entries: seq, unsealed: unsealed.count };
}
