// Reads every row of Berth's tables as of one instant, while others go on writing. Values are read as PostgreSQL writes them in text,
// so that they come back exactly, into any version of PostgreSQL. Must never hold a lock that a writer waits for.
import pg from "pg";
import { schemaLock } from "./migrate.ts";
import type { DatabaseAddress } from "./pool.ts";

export interface TableShape {
  readonly name: string;
  readonly columns: readonly {
    readonly name: string;
    /** As PostgreSQL spells it, e.g. `timestamp(3) with time zone`. */ readonly type: string;
  }[];
}
export interface SequenceValue {
  readonly name: string;
  readonly value: string;
}
export interface AppliedMigration {
  readonly number: number;
  readonly name: string;
  readonly checksum: string;
}

export interface Snapshot {
  readonly installation: { readonly id: string; readonly epoch: number };
  readonly migrations: readonly AppliedMigration[];
  readonly minimumProgram: string;
  /** Version of the PostgreSQL that it was read from. */
  readonly server: string;
  readonly tables: readonly TableShape[];
  readonly sequences: readonly SequenceValue[];
  /** Digests of every blob that a row names. */
  readonly blobs: readonly string[];
  /** Ids of the keys under which secrets and credentials lie. */
  readonly secretKeys: readonly string[];
  /** Rows in batches, each row one line of JSON: an array with each column's text or null. */
  rows(table: TableShape): AsyncGenerator<readonly string[]>;
  close(): Promise<void>;
}

/** Held by whoever needs every blob to stay; retention removes one only when nobody does. */
export const blobsLock = "7238273411938474";
/** Made by the program itself, or true of this database's transactions alone: not content. */
export const bookkeeping: readonly string[] = ["schema_info", "schema_migrations", "view_changes"];
const batch = 1_000;

/** Opens the snapshot on a connection of its own. The caller closes it; until then no migration runs and no blob is removed. */
export async function openSnapshot(address: DatabaseAddress): Promise<Snapshot> {
  const client = new pg.Client({ ...address, application_name: "berth-backup", connectionTimeoutMillis: 10_000, keepAlive: true });
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error;
  });
  await client.connect();
  try {
    await client.query(
      "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC'; set bytea_output = 'hex'; set extra_float_digits = 1",
    );
    await client.query("select pg_advisory_lock_shared($1), pg_advisory_lock_shared($2)", [schemaLock, blobsLock]);
    await client.query("begin isolation level repeatable read read only");
    const tables = await readShapes(client);
    return {
      ...(await readFacts(client)),
      tables,
      close: () => client.end(),
      async *rows(table) {
        if (lost !== undefined) throw lost;
        const list = table.columns.map((column) => `${pg.escapeIdentifier(column.name)}::text`).join(", ");
        await client.query(
          `declare rows no scroll cursor for select to_json(array[${list}])::text as line from ${pg.escapeIdentifier(table.name)}`,
        );
        for (;;) {
          const { rows } = await client.query<{ line: string }>(`fetch ${batch} from rows`);
          if (rows.length === 0) break;
          yield rows.map((row) => row.line);
        }
        await client.query("close rows");
      },
    };
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** The tables of the schema in use, without the program's own bookkeeping. Generated columns come back by themselves. */
export async function readShapes(client: pg.Client): Promise<TableShape[]> {
  const { rows } = await client.query<{ name: string; column: string; type: string }>(
    `
    select c.relname as name, a.attname as column, format_type(a.atttypid, a.atttypmod) as type
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and pg_get_userbyid(c.relowner) = current_user and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      and not c.relname = any($1) order by c.relname, a.attnum`,
    [bookkeeping],
  );
  const tables = new Map<string, { name: string; type: string }[]>();
  for (const row of rows) tables.set(row.name, [...(tables.get(row.name) ?? []), { name: row.column, type: row.type }]);
  return [...tables].map(([name, columns]) => ({ name, columns }));
}

async function readFacts(client: pg.Client): Promise<Omit<Snapshot, "tables" | "rows" | "close">> {
  const one = async <T extends object>(sql: string): Promise<T | undefined> => (await client.query<T & pg.QueryResultRow>(sql)).rows[0];
  const installation = await one<{ id: string; epoch: string }>("select id, epoch::text from installation");
  if (installation === undefined) throw new Error("This database holds no installation: there is nothing to back up.");
  const migrations = (await client.query<AppliedMigration>("select number, name, checksum from schema_migrations order by number")).rows;
  const { minimum = "0.0.0" } = (await one<{ minimum: string }>("select minimum_program as minimum from schema_info")) ?? {};
  const { version = "" } = (await one<{ version: string }>("select current_setting('server_version') as version")) ?? {};
  // Not part of the snapshot, and therefore never behind its rows.
  const sequences = (
    await client.query<SequenceValue>(
      "select sequencename as name, last_value::text as value from pg_sequences where schemaname = current_schema() and sequenceowner = current_user and last_value is not null order by 1",
    )
  ).rows;
  const blobs = (
    await client.query<{ digest: string }>(`
    select digest from sources union select digest from artifacts where kind = 'bundle' union select log_digest from builds where log_digest is not null union select sbom_digest from builds where sbom_digest is not null union select provenance_digest from builds where provenance_digest is not null union select source_digest from builds order by 1`)
  ).rows.map((row) => row.digest);
  const secretKeys = (
    await client.query<{ id: string }>(
      "select distinct split_part(ciphertext, '.', 2) as id from (select ciphertext from secrets union all select ciphertext from credentials union all select ciphertext from certificates union all select ciphertext from acme_accounts union all select ciphertext from registries union all select ciphertext from webhooks) sealed order by 1",
    )
  ).rows.map((row) => row.id);
  return {
    installation: { id: installation.id, epoch: Number(installation.epoch) },
    migrations,
    minimumProgram: minimum,
    server: version,
    sequences,
    blobs,
    secretKeys,
  };
}
