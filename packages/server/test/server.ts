// The one PostgreSQL that all tests of this checkout share: an embedded one in a cache folder, kept from run to run and stopped
// when the last run that uses it ends. Durability is off here, and only here.
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync, chownSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbedded, stopEmbedded } from "../src/db/embedded.ts";
import { silentLog } from "../src/db/log.ts";
import { migrate, readMigrations } from "../src/db/migrate.ts";
import type { DatabaseAddress } from "../src/db/pool.ts";
import { withLock } from "../src/os/lock.ts";
import { identify, isSameProcess, type LastingIdentity } from "../src/os/process.ts";
import { DatabaseRefused } from "../src/db/refused.ts";

export interface TestServer {
  readonly address: Exclude<DatabaseAddress, { connectionString: string }>;
  /** A database with every migration applied, to be cloned. */
  readonly template: string;
}

export const migrationsFolder = join(import.meta.dirname, "../migrations");

const extraConf =
  "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 300\nautovacuum = off\nmax_wal_size = '1GB'\n";

function cacheFolder(): string {
  const uid = process.getuid?.() ?? 0;
  const folder = join(
    tmpdir(),
    `berth-test-${uid}-${createHash("sha256")
      .update(import.meta.dirname)
      .digest("hex")
      .slice(0, 8)}`,
  );
  mkdirSync(join(folder, "users"), { recursive: true, mode: 0o711 });
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || stat.uid !== uid) throw new Error(`${folder} belongs to somebody else`);
  return folder;
}

/** Starts or finds the server, registers this process as a user of it, and builds the template. */
export async function acquireTestServer(): Promise<TestServer> {
  const home = cacheFolder();
  return await withLock(join(home, "users.lock"), undefined, async () => {
    const others = usersOf(home);
    const address = await startTuned(home);
    writeFileSync(join(home, "users", String(process.pid)), JSON.stringify(identify(process.pid)));
    return { address, template: await withClient(address, (client) => buildTemplate(client, address, others.length === 0)) };
  });
}

/** Gives the server up; the last user stops it. */
export async function releaseTestServer(): Promise<void> {
  const home = cacheFolder();
  await withLock(join(home, "users.lock"), undefined, async () => {
    rmSync(join(home, "users", String(process.pid)), { force: true });
    if (usersOf(home).length === 0) await stopEmbedded(home);
  });
}

/** Processes that use the server now; entries of dead ones are cleared away. */
function usersOf(home: string): string[] {
  return readdirSync(join(home, "users")).filter((name) => {
    const path = join(home, "users", name);
    const alive = isSameProcess(JSON.parse(readFileSync(path, "utf8")) as LastingIdentity);
    if (!alive) rmSync(path, { force: true });
    return alive;
  });
}

async function startTuned(home: string): Promise<TestServer["address"]> {
  const options = { home, runDir: join(home, "run"), log: silentLog };
  try {
    const first = await startEmbedded(options);
    const extra = join(home, "postgres/data/extra.conf");
    if (existsSync(extra) && readFileSync(extra, "utf8") === extraConf) return first.connection;
    writeFileSync(extra, extraConf);
    const owner = statSync(join(home, "postgres/data"));
    chownSync(extra, owner.uid, owner.gid);
    await first.stop();
    return (await startEmbedded(options)).connection;
  } catch (error) {
    // Without fsync a crash of the machine may leave a folder that cannot be used; there is nothing in it to keep.
    if (!(error instanceof DatabaseRefused) || (error.reason !== "start_failed" && error.reason !== "data_truncated")) throw error;
    await stopEmbedded(home);
    rmSync(join(home, "postgres"), { recursive: true, force: true });
    return (await startEmbedded(options)).connection;
  }
}

async function buildTemplate(client: pg.Client, address: TestServer["address"], alone: boolean): Promise<string> {
  const checksums = (await readMigrations(migrationsFolder)).map((migration) => migration.checksum).join();
  const name = `template_${createHash("sha256").update(checksums).digest("hex").slice(0, 16)}`;
  const { rows } = await client.query<{ datname: string }>(
    "select datname from pg_database where datname ~ '^(template_[0-9a-f]|test_|draft)'",
  );
  if (alone)
    for (const { datname } of rows)
      if (datname !== name) await client.query(`drop database if exists ${pg.escapeIdentifier(datname)} with (force)`);
  if (rows.some((row) => row.datname === name)) return name;
  await client.query("drop database if exists draft with (force)");
  await client.query("create database draft");
  await migrate({ address: { ...address, database: "draft" }, folder: migrationsFolder, program: "999.0.0", log: silentLog });
  await client.query(`alter database draft rename to ${name}`);
  return name;
}

/** Runs `work` with a connection that is closed afterwards. */
export async function withClient<T>(address: DatabaseAddress, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ ...address });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
