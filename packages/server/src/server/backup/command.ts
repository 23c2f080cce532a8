// `berth backup` and `berth restore` on the command line: arguments in, words and exit code out. What they do is in write.ts and restore.ts.
import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Config } from "../../config.ts";
import { startEmbedded } from "../../db/embedded.ts";
import { silentLog } from "../../db/log.ts";
import { readMigrations } from "../../db/migrate.ts";
import { DatabaseRefused } from "../../db/refused.ts";
import { migrationsFolder, type Paths } from "../../paths.ts";
import { takeLock } from "../lock.ts";
import { BackupRefused } from "./format.ts";
import { acceptDatabase } from "./inplace.ts";
import { askPassphrase, readPassphrase } from "./passphrase.ts";
import { putDataAside, withEdge, withPlace } from "./place.ts";
import { contentsOf, planRestore, restore, type RestoreOrder, type RestorePlan } from "./restore.ts";
import { writeWhole } from "../../os/files.ts";
import { writeBackup } from "./write.ts";

export const backupUsage = `Usage: berth backup [FILE or FOLDER] [--with-keys | --passphrase-file FILE] [--rows-only] [--json]
  Writes everything that Berth knows into one file, while everything runs on: stacks, releases, secrets (sealed), users, bundles, logs of builds.
  What applications keep in volumes is not in it.
  --with-keys              puts the keys that open the secrets into it as well, under a passphrase that is asked for
  --passphrase-file FILE   the same, with the passphrase from a file (- = standard input)
  --rows-only              leaves out bundles and logs of builds, which stay in this home folder
`;
export const restoreUsage = `Usage: berth restore FILE [--yes] [--passphrase-file FILE | --ask-passphrase] [--without-secrets] [--new-database] [--without-safety-copy]
       berth restore --database-as-it-is [--yes]
       berth restore --empty [--yes]
  Puts a backup in the place of what the database holds. Without --yes it checks everything and says what it would do.
  What runs goes on running; the server has to be stopped meanwhile.
  --without-secrets        goes on although nothing here opens the backup's secrets: they are marked, and have to be set again
  --new-database           puts a data folder that cannot be used aside, and begins with an empty one
  --without-safety-copy    does not keep what the database holds now
  --empty                  begins with an empty database in the place of one that is lost; \`berth adopt\` then takes over what runs
  --database-as-it-is      takes a database that was put back by other means (a copy of the data folder, pg_restore) for the true one
`;

export async function backupCommand(config: Config, paths: Paths, args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(
    args,
    { "with-keys": "boolean", "passphrase-file": "string", "rows-only": "boolean", json: "boolean" },
    1,
  );
  const stopped = stopOnSignals();
  const now = new Date();
  const passphrase = await passphraseOf(values["passphrase-file"], values["with-keys"] === true, true);
  const file = fileFor(positionals[0] ?? ".", now);
  const done = await withPlace(config, paths, { signal: stopped, mustExist: true }, (place) =>
    writeBackup(
      {
        ...place,
        paths,
        program: config.version,
        file,
        now,
        withBlobs: values["rows-only"] !== true,
        ...(passphrase === undefined ? {} : { passphrase }),
      },
      stopped,
    ),
  );
  const { manifest } = done;
  writeWhole(join(paths.home, "last-backup.json"), JSON.stringify({ at: now.toISOString(), file, bytes: done.bytes }));
  if (values["json"] === true)
    process.stdout.write(
      `${JSON.stringify({ file, bytes: done.bytes, createdAt: done.about.createdAt, installation: done.about.installation, keys: done.keys, blobs: manifest.blobs })}\n`,
    );
  else {
    process.stdout.write(`${file}\n`);
    process.stderr.write(
      `Written and read back: ${size(done.bytes)}, ${contentsOf(manifest)}, ${manifest.blobs.included ? `${manifest.blobs.count} bundles and logs (${size(manifest.blobs.bytes)})` : "no bundles or logs"}.\n`,
    );
    process.stderr.write(
      done.keys
        ? "The keys are in it, under your passphrase.\n"
        : `The keys are not in it: secrets can be opened only where ${paths.secretsKey} is. Keep a copy of that file elsewhere, or use --with-keys.\n`,
    );
  }
  const lost = [...manifest.blobs.missing, ...manifest.blobs.damaged];
  if (lost.length > 0)
    process.stderr.write(
      `Warning: ${lost.length} bundle(s) or log(s) that releases or builds name are gone or damaged and not in it: ${lost.slice(0, 3).join(", ")}${lost.length > 3 ? ", ..." : ""}\n`,
    );
  return 0;
}

