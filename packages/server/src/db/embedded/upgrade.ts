// PostgreSQL's own major upgrade of the embedded database: rows are read from the old folder by the old programs and written into a new one by those
// that this Berth brings. The old folder is never written to by hand and stays, put aside, until somebody removes it.
import { spawn, type ChildProcess } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startEmbedded } from "../embedded.ts";
import { replaceContent } from "../content.ts";
import type { Log } from "../log.ts";
import type { Migration } from "../migrate.ts";
import { DatabaseRefused } from "../refused.ts";
import { openSnapshot } from "../snapshot.ts";
import { accountFor, type Account } from "./account.ts";
import { findPackage } from "./binaries.ts";
import { appRole, startFailure } from "./datafolder.ts";
import { ask, findPostmaster, type SocketConnection } from "./postmaster.ts";
import { withLock } from "../../os/lock.ts";

export interface UpgradeOptions {
  readonly home: string;
  readonly runDir: string;
  readonly log: Log;
  readonly known: readonly Migration[];
  readonly program: string;
  readonly now: Date;
  readonly signal: AbortSignal;
  /** Folder of the old version's programs; left out: those that this home ran, or the distribution's. */
  readonly programs?: string;
}

export interface Upgraded {
  readonly from: number;
  readonly to: number;
  /** Where the old folder is now; undefined = nothing was to be done. */ readonly old: string | undefined;
}

