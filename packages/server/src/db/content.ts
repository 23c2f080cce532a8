// Puts a snapshot's rows in the place of what a database holds, in one transaction: until its commit everything is as before, and a
// crash at any instruction leaves it so. Must never load into a schema that is not exactly the one the rows were read from.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { applyInside, schemaLock, type Migration } from "./migrate.ts";
import type { DatabaseAddress } from "./pool.ts";
import { DatabaseRefused } from "./refused.ts";
import { bookkeeping, readShapes, type AppliedMigration, type SequenceValue, type TableShape } from "./snapshot.ts";

export interface Content {
  readonly migrations: readonly AppliedMigration[];
  readonly tables: readonly TableShape[];
  readonly sequences: readonly SequenceValue[];
}

export interface Replacement {
  readonly address: DatabaseAddress;
  /** All migrations of this program. */
  readonly known: readonly Migration[];
  readonly program: string;
  readonly content: Content;
  /** Feeds every row, table by table in any order, to `insert`. */
  readonly feed: (insert: (table: string, lines: readonly string[]) => Promise<void>) => Promise<void>;
  /** Last, inside the same transaction, on a schema that is up to date. */
  readonly afterwards: (client: pg.Client) => Promise<void>;
}

/** Throws `schema_needs_newer` or `migration_changed` when these rows are not this program's to load. */
export function checkMigrations(applied: readonly AppliedMigration[], known: readonly Migration[]): void {
  for (const one of applied) {
    const own = known.find((migration) => migration.number === one.number);
    if (own === undefined)
      throw new DatabaseRefused(
        "schema_needs_newer",
        `It was made by a newer Berth: this one does not know migration ${one.name}.`,
        "Use the Berth that made it, or a newer one.",
      );
    if (own.checksum !== one.checksum)
      throw new DatabaseRefused(
        "migration_changed",
        `It was made with another migration ${one.name} than this program's.`,
        "Use the program that made it; migrations are never edited after a release.",
      );
  }
}

/** Replaces everything that this role owns in the database's schema. Throws `DatabaseRefused`, and then nothing was changed. */
export async function replaceContent(replacement: Replacement): Promise<void> {
  const { content, known } = replacement;
  checkMigrations(content.migrations, known);
  const client = new pg.Client({
    ...replacement.address,
    application_name: "berth-restore",
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error;
  });
  await client.connect();
  try {
    await client.query(
      "set client_min_messages = warning; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set lock_timeout = '20s'; set datestyle = 'ISO'; set timezone = 'UTC'",
    );
    await client.query("select pg_advisory_lock($1)", [schemaLock]);
    await client.query("begin");
    await refuseOthers(client);
    await dropOwn(client);
    const until = Math.max(0, ...content.migrations.map((one) => one.number));
    await applyInside(
      client,
      known.filter((migration) => migration.number <= until),
      replacement.program,
    );
    await load(client, replacement);
    await applyInside(
      client,
      known.filter((migration) => migration.number > until),
      replacement.program,
    );
    await replacement.afterwards(client);
    if (lost !== undefined) throw lost;
    await client.query("commit");
    await client.query("analyze");
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Another server would go on with what it remembers of the old rows. */
async function refuseOthers(client: pg.Client): Promise<void> {
  let rows: { from: string }[] = [];
  for (let look = 0; look < 50; look += 1) {
    rows = (
      await client.query<{ from: string }>(
        "select distinct coalesce(client_addr::text, 'this machine') as from from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name in ('berth', 'berth-listen')",
      )
    ).rows;
    if (rows.length === 0) return;
    // Connections of a server that was just stopped take a moment to leave.
    await sleep(100);
  }
  throw new DatabaseRefused(
    "in_use",
    `Another Berth server works with this database (from ${rows.map((row) => row.from).join(", ")}).`,
    "Stop it first with `berth server stop`; what it runs goes on.",
  );
}

async function dropOwn(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(`
    select format('drop table %I cascade', relname) as statement from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and pg_get_userbyid(relowner) = current_user
    union all select format('drop sequence if exists %I cascade', relname) from pg_class c where relnamespace = current_schema()::regnamespace and relkind = 'S' and pg_get_userbyid(relowner) = current_user
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))
    union all select format('drop function if exists %s cascade', oid::regprocedure) from pg_proc p where pronamespace = current_schema()::regnamespace and pg_get_userbyid(proowner) = current_user
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')`);
  for (const { statement } of rows) await client.query(statement);
}

/** Rows come in any order, so references are put back, and thereby checked, when all of them are there. */
async function load(client: pg.Client, { content, feed }: Replacement): Promise<void> {
  const here = new Map((await readShapes(client)).map((table) => [table.name, table]));
  // An older program, beside a newer one's database, took for content what is none.
  const wanted = content.tables.filter(({ name }) => !bookkeeping.includes(name));
  for (const table of wanted) {
    const missing = table.columns.find(
      (column) => here.get(table.name)?.columns.some((own) => own.name === column.name && own.type === column.type) !== true,
    );
    if (missing !== undefined)
      throw new DatabaseRefused(
        "migration_changed",
        `The backup has a column ${table.name}.${missing.name} (${missing.type}) that its own migrations do not make.`,
        "Use the program that made it.",
      );
  }
  const references = (
    await client.query<{ table: string; name: string; definition: string }>(
      "select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as definition from pg_constraint where contype = 'f' and connamespace = current_schema()::regnamespace",
    )
  ).rows;
  for (const one of references) await client.query(`alter table ${one.table} drop constraint ${pg.escapeIdentifier(one.name)}`);
  const tables = [...here.keys()].map((name) => pg.escapeIdentifier(name));
  for (const table of tables) await client.query(`alter table ${table} disable trigger user`);
  // What migrations themselves insert is in the snapshot too.
  for (const table of tables) await client.query(`delete from ${table}`);
  const shapes = new Map(wanted.map((table) => [table.name, table]));
  await feed(async (name, lines) => {
    const shape = shapes.get(name);
    if (shape === undefined || lines.length === 0) return;
    const columns = shape.columns.map((column) => pg.escapeIdentifier(column.name)).join(", ");
    const values = shape.columns.map((column, at) => `(line ->> ${at})::${column.type}`).join(", ");
    await client.query(
      `insert into ${pg.escapeIdentifier(name)} (${columns}) overriding system value select ${values} from json_array_elements($1::json) as line`,
      [`[${lines.join(",")}]`],
    );
  });
  for (const table of tables) await client.query(`alter table ${table} enable trigger user`);
  for (const one of references)
    await client.query(`alter table ${one.table} add constraint ${pg.escapeIdentifier(one.name)} ${one.definition}`);
  for (const sequence of content.sequences)
    await client.query("select setval(quote_ident($1)::regclass, $2::bigint)", [sequence.name, sequence.value]);
}
