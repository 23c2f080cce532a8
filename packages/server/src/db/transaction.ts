// Runs a piece of work in one transaction, again when PostgreSQL asks for it. Must never retry what may have been committed.
import { setTimeout as sleep } from "node:timers/promises";
import type { Transaction } from "kysely";
import { BerthError } from "../core/errors.ts";
import type { Db } from "./pool.ts";
import type { Database } from "./tables.ts";

export type Trx = Transaction<Database>;

export interface TransactionOptions {
  readonly isolation?: "read committed" | "repeatable read" | "serializable";
  /** Runs in all, the first included. */
  readonly attempts?: number;
  readonly signal?: AbortSignal;
  /** 0 to 1; spreads retries. */
  readonly random?: () => number;
}

/**
 * One transaction. Work that met a deadlock or a serialization failure was rolled back and runs again (so it must change nothing
 * but the database). Throws `database_unavailable` when the connection is lost or there is none.
 */
export async function transaction<T>(db: Db, work: (trx: Trx) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
  const attempts = options.attempts ?? 5;
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted();
    try {
      const builder = options.isolation === undefined ? db.transaction() : db.transaction().setIsolationLevel(options.isolation);
      return await builder.execute(work);
    } catch (error) {
      if (!mustRunAgain(error) || attempt >= attempts) throw databaseError(error);
      await sleep((options.random ?? Math.random)() * 20 * 2 ** attempt, undefined, { signal: options.signal });
    }
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

function mustRunAgain(error: unknown): boolean {
  return !(error instanceof BerthError) && ["40001", "40P01"].includes(codeOf(error));
}

/** True when an error says that the database is away, full or shutting down, rather than that the question was wrong. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof BerthError) return error.code === "database_unavailable";
  const code = codeOf(error);
  if (code.startsWith("08") || code.startsWith("57P") || code.startsWith("53")) return true;
  if (["ECONNREFUSED", "ECONNRESET", "ENOENT", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH"].includes(code) && (error as { syscall?: unknown }).syscall !== undefined) return ["connect", "read", "write"].includes(String((error as { syscall?: unknown }).syscall));
  return error instanceof Error && /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout/.test(error.message);
}

/** The error as a caller should see it: a coded one when the database is away, else unchanged. */
export function databaseError(error: unknown): unknown {
  return isUnavailable(error) && !(error instanceof BerthError) ? new BerthError("database_unavailable", {}, { cause: error }) : error;
}

/** True for a violated unique constraint (of that name, when given). */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  return codeOf(error) === "23505" && (constraint === undefined || (error as { constraint?: string }).constraint === constraint);
}
