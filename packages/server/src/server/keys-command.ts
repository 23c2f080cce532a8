// `berth server key`: what the key file opens, keys added to it from a copy or a backup, and going on without keys that are gone. It removes no sealed
// value, and keeps aside what keys it takes out of the file: what was given up opens again as soon as its key is added.
import { existsSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { sql } from "kysely";
import type { Config } from "../config.ts";
import type { Db } from "../db/pool.ts";
import { KeyFileDamaged } from "../db/secretbox.ts";
import type { Paths } from "../paths.ts";
import { openKeys as openBackupKeys } from "./backup/keys.ts";
import { askPassphrase, readPassphrase } from "./backup/passphrase.ts";
import { readBackup } from "./backup/read.ts";
import { addKeys, goOnWithout } from "./keys-change.ts";
import { clusterHere, countText, isNothing, keyWayOut, lookAtKeys, troubleOf, type KeyState } from "./keys.ts";
import { takeLock } from "./lock.ts";
import { withDatabase } from "./offline.ts";
import { StartRefused } from "./refusal.ts";

export const keyUsage = `Usage: berth server key [--json]
       berth server key --add FILE [--passphrase-file FILE]
       berth server key --accept-loss [--yes]
  Says whether the key file of this home opens what its database holds sealed: secrets, credentials of repositories, keys of certificates, passwords of registries, secrets of webhooks.
  --add FILE         adds the keys of a copy of a key file, or of a backup that was made with keys; one that is here stays unless the added one opens more
  --accept-loss      goes on without the values that nothing opens; without --yes it says what is lost. What runs goes on with what it has
`;

export async function keyCommand(config: Config, paths: Paths, args: readonly string[]): Promise<number> {
  const given = parsed(args);
  if (given === undefined) {
    process.stderr.write(keyUsage);
    return 2;
  }
  if (given.add !== undefined) return whileStopped(paths, () => add(config, paths, resolve(given.add ?? ""), given["passphrase-file"]));
  if (given["accept-loss"] !== true) return show(config, paths, given.json === true);
  const yes = given.yes === true;
  return yes ? whileStopped(paths, () => acceptLoss(config, paths, yes)) : acceptLoss(config, paths, yes);
}

function parsed(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        add: { type: "string" },
        "passphrase-file": { type: "string" },
        "accept-loss": { type: "boolean" },
        yes: { type: "boolean" },
        json: { type: "boolean" },
      },
    });
    return values.add !== undefined && values["accept-loss"] === true ? undefined : values;
  } catch {
    // Whatever it is, the usage says what can be given.
    return undefined;
  }
}

/** A server has its keys in memory: it must not seal with others than the file has. */
async function whileStopped(paths: Paths, work: () => Promise<number>): Promise<number> {
  const lock = await takeLock(paths.serverLock);
  if (!lock.ok)
    throw new StartRefused(
      `The server runs (process ${String(lock.holder.pid)}).`,
      "Stop it with `berth server stop`; what it deployed goes on running.",
    );
  try {
    return await work();
  } finally {
    lock.release();
  }
}

async function show(config: Config, paths: Paths, json: boolean): Promise<number> {
  const state = await look(config, paths);
  const trouble = troubleOf(state, paths.secretsKey);
  if (json)
    process.stdout.write(
      `${JSON.stringify({ path: paths.secretsKey, ...state, ...(trouble === undefined ? {} : { next: keyWayOut }) })}\n`,
    );
  else if (trouble === undefined)
    process.stdout.write(
      `${paths.secretsKey} ${state.file === "missing" ? "is not there, and nothing is sealed: the next start makes it" : `opens ${isNothing(state.all) ? "what there is: nothing is sealed yet" : countText(state.all)}`}.\n${givenUpText(state)}`,
    );
  else process.stdout.write(`${trouble}.\nNext: ${keyWayOut}\n${givenUpText(state)}`);
  return trouble === undefined ? 0 : 1;
}

const givenUpText = ({ givenUp }: KeyState): string =>
  isNothing(givenUp) ? "" : `Given up and not set again: ${countText(givenUp)}. \`berth secrets list\` marks secrets of them.\n`;