export async function restoreCommand(config: Config, paths: Paths, args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(
    args,
    {
      yes: "boolean",
      "passphrase-file": "string",
      "ask-passphrase": "boolean",
      "without-secrets": "boolean",
      "new-database": "boolean",
      "without-safety-copy": "boolean",
      "database-as-it-is": "boolean",
      empty: "boolean",
    },
    1,
  );
  const [name] = positionals;
  if ([name !== undefined, values["database-as-it-is"] === true, values["empty"] === true].filter((one) => one).length !== 1)
    return usage(restoreUsage);
  const lock = await takeLock(paths.serverLock);
  if (!lock.ok)
    throw new BackupRefused(
      `The server runs (process ${lock.holder.pid}).`,
      "Stop it with `berth server stop`; what it deployed goes on running.",
    );
  try {
    const stopped = stopOnSignals();
    const yes = values["yes"] === true;
    if (values["empty"] === true) return await beginEmpty(config, paths, yes);
    if (name === undefined) return await asItIs(config, paths, yes, stopped);
    const now = new Date();
    const passphrase = await passphraseOf(values["passphrase-file"], values["ask-passphrase"] === true, false);
    if (values["new-database"] === true && yes && config.databaseUrl === undefined)
      process.stderr.write(`The old data folder is now ${putDataAside(config.home, now)}.\n`);
    return await withPlace(config, paths, { signal: stopped, mustExist: false }, (place) =>
      withEdge(config, paths, async (edge) => {
        const seen = await edge.hello();
        const order: RestoreOrder = {
          ...place,
          paths,
          file: resolve(name),
          known: await readMigrations(migrationsFolder()),
          program: config.version,
          now,
          withoutSecrets: values["without-secrets"] === true,
          withoutSafetyCopy: values["without-safety-copy"] === true,
          edgeEpoch: seen?.epoch ?? 0,
          ...(passphrase === undefined ? {} : { passphrase }),
        };
        const plan = await planRestore(order, stopped);
        const { id } = plan.backup.about.installation;
        process.stdout.write(planText(order, plan));
        if (!yes) {
          process.stdout.write("Nothing was changed. Run it again with --yes to restore it.\n");
          return 0;
        }
        const { safetyCopy } = await restore(order, plan, stopped);
        // An edge that was started for an empty installation has nothing to keep; the next start makes one for the restored.
        if (seen !== undefined && seen.installation !== id) await edge.shutdown();
        else if (seen !== undefined) await edge.raiseEpoch(id, plan.epoch);
        process.stdout.write(
          `Restored; the epoch is now ${plan.epoch}. Start the server with \`berth server start\`: it takes over what runs and reports what it does not know.\n`,
        );
        if (safetyCopy !== undefined) process.stdout.write(`What was there before is in ${safetyCopy}.\n`);
        return 0;
      }),
    ).catch((error: unknown) => {
      throw withNewDatabase(error, name);
    });
  } finally {
    lock.release();
  }
}

/** For a database that is lost: whoever loses it by mistake must not get an empty one by mistake as well. */
async function beginEmpty(config: Config, paths: Paths, yes: boolean): Promise<number> {
  if (config.databaseUrl !== undefined)
    throw new BackupRefused(
      "DATABASE_URL names a database of your own.",
      "Make an empty one there, and start the server with its address.",
    );
  const data = join(paths.home, "postgres", "data");
  if (existsSync(data))
    throw new BackupRefused(`There is a database in ${data}.`, "Move that folder away first if it is not to be used any more.");
  if (!yes) {
    process.stdout.write(`An empty database would be made in ${data}.\nNothing was changed. Run it again with --yes.\n`);
    return 0;
  }
  const made = await startEmbedded({ home: config.home, runDir: config.runDir, log: silentLog });
  await made.stop();
  process.stdout.write(
    "The database is empty now. Start the server with `berth server start`: it leaves alone what runs; `berth adopt` takes it over.\n",
  );
  return 0;
}

