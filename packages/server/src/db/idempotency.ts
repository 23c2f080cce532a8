// Idempotency-Key: a create that is sent again answers as it did the first time. Must never let two requests with one key both
// do their work, nor block a key for ever because a process died.
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { contentHash } from "../core/canonical.ts";
import { BerthError } from "../core/errors.ts";
import type { Db } from "./pool.ts";

export interface IdempotentRequest {
  readonly principal: string;
  readonly key: string;
  /** From `requestHash`. */ readonly hash: string;
}
export interface Attempt {
  readonly principal: string;
  readonly key: string;
  readonly attempt: string;
}
export type Begun =
  { readonly kind: "new"; readonly attempt: Attempt } | { readonly kind: "replay"; readonly status: number; readonly response: unknown };

/** An answer is kept for a day; a request that fell silent may be taken over after a minute: should it still live, its transaction is undone. */
const keepMs = 24 * 3_600_000;
const busyMs = 60_000;

/** What makes two requests the same. */
export function requestHash(method: string, path: string, body: unknown): string {
  return contentHash({ method, path, body: body ?? null });
}

/** Claims the key, or returns the answer that was given. `over`: attempts that are known to have ended. Throws `idempotency_mismatch` or `idempotency_in_progress`. */
export async function beginIdempotent(db: Db, request: IdempotentRequest, now: Date, over: readonly string[] = []): Promise<Begun> {
  const attempt = randomUUID();
  const busyUntil = new Date(now.getTime() + busyMs);
  const taken = await sql`
    insert into idempotency as i (principal, key, request_hash, attempt, at, busy_until) values (${request.principal}, ${request.key}, ${request.hash}, ${attempt}, ${now}, ${busyUntil})
    on conflict (principal, key) do update set request_hash = excluded.request_hash, attempt = excluded.attempt, at = excluded.at, busy_until = excluded.busy_until, status = null, response = null
    where i.at < ${new Date(now.getTime() - keepMs)} or (i.status is null and (i.busy_until < ${now} or i.attempt = any(${over}::uuid[])) and i.request_hash = excluded.request_hash)
    returning 1`.execute(db);
  if (taken.rows.length > 0) return { kind: "new", attempt: { principal: request.principal, key: request.key, attempt } };
  const row = await db
    .selectFrom("idempotency")
    .selectAll()
    .where("principal", "=", request.principal)
    .where("key", "=", request.key)
    .executeTakeFirst();
  if (row !== undefined && row.request_hash !== request.hash) throw new BerthError("idempotency_mismatch");
  if (row === undefined || row.status === null) throw new BerthError("idempotency_in_progress");
  return { kind: "replay", status: row.status, response: row.response };
}

/** Keeps the answer. Called in the transaction that does the work, so that there is never one without the other; it also stops one whose key was taken over (`idempotency_in_progress`). */
export async function finishIdempotent(
  trx: Db,
  attempt: Attempt,
  answer: { readonly status: number; readonly response: unknown },
): Promise<void> {
  const done = await trx
    .updateTable("idempotency")
    .set({ status: answer.status, response: JSON.stringify(answer.response ?? null) })
    .where("principal", "=", attempt.principal)
    .where("key", "=", attempt.key)
    .where("attempt", "=", attempt.attempt)
    .where("status", "is", null)
    .executeTakeFirst();
  if (done.numUpdatedRows === 0n) throw new BerthError("idempotency_in_progress");
}

/** The request failed and changed nothing: the key is free again. */
export async function abandonIdempotent(db: Db, attempt: Attempt): Promise<void> {
  await db
    .deleteFrom("idempotency")
    .where("principal", "=", attempt.principal)
    .where("key", "=", attempt.key)
    .where("attempt", "=", attempt.attempt)
    .where("status", "is", null)
    .execute();
}

/** At a start: who had begun before is gone, and what it had done it kept. A repetition need not wait. */
export async function freeIdempotent(db: Db): Promise<void> {
  await db.deleteFrom("idempotency").where("status", "is", null).execute();
}

/** Forgets what is older than a day. */
export async function removeOldIdempotency(db: Db, now: Date): Promise<void> {
  await db
    .deleteFrom("idempotency")
    .where("at", "<", new Date(now.getTime() - keepMs))
    .execute();
}
