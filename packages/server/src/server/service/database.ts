// The embedded PostgreSQL as a service of its own: started, started again when it dies, and stopped when this process is told to end. A process that
// is killed leaves PostgreSQL running for its successor.
import { existsSync } from "node:fs";
import process from "node:process";
import pino from "pino";
import type { Config } from "../../config.ts";
import { keepEmbedded, startEmbedded, stopEmbedded } from "../../db/embedded.ts";
import { pathsOf } from "../../paths.ts";
import { StartRefused } from "../refusal.ts";

export async function keepDatabase(config: Config): Promise<number> {
  if (config.databaseUrl !== undefined)
    throw new StartRefused(
      "DATABASE_URL names a database of your own, so there is none to run here.",
      "Take this service away: `berth server install` writes the services anew.",
    );
  const log = pino({ name: "database", level: config.logLevel, timestamp: pino.stdTimeFunctions.isoTime });
  const told = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      told.abort();
    });
  const options = {
    home: config.home,
    runDir: config.runDir,
    log,
    signal: told.signal,
    mustExist: existsSync(pathsOf(config.home, config.runDir).installationFile),
  };
  await startEmbedded(options).catch((error: unknown) => {
    if (!told.signal.aborted) throw error;
  });
  await keepEmbedded(options);
  await stopEmbedded(config.home);
  return 0;
}
