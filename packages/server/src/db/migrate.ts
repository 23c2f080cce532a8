// Brings the schema up to date from plain SQL files, safe against two starters. Must never run on a schema that says it needs a
// newer program, and never on one whose applied migrations differ from the files.
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import semver from "semver";
import type { Log } from "./log.ts";
import type { DatabaseAddress } from "./pool.ts";
import { DatabaseRefused } from "./refused.ts";

export interface MigrateOptions {
  readonly address: DatabaseAddress;
  /** Folder of NNNN_name.sql files. */
  readonly folder: string;
  /** This program's version. */
  readonly program: string;
  readonly log: Log;
}

export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
  /** From the file's line `-- minimum program: X`. */ readonly minimumProgram: string | undefined;
}

export interface MigrateResult {
  readonly applied: readonly string[];
  readonly minimumProgram: string;
}

/** Advisory lock that a migration holds alone and a backup shares; anything that only Berth uses as a key. */
export const schemaLock = "7238273411938472";

/** Reads the folder's migrations in their order. */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => {
      const sql = await readFile(join(folder, name), "utf8");
      return {
        number: Number(name.slice(0, 4)),
        name,
        sql,
        checksum: createHash("sha256").update(sql).digest("hex"),
        minimumProgram: /^-- minimum program: (\S+)$/m.exec(sql)?.[1],
      };
    }),
  );
}

/**
 * Applies what is missing, each migration in a transaction of its own, and returns what was applied. A schema that a newer
 * program made is fine as long as its `minimum_program` is not above this one. Throws `DatabaseRefused`.
 */
export async function migrate(options: MigrateOptions): Promise<MigrateResult> {
  const migrations = await readMigrations(options.folder);
  const client = new pg.Client({ ...options.address, application_name: "berth-migrate", connectionTimeoutMillis: 10_000, keepAlive: true });
  client.on("error", (error) => {
    options.log.warn({ error: error.message }, "the connection of the migration was lost");
  });
  await client.connect();
  try {
    await checkServer(client);
    await client.query("select pg_advisory_lock($1)", [schemaLock]);
    await prepareBookkeeping(client);
    return await applyMissing(client, migrations, options);
  } finally {
    await client.end();
  }
}

const bookkeeping = `
  set client_min_messages = warning;
  create table if not exists schema_migrations (number integer primary key, name text not null, checksum text not null, program text not null, applied_at timestamptz not null default now());
  create table if not exists schema_info (only_one boolean primary key default true check (only_one), minimum_program text not null);
  insert into schema_info (minimum_program) values ('0.0.0') on conflict do nothing`;

/** Only where it is missing: `if not exists` asks for the right to create all the same. */
async function prepareBookkeeping(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ there: boolean; schema: string | null; may: boolean; user: string; database: string }>(`
    select to_regclass('schema_info') is not null as there, current_schema() as schema, coalesce(has_schema_privilege(current_schema(), 'create'), false) as may, current_user as user, current_database() as database`);
  const found = rows[0];
  if (found === undefined || found.there) return;
  if (!found.may) {
    const what = found.schema === null ? "has no schema to make tables in" : `may not make tables in schema ${found.schema}`;
    throw new DatabaseRefused(
      "no_rights",
      `User ${found.user} ${what} of database ${found.database}.`,
      `Its owner can change that: ALTER DATABASE ${found.database} OWNER TO ${found.user}; or GRANT CREATE ON SCHEMA ${found.schema ?? "public"} TO ${found.user};`,
    );
  }
  await client.query(bookkeeping);
}

async function checkServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: string; number: number }>(
    "select current_setting('server_version') as version, current_setting('server_version_num')::int as number",
  );
  const server = rows[0];
  if (server !== undefined && server.number < 150_000)
    throw new DatabaseRefused(
      "database_too_old",
      `The database is PostgreSQL ${server.version}; Berth needs 15 or newer.`,
      "Point DATABASE_URL at a newer one, or leave it out for the embedded one.",
    );
}

