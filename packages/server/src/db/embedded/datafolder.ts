// Makes the data folder of the embedded database and refuses, in words, one that it cannot serve.
// Must never publish a half-made folder: it is built aside, synced to disk and renamed.
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseRefused } from "../refused.ts";
import { giveTo, namedRun, type Account, type NamedRun } from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { confText, hbaText } from "./settings.ts";

/** The role and database of the application. It is no superuser; it may create databases, which a restore needs. */
export const appRole = "berth";

/** `absent`: nothing there yet. Throws `data_truncated`, `data_newer` or `data_older`. */
export function inspectData(dataDir: string, major: number): "absent" | "present" {
  if (!existsSync(dataDir) || readdirSync(dataDir).length === 0) return "absent";
  const missing = ["PG_VERSION", "global/pg_control", "base", "pg_wal", "pg_xact"].find((part) => !existsSync(join(dataDir, part)));
  if (missing !== undefined) throw truncated(dataDir, `${missing} is missing`);
  if (statSync(join(dataDir, "global/pg_control")).size !== 8192) throw truncated(dataDir, "global/pg_control is cut short");
  const version = Number.parseInt(readFileSync(join(dataDir, "PG_VERSION"), "utf8"), 10);
  if (Number.isNaN(version)) throw truncated(dataDir, "PG_VERSION is empty");
  if (version > major)
    throw new DatabaseRefused(
      "data_newer",
      `The database in ${dataDir} was made by PostgreSQL ${version}; this Berth brings ${major}.`,
      "Start the newer Berth again, or restore a backup into another BERTH_HOME.",
    );
  if (version < major)
    throw new DatabaseRefused(
      "data_older",
      `The database in ${dataDir} was made by PostgreSQL ${version}; this Berth brings ${major}.`,
      "`berth server upgrade-database` moves it, and keeps the old folder.",
    );
  return "present";
}

function truncated(dataDir: string, what: string): DatabaseRefused {
  return new DatabaseRefused(
    "data_truncated",
    `The database in ${dataDir} is damaged: ${what}.`,
    "Restore the folder from a backup. If there was nothing in it yet, move it away and start again.",
  );
}