/** A database that was put back without us is told that it was, so that it may act and its predecessor may not. */
async function asItIs(config: Config, paths: Paths, yes: boolean, signal: AbortSignal): Promise<number> {
  return withPlace(config, paths, { signal, mustExist: true }, ({ address }) =>
    withEdge(config, paths, async (edge) => {
      const seen = await edge.hello();
      const { id, from, to } = await acceptDatabase({
        address,
        paths,
        folder: migrationsFolder(),
        program: config.version,
        edgeEpoch: seen?.epoch ?? 0,
        commit: yes,
      });
      if (!yes) {
        process.stdout.write(
          `The database of installation ${id} has epoch ${from} and would get ${to}.\nNothing was changed. Run it again with --yes.\n`,
        );
        return 0;
      }
      if (seen?.installation === id) await edge.raiseEpoch(id, to);
      process.stdout.write(`The database is taken as it is; the epoch is now ${to}. Start the server with \`berth server start\`.\n`);
      return 0;
    }),
  );
}

function planText(order: RestoreOrder, { backup: { about, manifest, bytes }, present, epoch, missingKeys }: RestorePlan): string {
  const lines = [
    ["Backup", `${order.file} (${size(bytes)}), whole and undamaged`],
    ["Made", `${about.createdAt} by Berth ${about.program}, installation ${about.installation.id}, epoch ${about.installation.epoch}`],
    [
      "Holds",
      `${contentsOf(manifest)}, ${manifest.blobs.included ? `${manifest.blobs.count} bundles and logs` : "no bundles or logs: those of this home folder are used"}`,
    ],
    [
      "Replaces",
      present === undefined
        ? "nothing: the database is empty"
        : `installation ${present.id}, epoch ${present.epoch}, ${present.stacks} stack(s)`,
    ],
    [
      "Secrets",
      manifest.secretKeys.length === 0
        ? "none"
        : missingKeys.length === 0
          ? "can be opened here"
          : `CANNOT be opened here: ${missingKeys.join(", ")} is missing`,
    ],
    ["Epoch", `becomes ${epoch}: the database of before cannot act any more`],
    ["What runs", "goes on running"],
  ];
  return lines.map(([label, text]) => `${(label ?? "").padEnd(11)}${text ?? ""}\n`).join("");
}

function withNewDatabase(error: unknown, file: string): unknown {
  if (!(error instanceof DatabaseRefused) || !["data_truncated", "data_newer", "data_older", "start_failed"].includes(error.reason))
    return error;
  return new DatabaseRefused(
    error.reason,
    error.message,
    `\`berth restore ${file} --new-database --yes\` puts that folder aside and restores into an empty database.`,
    { cause: error },
  );
}

async function passphraseOf(file: string | boolean | undefined, ask: boolean, fresh: boolean): Promise<string | undefined> {
  if (typeof file === "string") return readPassphrase(file);
  return ask ? askPassphrase(fresh) : undefined;
}

/** A folder gets a file that is named by the time. */
function fileFor(given: string, now: Date): string {
  const path = resolve(given);
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
    ? join(path, `berth-${now.toISOString().slice(0, 19).replace(/[:]/g, "-")}.backup.tar`)
    : path;
}

class Usage extends Error {}

function parse(
  args: readonly string[],
  options: Readonly<Record<string, "boolean" | "string">>,
  mostPositionals: number,
): { values: Record<string, string | boolean | undefined>; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: Object.fromEntries(Object.entries(options).map(([name, type]) => [name, { type }])),
      allowPositionals: true,
    });
    if (positionals.length > mostPositionals) throw new Usage(`one file at most, not ${positionals.length}`);
    return { values: values as Record<string, string | boolean | undefined>, positionals };
  } catch (error) {
    throw error instanceof Usage ? error : new Usage(error instanceof Error ? error.message : String(error));
  }
}

function usage(text: string): number {
  process.stderr.write(text);
  return 2;
}

/** Ctrl-C and SIGTERM give up; what was begun is cleared away by who began it. */
function stopOnSignals(): AbortSignal {
  const stopped = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.once(name, () => {
      stopped.abort(new Interrupted());
    });
  return stopped.signal;
}
class Interrupted extends Error {}

/** Runs one of the two and says in words why it could not. */
export async function saying(text: string, args: readonly string[], run: () => Promise<number>): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(text);
    return 0;
  }
  try {
    return await run();
  } catch (error) {
    if (error instanceof Usage) {
      process.stderr.write(`Error: ${error.message}.\n`);
      return usage(text);
    }
    if (error instanceof Interrupted) {
      process.stderr.write("Stopped; nothing was left behind and nothing was changed.\n");
      return 130;
    }
    if (!(error instanceof BackupRefused) && !(error instanceof DatabaseRefused)) throw error;
    process.stderr.write(`Error: ${error.message}\nNext: ${error.hint}\n`);
    return 1;
  }
}

function size(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
