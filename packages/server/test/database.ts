// A database of its own for a test file: a clone of the migrated template, dropped at the end. A test that leaves connections
// open fails.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, inject } from "vitest";
import { silentLog } from "../src/db/log.ts";
import { openDatabase, type DatabaseAddress, type Db, type OpenDatabase, type PoolOptions } from "../src/db/pool.ts";
import { withClient, type TestServer } from "./server.ts";

export interface TestDatabase {
  readonly address: Exclude<DatabaseAddress, { connectionString: string }>;
  readonly db: Db;
  readonly pool: OpenDatabase["pool"];
  /** Another pool on the same database; whoever opens it closes it. */
  open(options?: Partial<PoolOptions>): OpenDatabase;
  /** Drops the database; throws when somebody else's connections are still open after `patience` ms. */
  drop(patience?: number): Promise<void>;
}

/** Clones the template (or an empty database). Needs test/global-setup.ts among vitest's `globalSetup`. */
export async function createTestDatabase(options: { readonly empty?: boolean } = {}): Promise<TestDatabase> {
  const server: TestServer = inject("database");
  const name = `test_${process.pid}_${randomBytes(4).toString("hex")}`;
  await withClient(server.address, (client) =>
    client.query(`create database ${name} template ${options.empty === true ? "template0" : server.template}`),
  );
  const address = { ...server.address, database: name };
  const open = (more: Partial<PoolOptions> = {}): OpenDatabase => openDatabase({ address, log: silentLog, max: 10, ...more });
  const own = open();
  return {
    address,
    db: own.db,
    pool: own.pool,
    open,
    drop: async (patience = 30_000) => {
      await own.close();
      await drop(server, name, patience);
    },
  };
}

/** For a whole test file: `const database = useTestDatabase();` and `database().db` inside the tests. */
export function useTestDatabase(options: { readonly empty?: boolean } = {}): () => TestDatabase {
  let database: TestDatabase | undefined;
  beforeAll(async () => {
    database = await createTestDatabase(options);
  });
  afterAll(async () => {
    await database?.drop();
  });
  return () => {
    if (database === undefined) throw new Error("the test database is there only inside tests and hooks");
    return database;
  };
}

async function drop(server: TestServer, name: string, patience: number): Promise<void> {
  await withClient(server.address, async (client) => {
    // A connection that was just closed takes a moment to leave the server.
    const deadline = Date.now() + patience;
    let left: { query: string }[] = [];
    do {
      left = (
        await client.query<{ query: string }>("select query from pg_stat_activity where datname = $1 and backend_type = 'client backend'", [
          name,
        ])
      ).rows;
      if (left.length > 0) await sleep(10);
    } while (left.length > 0 && Date.now() < deadline);
    await client.query(`drop database ${name} with (force)`);
    if (left.length > 0)
      throw new Error(`${left.length} database connections were left open; last queries: ${left.map((row) => row.query).join(" | ")}`);
  });
}