/** Runs initdb and publishes the folder. Throws `disk_full`, `no_user` or `start_failed`. */
export async function createData(dataDir: string, binaries: Binaries, account: Account | undefined): Promise<void> {
  const root = dirname(dataDir);
  const disk = statfsSync(root);
  if (disk.bavail * disk.bsize < 100 * 1024 * 1024) throw diskFull(root);
  for (const entry of readdirSync(root)) if (entry.startsWith(".new-")) rmSync(join(root, entry), { recursive: true, force: true });
  const draft = mkdtempSync(join(root, ".new-"));
  const data = join(draft, basename(dataDir));
  const how = namedRun(account);
  try {
    mkdirSync(data, { mode: 0o700 });
    if (how.kind === "as" && account !== undefined) {
      chownSync(draft, 0, account.gid);
      chmodSync(draft, 0o710);
      chownSync(data, how.uid, account.gid);
    }
    const initdb = (...args: string[]): Promise<void> => runNamed(how, account, join(binaries.bin, "initdb"), ["-D", data, ...args], draft);
    await initdb(
      "--no-sync",
      "--no-instructions",
      "--username=postgres",
      "--auth=reject",
      "--encoding=UTF8",
      "--locale-provider=builtin",
      "--locale=C.UTF-8",
      "--lc-messages=C",
      "--wal-segsize=4",
    );
    await initdb("--sync-only");
    if (account !== undefined) giveTo(account, data);
    if (existsSync(dataDir)) rmSync(dataDir, { recursive: true });
    renameSync(data, dataDir);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Arguments of `unshare` that run the program in a user namespace of its own, in which /etc/passwd is this file. */
export function underPasswd(passwd: string, program: string, args: readonly string[]): string[] {
  const bind = 'mount -n --bind "$1" /etc/passwd && shift && exec "$@"';
  return ["--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c", bind, "sh", passwd, program, ...args];
}

async function runNamed(how: NamedRun, account: Account | undefined, program: string, args: string[], draft: string): Promise<void> {
  switch (how.kind) {
    case "direct":
      return await run(program, args, {}, draft);
    case "as":
      return await run(program, args, account === undefined ? { uid: how.uid } : { uid: how.uid, gid: account.gid }, draft);
    case "namespace": {
      const passwd = join(draft, "passwd");
      writeFileSync(passwd, how.passwd, { mode: 0o644 });
      try {
        return await run("unshare", underPasswd(passwd, program, args), {}, draft);
      } catch (error) {
        if (error instanceof DatabaseRefused && error.reason === "disk_full") throw error;
        throw new DatabaseRefused(
          "no_user",
          `The user with uid ${process.getuid?.()} has no name on this machine, and PostgreSQL needs one.`,
          "Add the user to /etc/passwd, or set DATABASE_URL to a PostgreSQL 15 or newer.",
          { cause: error },
        );
      }
    }
    default:
      return how satisfies never;
  }
}

/** Writes Berth's settings over what is there, so that each start uses the newest; an operator's own go to `extra.conf`. */
export function writeSettings(data: string, account: Account | undefined, socketDir: string): void {
  const extra = join(data, "extra.conf");
  if (!existsSync(extra)) writeOwned(extra, "# Your own settings; they win over postgresql.conf.\n", account);
  writeOwned(join(data, "postgresql.conf"), confText(socketDir), account);
  writeAccess(data, account, "closed");
}

/** True when a crash left the rules for login open that are only meant for provisioning. */
export function isAccessOpen(data: string): boolean {
  return readFileSync(join(data, "pg_hba.conf"), "utf8") !== hbaText(appRole, "closed");
}

/** Who may log in: the application's role with its password and, while `open`, the superuser of the private socket folder. */
export function writeAccess(data: string, account: Account | undefined, access: "closed" | "open"): void {
  writeOwned(join(data, "pg_hba.conf"), hbaText(appRole, access), account);
}

function writeOwned(path: string, text: string, account: Account | undefined): void {
  const draft = `${path}.draft`;
  writeFileSync(draft, text, { mode: 0o600 });
  if (account !== undefined) chownSync(draft, account.uid, account.gid);
  renameSync(draft, path);
}

/** Runs one of the programs to its end. Throws `disk_full` or `start_failed` with its last words. */
function run(program: string, args: string[], as: { uid?: number; gid?: number }, folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...as,
      cwd: "/",
      env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C", TZ: "UTC" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4096);
      });
    child.on("error", (error) => {
      reject(startFailure(`FATAL: ${basename(program)}: ${error.message}`, folder));
    });
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(startFailure(said, folder));
    });
  });
}

/** The refusal that fits a program's last words. */
export function startFailure(said: string, folder: string): DatabaseRefused {
  if (/No space left on device|Disk quota exceeded/.test(said)) return diskFull(folder);
  const lines = said
    .trim()
    .split("\n")
    .filter((line) => /FATAL|PANIC|ERROR|error:/.test(line));
  const line = (lines.at(-1) ?? said.trim().split("\n").at(-1) ?? "").replace(/^.*?(FATAL|PANIC|ERROR|error): */, "");
  return new DatabaseRefused(
    "start_failed",
    `PostgreSQL did not start: ${line === "" ? "it gave no reason" : line}.`,
    `The messages of PostgreSQL are in ${join(folder, "postgres.log")}.`,
  );
}

function diskFull(folder: string): DatabaseRefused {
  return new DatabaseRefused(
    "disk_full",
    `The disk that holds ${folder} is full.`,
    "Free some space (100 MB at least) and start Berth again; nothing that was accepted is lost.",
  );
}
