// Puts a backup in the place of what the database holds. Everything is checked before anything changes, the change is one transaction, and
// what was there before is kept as a backup of its own. What runs is not touched; the new epoch makes orders of the old database void.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { BlobStore } from "../../blobs/store.ts";
import { checkMigrations, replaceContent } from "../../db/content.ts";
import type { Migration } from "../../db/migrate.ts";
import type { DatabaseAddress } from "../../db/pool.ts";
import { KeyFileDamaged, giveUpSecretKeys, mergeSecretKeys, secretKeyIds } from "../../db/secretbox.ts";
import type { Paths } from "../../paths.ts";
import { BackupRefused, type Manifest } from "./format.ts";
import { openKeys } from "./keys.ts";
import { readBackup, type ReadBackup } from "./read.ts";
import { settleRestored } from "../../db/settle.ts";
import { writeWhole } from "../../os/files.ts";
import { writeBackup } from "./write.ts";

export interface RestoreOrder {
  readonly file: string;
  readonly address: DatabaseAddress;
  readonly blobs: BlobStore;
  readonly paths: Paths;
  readonly known: readonly Migration[];
  readonly program: string;
  readonly now: Date;
  readonly passphrase?: string;
  /** Go on although nothing here opens the backup's secrets. */
  readonly withoutSecrets: boolean;
  readonly withoutSafetyCopy: boolean;
  /** The newest epoch that this machine's edge has seen. */
  readonly edgeEpoch: number;
}

/** What the database holds now; undefined = nothing of Berth's. */
export interface Present {
  readonly id: string;
  readonly epoch: number;
  readonly stacks: number;
}

export interface RestorePlan {
  readonly backup: ReadBackup;
  readonly present: Present | undefined;
  readonly epoch: number;
  readonly keys: Readonly<Record<string, string>>;
  /** Key ids that neither this home nor the backup has. */ readonly missingKeys: readonly string[];
}

/** Reads the whole file and looks at what is here. Changes nothing. Throws `BackupRefused` or `DatabaseRefused`. */
export async function planRestore(order: RestoreOrder, signal: AbortSignal): Promise<RestorePlan> {
  const backup = await readBackup(order.file, {}, signal);
  checkMigrations(backup.manifest.schema.migrations, order.known);
  const present = await readPresent(order.address);
  const { id } = backup.about.installation;
  const remembered = readRemembered(order.paths);
  if (present !== undefined && present.id !== id && present.stacks > 0)
    throw new BackupRefused(
      `The backup is of installation ${id}, and the database here holds ${present.stacks} stack(s) of installation ${present.id}.`,
      "Restore it into an empty BERTH_HOME, or remove those stacks first.",
    );
  const epoch =
    Math.max(
      backup.about.installation.epoch,
      remembered?.id === id ? remembered.epoch : 0,
      present?.id === id ? present.epoch : 0,
      order.edgeEpoch,
    ) + 1;
  const keys = order.passphrase === undefined ? {} : await keysOf(backup, order.passphrase, order.file);
  const have = new Set([...ownKeyIds(order.paths.secretsKey), ...secretKeyIds(keys["secrets.key"], `the secrets.key in ${order.file}`)]);
  return { backup, present, epoch, keys, missingKeys: backup.manifest.secretKeys.filter((key) => !have.has(key)) };
}

/** Does what was planned. Throws as `planRestore`, and then the database is as it was. */
export async function restore(
  order: RestoreOrder,
  plan: RestorePlan,
  signal: AbortSignal,
): Promise<{ readonly safetyCopy: string | undefined }> {
  const { backup, missingKeys } = plan;
  if (missingKeys.length > 0 && !order.withoutSecrets) throw secretsRefused(order, backup, missingKeys);
  const safetyCopy = await keepPresent(order, plan, signal);
  const { about, manifest } = backup;
  await replaceContent({
    address: order.address,
    known: order.known,
    program: order.program,
    content: { migrations: manifest.schema.migrations, tables: manifest.tables, sequences: manifest.sequences },
    feed: async (insert) => {
      const again = await readBackup(
        order.file,
        {
          onRows: insert,
          // By its content: one that is here already is the same one, and one more does no harm should the rest fail.
          onBlob: async (digest, _size, bytes) => {
            await order.blobs.put(bytes, { expected: digest }, signal);
          },
        },
        signal,
      );
      if (again.about.createdAt !== about.createdAt)
        throw new BackupRefused(`${order.file} was changed while it was read.`, "Nothing was changed. Try again.");
    },
    afterwards: async (client) => {
      // Last of all, so that a crash between the two leaves keys too many, never rows without keys.
      writeKeys(order.paths, plan.keys, backup.config);
      // Said by --without-secrets: the next start need not ask again.
      if (missingKeys.length > 0) giveUpSecretKeys(order.paths.secretsKey, missingKeys, order.now);
      await settleRestored(client, { epoch: plan.epoch, from: about.createdAt });
    },
  });
  writeWhole(order.paths.installationFile, JSON.stringify({ id: about.installation.id, epoch: plan.epoch }));
  return { safetyCopy };
}

