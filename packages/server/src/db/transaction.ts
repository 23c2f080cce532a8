// Runs a piece of work in one transaction, again when PostgreSQL asks for it. Must never retry what may have been committed.
import { setTimeout as sleep } from "node:timers/promises";
import type { Transaction } from "kysely";
import pg from "pg";
import { BerthError } from "../core/errors.ts";
import type { Db } from "./pool.ts";
import { isStalePlan } from "./statements.ts";
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
 * One transaction. Work that met a deadlock, a serialization failure or a table changed by a migration was rolled back and runs again (so it must change nothing
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
  return !(error instanceof BerthError) && (["40001", "40P01"].includes(codeOf(error)) || isStalePlan(error));
}

/**
 * PostgreSQL's codes, or their first letters, of what lies with the database and not with the question: no connection, no resources, being stopped, a disk that
 * cannot be read, a standby since a failover; and what gave way to others until its time was over.
 */
const notOurs = ["08", "53", "57", "58", "25006", "25P03", "25P04", "40001", "40P01", "55P03"];
const socketCodes = [
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EAGAIN",
  "EACCES",
  "ENOTFOUND",
  "EAI_AGAIN",
];
const socketCalls = ["connect", "read", "write", "getaddrinfo"];
/** The driver's own words where it has no code. */
const driverWords =
  /Connection terminated|timeout exceeded when trying to connect|timeout expired|is not queryable|Query read timeout|socket has been ended by the other party|after calling end on the pool|driver has already been destroyed|connection has been discarded/;

/** True when an error says that the database is away, full, overtaxed or shutting down, rather than that the question was wrong. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof BerthError) return error.code === "database_unavailable";
  const code = codeOf(error);
  if (error instanceof pg.DatabaseError) return notOurs.some((start) => code.startsWith(start));
  const { syscall } = (error ?? {}) as { syscall?: unknown };
  if (socketCodes.includes(code) && syscall !== undefined) return socketCalls.includes(String(syscall));
  return error instanceof Error && driverWords.test(error.message);
}

/** disk_full, in PostgreSQL's list of codes. */
const diskFull = "53100";

/** The error as a caller should see it: a coded one when the database is away or its disk is full, else unchanged. */
export function databaseError(error: unknown): unknown {
  if (codeOf(error) === diskFull) return new BerthError("storage_full", { what: "the database" }, { cause: error });
  return isUnavailable(error) && !(error instanceof BerthError) ? new BerthError("database_unavailable", {}, { cause: error }) : error;
}

/** True for a violated unique constraint (of that name, when given). */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  return codeOf(error) === "23505" && (constraint === undefined || (error as { constraint?: string }).constraint === constraint);
}