/** Throws `DatabaseRefused`, and then the database is as it was. */
export async function upgradeData(options: UpgradeOptions): Promise<Upgraded> {
  const home = realpathSync(options.home);
  const root = join(home, "postgres");
  const data = join(root, "data");
  const { major: to } = findPackage();
  const from = versionOf(data);
  if (from === to) return { from, to, old: undefined };
  if (from > to)
    throw new DatabaseRefused(
      "data_newer",
      `The database in ${data} was made by PostgreSQL ${from}; this Berth brings ${to}.`,
      "Start the newer Berth again.",
    );
  if (findPostmaster(data) !== undefined)
    throw new DatabaseRefused("in_use", `The database in ${data} runs.`, "Stop it first with `berth server stop`.");
  const bin = programsFor(root, from, options.programs);
  refuseSmallDisk(data, root);
  // Whoever would start the old folder meanwhile waits here.
  return withLock(join(root, "lock"), options.signal, async () => {
    const draft = join(root, "upgrade");
    rmSync(draft, { recursive: true, force: true });
    try {
      await copyInto(options, { data, bin, draft });
      const old = join(root, `data.postgresql-${from}-${options.now.toISOString().replace(/[:.]/g, "-")}`);
      renameSync(data, old);
      renameSync(join(draft, "postgres", "data"), data);
      return { from, to, old };
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  });
}

interface Folders {
  readonly data: string;
  readonly bin: string;
  readonly draft: string;
}

async function copyInto(options: UpgradeOptions, { data, bin, draft }: Folders): Promise<void> {
  const { runDir, log, signal } = options;
  const old = await startOld(data, bin, join(runDir, "pg-old"), signal);
  try {
    mkdirSync(draft, { recursive: true, mode: 0o711 });
    const fresh = await startEmbedded({ home: draft, runDir: join(runDir, "pg-new"), log, signal });
    try {
      const snapshot = await openSnapshot(old.connection);
      try {
        log.info({ tables: snapshot.tables.length }, "copying the rows");
        await replaceContent({
          address: fresh.connection,
          known: options.known,
          program: options.program,
          content: snapshot,
          afterwards: () => Promise.resolve(),
          feed: async (insert) => {
            for (const table of snapshot.tables)
              for await (const lines of snapshot.rows(table)) {
                signal.throwIfAborted();
                await insert(table.name, lines);
              }
          },
        });
      } finally {
        await snapshot.close();
      }
    } finally {
      await fresh.stop();
    }
  } finally {
    await old.stop();
    for (const folder of ["pg-old", "pg-new"]) rmSync(join(runDir, folder), { recursive: true, force: true });
  }
}

function versionOf(data: string): number {
  const file = join(data, "PG_VERSION");
  const version = existsSync(file) ? Number.parseInt(readFileSync(file, "utf8"), 10) : Number.NaN;
  if (Number.isNaN(version))
    throw new DatabaseRefused(
      "data_missing",
      `There is no database in ${data} whose version could be read.`,
      "Nothing was changed. `berth restore FILE --new-database` brings back a backup.",
    );
  return version;
}

/** The home keeps the programs that its database ran by until a newer version has taken over. */
function programsFor(root: string, major: number, given: string | undefined): string {
  const own = readdirSync(root)
    .filter((name) => /^\d+\.\d+/.test(name) && Number.parseInt(name, 10) === major)
    .map((name) => join(root, name, "bin"));
  const found = (given === undefined ? [...own, `/usr/lib/postgresql/${major}/bin`] : [given]).find((folder) =>
    existsSync(join(folder, "postgres")),
  );
  if (found === undefined)
    throw new DatabaseRefused(
      "no_binaries",
      `Reading a folder of PostgreSQL ${major} needs its programs, and they are not here${given === undefined ? "" : ` (${given})`}.`,
      `Install PostgreSQL ${major} and name its folder with --programs, e.g. --programs /usr/lib/postgresql/${major}/bin.`,
    );
  return found;
}

function refuseSmallDisk(data: string, root: string): void {
  const { bavail, bsize } = statfsSync(root);
  const needed = sizeOf(join(data, "base")) * 1.2 + 150e6;
  if (bavail * bsize < needed)
    throw new DatabaseRefused(
      "disk_full",
      `A copy of the database needs ${(needed / 1e9).toFixed(1)} GB, and the disk that holds ${root} has ${((bavail * bsize) / 1e9).toFixed(1)} GB left.`,
      "Free some space; nothing was changed.",
    );
}

function sizeOf(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce(
    (sum, entry) => sum + (entry.isDirectory() ? sizeOf(join(folder, entry.name)) : statSync(join(folder, entry.name)).size),
    0,
  );
}

interface OldServer {
  readonly connection: SocketConnection;
  stop(): Promise<void>;
}

/** Starts the old folder with the old programs, behind a socket of its own that only its user and Berth may enter. */
async function startOld(data: string, bin: string, socketDir: string, signal: AbortSignal): Promise<OldServer> {
  const account = accountFor(data);
  rmSync(socketDir, { recursive: true, force: true });
  mkdirSync(socketDir, { recursive: true, mode: 0o700 });
  chmodSync(socketDir, 0o700);
  const access = join(socketDir, "pg_hba.conf");
  writeFileSync(access, `local all ${appRole} trust\n`, { mode: 0o600 });
  for (const path of account === undefined ? [] : [socketDir, access]) chownSync(path, account?.uid ?? 0, account?.gid ?? 0);
  const logFile = join(socketDir, "log");
  const child = launchOld(data, bin, socketDir, access, logFile, account);
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGINT");
    await gone;
  };
  const connection: SocketConnection = { host: socketDir, port: 5432, user: appRole, password: "", database: appRole };
  // Replaying what a crash left behind takes its time.
  for (const until = Date.now() + 120_000; Date.now() < until;) {
    if ((await ask(connection)) === "answers") return { connection, stop };
    if (child.exitCode !== null || child.signalCode !== null)
      throw startFailure(readFileSync(logFile, "utf8").slice(-8192), join(data, ".."));
    await sleep(50, undefined, { signal });
  }
  await stop();
  throw new DatabaseRefused(
    "not_answering",
    "The old PostgreSQL was started and does not answer.",
    `Nothing was changed. Its folder is ${data}.`,
  );
}

function launchOld(
  data: string,
  bin: string,
  socketDir: string,
  access: string,
  logFile: string,
  account: Account | undefined,
): ChildProcess {
  const log = openSync(logFile, "a", 0o600);
  try {
    const settings = { unix_socket_directories: socketDir, listen_addresses: "", port: "5432", hba_file: access, logging_collector: "off" };
    return spawn(join(bin, "postgres"), ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])], {
      ...account,
      cwd: data,
      env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" },
      stdio: ["ignore", log, log],
    });
  } finally {
    closeSync(log);
  }
}