async function add(config: Config, paths: Paths, from: string, passphraseFile: string | undefined): Promise<number> {
  const text = await keysIn(from, passphraseFile);
  try {
    const { taken, left, aside } = await addKeys(
      paths.secretsKey,
      text,
      async (work) => (isNew(config, paths) ? undefined : withSealed(config, paths, work)),
      new Date(),
    );
    if (aside !== undefined) process.stdout.write(keptText(aside));
    if (taken.length > 0)
      process.stdout.write(`Added to ${paths.secretsKey}: ${taken.join(", ")}. \`berth server start\` starts with them.\n`);
    if (left.length > 0)
      process.stdout.write(
        `Not taken: ${left.join(", ")}. ${from} opens no more of what is sealed with that than ${paths.secretsKey} does.\n`,
      );
    if (taken.length + left.length === 0) process.stdout.write(`${paths.secretsKey} has these keys already.\n`);
    return taken.length === 0 && left.length > 0 ? 1 : 0;
  } catch (error) {
    if (!(error instanceof KeyFileDamaged)) throw error;
    throw new StartRefused(`${error.message}.`, "Nothing was changed. Move a damaged file away, or give another one.", { cause: error });
  }
}

/** The text of a key file, or the one in a backup. */
export async function keysIn(from: string, passphraseFile: string | undefined): Promise<string> {
  if (!existsSync(from))
    throw new StartRefused(`There is no file ${from}.`, "Give a copy of a key file, or a backup that was made with keys.");
  // A backup is a tar, and large; a key file is JSON, and small.
  if (statSync(from).size < 1_000_000 && readFileSync(from, "utf8").trimStart().startsWith("{")) return readFileSync(from, "utf8");
  const backup = await readBackup(from, {}, new AbortController().signal);
  if (backup.keys === undefined)
    throw new StartRefused(
      `${from} holds no keys: it was made without a passphrase.`,
      "Give a backup that was made with keys, or a copy of the key file.",
    );
  const passphrase = passphraseFile === undefined ? await askPassphrase(false) : await readPassphrase(passphraseFile);
  const keys = (await openBackupKeys(backup.keys, passphrase, backup.about.installation.id))["secrets.key"];
  if (keys === undefined) throw new StartRefused(`${from} holds no secrets.key.`, "Give another backup, or a copy of the key file.");
  return keys;
}

async function acceptLoss(config: Config, paths: Paths, yes: boolean): Promise<number> {
  const state = await look(config, paths);
  const trouble = troubleOf(state, paths.secretsKey);
  if (trouble === undefined) {
    process.stdout.write(
      `Nothing is lost: ${paths.secretsKey} ${state.file === "missing" ? "is made by the next start" : "opens what is sealed"}.\n`,
    );
    return 0;
  }
  process.stdout.write(
    `${trouble}.\nLost is the value of ${countText(state.lost)}. What runs goes on with what it has; a release that uses such a secret cannot be started anew until it is set again.\n`,
  );
  if (!yes) {
    process.stdout.write("Nothing was changed. Run it again with --yes to go on without them.\n");
    return 0;
  }
  const aside = goOnWithout(paths.secretsKey, state, new Date());
  if (aside !== undefined) process.stdout.write(keptText(aside));
  process.stdout.write(
    `Berth goes on without them: \`berth server start\`, then \`berth secrets list\` marks what has to be set again. Keep a copy of ${paths.secretsKey}. Should the old keys be found, \`berth server key --add FILE\` opens the old values again.\n`,
  );
  return 0;
}

const keptText = (aside: string): string => `The file of before is kept as ${aside}.\n`;

const isNew = (config: Config, paths: Paths): boolean => config.databaseUrl === undefined && !existsSync(paths.installationFile);

const look = (config: Config, paths: Paths): Promise<KeyState> =>
  withSealed(config, paths, (db, cluster) => lookAtKeys(db, paths.secretsKey, cluster));

async function withSealed<T>(config: Config, paths: Paths, work: (db: Db, cluster: string) => Promise<T>): Promise<T> {
  if (isNew(config, paths))
    throw new StartRefused(`${paths.home} holds no installation yet.`, "`berth server start` makes one; BERTH_HOME names another home.");
  return withDatabase(config, async (db) => {
    await requireTables(db);
    const cluster = await clusterHere(db, config, paths);
    if (cluster === undefined)
      throw new StartRefused(
        "This home's cluster belongs to another server of this database, and the keys lie in that server's home.",
        "Run this there; `berth server claim` takes the cluster of a server over that is gone for good.",
      );
    return work(db, cluster);
  });
}

async function requireTables(db: Db): Promise<void> {
  const { rows } = await sql<{ there: boolean }>`select to_regclass('webhooks') is not null as there`.execute(db);
  if (rows[0]?.there !== true)
    throw new StartRefused("This database holds nothing of this version of Berth yet.", "`berth server start` makes or renews its tables.");
}