function ownKeyIds(file: string): string[] {
  try {
    return secretKeyIds(readIfThere(file), file);
  } catch (error) {
    if (!(error instanceof KeyFileDamaged)) throw error;
    throw new BackupRefused(
      `${error.message}.`,
      "Nothing was changed. Put a copy of it back, or move it away; then `berth restore` says what can be opened.",
      { cause: error },
    );
  }
}

/** Which keys a person has to find. */
function secretsRefused(order: RestoreOrder, backup: ReadBackup, missing: readonly string[]): BackupRefused {
  const next =
    backup.keys === undefined
      ? `Put the secrets.key of that home to ${order.paths.secretsKey}, or restore all else with --without-secrets and set the secrets again.`
      : "Give --passphrase-file: the backup has them. Or restore all else with --without-secrets and set the secrets again.";
  return new BackupRefused(
    `Nothing here opens the secrets in this backup: ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not in ${order.paths.secretsKey}.`,
    next,
  );
}

async function keysOf(backup: ReadBackup, passphrase: string, file: string): Promise<Record<string, string>> {
  if (backup.keys === undefined)
    throw new BackupRefused(
      `${file} holds no keys: it was made without a passphrase.`,
      "Leave the passphrase out; the keys have to be here already.",
    );
  return openKeys(backup.keys, passphrase, backup.about.installation.id);
}

/** Rows only: blobs are never removed by a restore, so that they are there for the way back. */
async function keepPresent(order: RestoreOrder, { present }: RestorePlan, signal: AbortSignal): Promise<string | undefined> {
  if (present === undefined || present.stacks === 0 || order.withoutSafetyCopy) return undefined;
  const folder = join(order.paths.home, "backups");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `before-restore-${order.now.toISOString().replace(/[:.]/g, "-")}.tar`);
  try {
    await writeBackup(
      { address: order.address, blobs: order.blobs, paths: order.paths, program: order.program, file, now: order.now, withBlobs: false },
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    throw new BackupRefused(
      `What the database holds now could not be kept: ${error instanceof Error ? error.message : String(error)}`,
      "Nothing was changed. Mend that, or let go of it with --without-safety-copy.",
      { cause: error },
    );
  }
  return file;
}

function writeKeys(paths: Paths, keys: Readonly<Record<string, string>>, shownConfig: string | undefined): void {
  const secrets = keys["secrets.key"];
  if (secrets !== undefined) mergeSecretKeys(paths.secretsKey, secrets);
  const audit = keys["audit.key"];
  if (audit !== undefined && !existsSync(paths.auditKey)) writeFileSync(paths.auditKey, audit, { mode: 0o600, flush: true });
  // The head belongs to the chain that was replaced.
  const head = `${paths.auditKey}.head`;
  if (existsSync(head)) renameSync(head, `${head}.before-restore`);
  const config = join(paths.home, "config.json");
  const text = keys["config.json"] ?? shownConfig;
  if (text !== undefined && !existsSync(config)) writeFileSync(config, text, { mode: 0o600, flush: true });
}

export function readRemembered(paths: Paths): { readonly id: string; readonly epoch: number } | undefined {
  const text = readIfThere(paths.installationFile);
  return text === undefined ? undefined : (JSON.parse(text) as { id: string; epoch: number });
}

export async function readPresent(address: DatabaseAddress): Promise<Present | undefined> {
  const client = new pg.Client({ ...address, application_name: "berth-restore", connectionTimeoutMillis: 10_000 });
  client.on("error", () => {
    /* The query that it hits says it. */
  });
  await client.connect();
  try {
    const there = await client.query<{ there: boolean }>(
      "select to_regclass('installation') is not null and to_regclass('stacks') is not null as there",
    );
    if (there.rows[0]?.there !== true) return undefined;
    const { rows } = await client.query<{ id: string; epoch: string; stacks: number }>(
      "select id, epoch::text, (select count(*)::int from stacks) as stacks from installation",
    );
    const row = rows[0];
    return row === undefined ? undefined : { id: row.id, epoch: Number(row.epoch), stacks: row.stacks };
  } finally {
    await client.end();
  }
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

/** What the backup holds, for people. */
export function contentsOf(manifest: Manifest): string {
  const rows = (name: string): number => manifest.tables.find((table) => table.name === name)?.rows ?? 0;
  return `${rows("stacks")} stacks, ${rows("components")} components, ${rows("releases")} releases, ${rows("secrets")} secret versions`;
}
