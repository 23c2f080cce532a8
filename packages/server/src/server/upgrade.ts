// `berth server upgrade-database`: moves the embedded database to the PostgreSQL that this Berth brings, with words.
import { mkdirSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Config } from "../config.ts";
import { upgradeData } from "../db/embedded/upgrade.ts";
import { silentLog } from "../db/log.ts";
import { readMigrations } from "../db/migrate.ts";
import { migrationsFolder, type Paths } from "../paths.ts";
import { takeLock } from "./lock.ts";
import { StartRefused } from "./refusal.ts";

function read(args: readonly string[]): string | undefined {
  try {
    return parseArgs({ args: [...args], options: { programs: { type: "string" } } }).values.programs;
  } catch (error) {
    throw new StartRefused(
      error instanceof Error ? error.message : String(error),
      "`berth server upgrade-database --programs FOLDER` is all that it takes.",
      { cause: error },
    );
  }
}

export async function upgradeDatabase(config: Config, paths: Paths, args: readonly string[]): Promise<number> {
  if (config.databaseUrl !== undefined)
    throw new StartRefused(
      "DATABASE_URL names a database of your own.",
      "Upgrade it as its operator does; Berth needs PostgreSQL 15 or newer.",
    );
  const programs = read(args);
  const lock = await takeLock(paths.serverLock);
  if (!lock.ok)
    throw new StartRefused(
      `The server runs (process ${lock.holder.pid}).`,
      "Stop it with `berth server stop`; what it deployed goes on running.",
    );
  const told = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.once(signal, () => {
      told.abort(new StartRefused("Stopped; the database is as it was.", "Run it again when there is time."));
    });
  try {
    mkdirSync(paths.run, { recursive: true, mode: 0o711 });
    const { from, to, old } = await upgradeData({
      home: config.home,
      runDir: config.runDir,
      log: silentLog,
      known: await readMigrations(migrationsFolder()),
      program: config.version,
      now: new Date(),
      signal: told.signal,
      ...(programs === undefined ? {} : { programs }),
    });
    process.stdout.write(
      old === undefined
        ? `The database is of PostgreSQL ${to} already.\n`
        : `The database was moved from PostgreSQL ${from} to ${to}. The old folder is ${old}; remove it when all is well.\n`,
    );
    return 0;
  } finally {
    lock.release();
  }
}
