// The pool of connections and the typed query builder over it. Must never turn off durability (synchronous_commit) for speed.
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { niceSession } from "../os/priority.ts";
import type { Log } from "./log.ts";
import { preparingClient, Statements } from "./statements.ts";
import type { Database } from "./tables.ts";

/** How to reach a database: the embedded one's socket, or a DATABASE_URL. */
export type DatabaseAddress =
  | { readonly host: string; readonly port: number; readonly user: string; readonly password: string; readonly database: string }
  | { readonly connectionString: string };

export type Db = Kysely<Database>;

export interface OpenDatabase {
  readonly db: Db;
  readonly pool: pg.Pool;
  /** Waits for queries under way and closes every connection. */
  close(): Promise<void>;
}

export interface PoolOptions {
  readonly address: DatabaseAddress;
  readonly log: Log;
  /** Connections at most. */
  readonly max?: number;
  /** ms a statement may take, a lock may be waited for, and a transaction may idle. */
  readonly statementTimeout?: number;
  readonly lockTimeout?: number;
  readonly idleInTransactionTimeout?: number;
  /** Somebody waits for what is asked over it: where the database runs on this machine for Berth alone, its processes for these connections go before others. */
  readonly isWaitedFor?: boolean;
}

const int8 = 20;
const int8Array: number = 1016;

/** 64-bit numbers as JavaScript numbers, which hold 53 bits: a larger one is an error, never a rounded value. */
function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} does not fit into a number`);
  return value;
}

const parseTexts = pg.types.getTypeParser(int8Array, "text") as (text: string) => (string | null)[];
const parseInt8Array = (text: string): (number | null)[] => parseTexts(text).map((item) => (item === null ? null : parseInt8(item)));

/** The types of columns as this program reads them; the rest is pg's default. */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") => {
    if (format !== "binary" && oid === int8) return parseInt8;
    if (format !== "binary" && oid === int8Array) return parseInt8Array;
    return pg.types.getTypeParser(oid, format) as unknown;
  }) as typeof pg.types.getTypeParser,
};

/** Settings that every connection starts with. */
export function clientConfig(options: PoolOptions): pg.ClientConfig {
  return {
    ...options.address,
    application_name: "berth",
    connectionTimeoutMillis: 10_000,
    statement_timeout: options.statementTimeout ?? 30_000,
    lock_timeout: options.lockTimeout ?? 15_000,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeout ?? 30_000,
    // A server that vanished without a word (a host that lost power) is noticed all the same.
    query_timeout: (options.statementTimeout ?? 30_000) + 5_000,
    keepAlive: true,
    types: columnTypes,
  };
}

/** The server's process for this connection, which leads a session of its own (`BackendKeyData` of PostgreSQL's protocol). */
function backendOf(client: object): number | undefined {
  return "processID" in client && typeof client.processID === "number" ? client.processID : undefined;
}

/** Opens a pool; no connection is made until the first query. */
export function openDatabase(options: PoolOptions): OpenDatabase {
  const Client = preparingClient(new Statements());
  const pool = new pg.Pool({ ...clientConfig(options), Client, max: options.max ?? 20, idleTimeoutMillis: 30_000 });
  pool.on("error", (error) => {
    options.log.warn({ error: error.message }, "an idle database connection was lost");
  });
  // One that is lost while in use fails its query; without a listener the same loss would end this process too.
  pool.on("connect", (client) => {
    client.on("error", (error) => {
      options.log.warn({ error: error.message }, "a database connection was lost");
    });
    if (options.isWaitedFor === true && "host" in options.address) niceSession(backendOf(client), -10);
  });
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  return {
    db,
    pool,
    async close() {
      await db.destroy();
      // Kysely ends only a pool that it has used itself.
      if (!pool.ending) await pool.end();
    },
  };
}