async function applyMissing(client: pg.Client, migrations: readonly Migration[], { program, log }: MigrateOptions): Promise<MigrateResult> {
  const minimum =
    (await client.query<{ minimum_program: string }>("select minimum_program from schema_info")).rows[0]?.minimum_program ?? "0.0.0";
  if (isBelow(program, minimum)) throw schemaNeedsNewer(program, minimum);
  const done = new Map(
    (await client.query<{ number: number; checksum: string }>("select number, checksum from schema_migrations")).rows.map((row) => [
      row.number,
      row.checksum,
    ]),
  );
  const applied: string[] = [];
  let reached = minimum;
  for (const migration of migrations) {
    const checksum = done.get(migration.number);
    if (checksum === migration.checksum) continue;
    if (checksum !== undefined)
      throw new DatabaseRefused(
        "migration_changed",
        `Migration ${migration.name} differs from the one that this database was made with.`,
        "Use the program that made it; migrations are never edited after a release.",
      );
    if (migration.minimumProgram !== undefined && semver.gt(migration.minimumProgram, reached)) reached = migration.minimumProgram;
    await apply(client, migration, program, reached);
    log.info({ migration: migration.name }, "applied a migration");
    applied.push(migration.name);
  }
  return { applied, minimumProgram: reached };
}

/** Applies migrations in the caller's transaction, for a restore that must happen as a whole or not at all. */
export async function applyInside(client: pg.Client, migrations: readonly Migration[], program: string): Promise<void> {
  await client.query(bookkeeping);
  let reached =
    (await client.query<{ minimum_program: string }>("select minimum_program from schema_info")).rows[0]?.minimum_program ?? "0.0.0";
  for (const migration of migrations) {
    if (migration.minimumProgram !== undefined && semver.gt(migration.minimumProgram, reached)) reached = migration.minimumProgram;
    await run(client, migration, program, reached);
  }
}

async function run(client: pg.Client, migration: Migration, program: string, minimumProgram: string): Promise<void> {
  await client.query(migration.sql);
  await client.query("insert into schema_migrations (number, name, checksum, program) values ($1, $2, $3, $4)", [
    migration.number,
    migration.name,
    migration.checksum,
    program,
  ]);
  await client.query("update schema_info set minimum_program = $1", [minimumProgram]);
}

/** deadlock_detected, lock_not_available. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const passing: ReadonlySet<string> = new Set(["40P01", "55P03"]);

async function apply(client: pg.Client, migration: Migration, program: string, minimumProgram: string, tries = 5): Promise<void> {
  try {
    // A lock that an older program's long query holds must not make everybody else queue up behind us for ever.
    await client.query("begin; set local lock_timeout = '30s'");
    await run(client, migration, program, minimumProgram);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    // Servers that work beside it hold locks in an order of their own.
    if (tries > 1 && error instanceof pg.DatabaseError && passing.has(error.code ?? ""))
      return apply(client, migration, program, minimumProgram, tries - 1);
    const said = error instanceof Error ? error.message : String(error);
    throw new DatabaseRefused(
      "migration_failed",
      `Migration ${migration.name} failed and was rolled back: ${said}.`,
      "Nothing was changed. Mend what it names and start again.",
      { cause: error },
    );
  }
}

/** True when this program may not use a schema that needs at least `minimum`. */
export function isBelow(program: string, minimum: string): boolean {
  return semver.lt(release(program), minimum);
}

export function schemaNeedsNewer(program: string, minimum: string): DatabaseRefused {
  return new DatabaseRefused(
    "schema_needs_newer",
    `The database was changed by a newer Berth and needs at least ${minimum}; this is ${program}.`,
    "Start the newer Berth, or restore the backup that was made before the upgrade.",
  );
}

/** A pre-release counts as its release: 0.2.0-dev may use what 0.2.0 may. */
function release(version: string): string {
  const parsed = semver.parse(version);
  return parsed === null ? version : `${parsed.major}.${parsed.minor}.${parsed.patch}`;
}
