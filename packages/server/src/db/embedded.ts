// The embedded PostgreSQL: found or made, started or reused. It is a process of its own that a restart of Berth never touches,
// reachable only through a socket in a private folder and with a password that lies outside of it.
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { accountFor, ensurePassable, type Account } from "./embedded/account.ts";
import { findPackage, installBinaries, sweepBinaries, type Binaries } from "./embedded/binaries.ts";
import { appRole, createData, inspectData, isAccessOpen, writeAccess, writeSettings } from "./embedded/datafolder.ts";
import { ask, boundLog, findPostmaster, halt, launch, type Answer, type SocketConnection } from "./embedded/postmaster.ts";
import { provision } from "./embedded/provision.ts";
import { withLock } from "../os/lock.ts";
import type { Log } from "./log.ts";
import { DatabaseRefused } from "./refused.ts";

export interface EmbeddedOptions {
  readonly home: string;
  readonly runDir: string;
  readonly log: Log;
  readonly signal?: AbortSignal;
  /** ms until the server must take connections; replaying a log after a crash counts. */
  readonly startTimeout?: number;
  /** There was a database in this home: one that is gone is not quietly replaced by an empty one. */
  readonly mustExist?: boolean;
}

export interface Embedded {
  /** What `pg` needs to connect as the application's role. */
  readonly connection: SocketConnection;
  readonly pid: number;
  /** False when a server that ran already was reused. */
  readonly started: boolean;
  /** Stops the database itself; an ordinary stop of Berth leaves it running. */
  stop(): Promise<void>;
}

interface Folders {
  readonly root: string;
  readonly data: string;
  readonly lock: string;
  readonly logFile: string;
  readonly password: string;
}

function foldersOf(home: string): Folders {
  const root = join(home, "postgres");
  return {
    root,
    data: join(root, "data"),
    lock: join(root, "lock"),
    logFile: join(root, "postgres.log"),
    password: join(root, "password"),
  };
}

/**
 * Makes sure that the home's database runs, and returns how to reach it. Two callers at once get the same server.
 * Throws `DatabaseRefused`.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  mkdirSync(options.home, { recursive: true, mode: 0o711 });
  const home = realpathSync(options.home);
  const folders = foldersOf(home);
  mkdirSync(folders.root, { recursive: true, mode: 0o711 });
  return await withLock(folders.lock, options.signal, async () => {
    const { pid, connection, started } = await startLocked(folders, home, options);
    return {
      pid,
      connection,
      started,
      stop: async () => {
        await stopEmbedded(home);
      },
    };
  });
}

/**
 * For a server whose database a service manager keeps running: waits until it answers, and never starts one. Throws `DatabaseRefused` when it
 * does not within the start's time.
 */
export async function attachEmbedded(options: EmbeddedOptions): Promise<SocketConnection> {
  const folders = foldersOf(options.home);
  for (
    const deadline = Date.now() + (options.startTimeout ?? 120_000);
    Date.now() < deadline;
    await sleep(50, undefined, { signal: options.signal })
  ) {
    const found = existsSync(folders.data) && existsSync(folders.password) ? findPostmaster(folders.data) : undefined;
    if (found?.ready !== true) continue;
    const connection = connectionTo(found.socketDir, readFileSync(folders.password, "utf8").trim());
    if ((await ask(connection)) === "answers") return connection;
  }
  throw new DatabaseRefused(
    "not_answering",
    `No PostgreSQL answers for ${folders.data}, and a service of its own is to run it here.`,
    "Look at that service: `systemctl status berth-database`.",
  );
}

/** How the home's database does, without starting or changing anything. Throws `DatabaseRefused` for a folder that cannot be used. */
export async function lookAtEmbedded(home: string): Promise<"absent" | "stopped" | Answer> {
  const folders = foldersOf(home);
  if (inspectData(folders.data, findPackage().major) === "absent") return "absent";
  const found = findPostmaster(folders.data);
  if (found === undefined) return "stopped";
  return existsSync(folders.password) ? ask(connectionTo(found.socketDir, readFileSync(folders.password, "utf8").trim())) : "refuses_login";
}

/** Stops the home's database. Returns false when it was not running. */
export async function stopEmbedded(home: string): Promise<boolean> {
  const folders = foldersOf(home);
  if (!existsSync(folders.data)) return false;
  return await withLock(folders.lock, undefined, () => halt(folders.data));
}

/**
 * Watches the database until the signal aborts and starts it again when it is gone, e.g. after it was killed for memory; the pool
 * and the listener connect again by themselves.
 */
export async function keepEmbedded(options: EmbeddedOptions & { readonly signal: AbortSignal; readonly everyMs?: number }): Promise<void> {
  const folders = foldersOf(realpathSync(options.home));
  let pause = options.everyMs ?? 1_000;
  while (await waited(pause, options.signal)) {
    if (findPostmaster(folders.data) !== undefined) continue;
    try {
      options.log.warn({ data: folders.data }, "the database is gone; starting it again");
      await startEmbedded({ ...options, mustExist: true });
      pause = options.everyMs ?? 1_000;
    } catch (error) {
      // Not much longer: whoever freed the disk waits for it.
      pause = Math.min(pause * 2, 10_000);
      options.log.error({ error: String(error) }, "the database could not be started again");
    }
  }
}

function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}

async function startLocked(
  folders: Folders,
  home: string,
  options: EmbeddedOptions,
): Promise<{ pid: number; connection: SocketConnection; started: boolean }> {
  const account = accountFor(folders.data);
  if (account !== undefined) ensurePassable(home);
  const password = readOrMakePassword(folders.password);
  const reused = await reuse(account, folders, password, options);
  if (reused !== undefined) return { ...reused, started: false };
  const source = findPackage();
  const found = inspectData(folders.data, source.major);
  if (found === "absent" && options.mustExist === true)
    throw new DatabaseRefused(
      "data_missing",
      `The database of this installation is not in ${folders.data} any more.`,
      "Bring the folder back if it is elsewhere (a disk that is not mounted?). If it is lost: `berth restore FILE` brings back a backup, `berth restore --empty` begins with an empty one, into which `berth adopt` takes what runs.",
    );
  const socketDir = makeSocketDir(options.runDir, account);
  const binaries = installBinaries(folders.root, source);
  sweepBinaries(folders.root, binaries.version);
  if (found === "absent") {
    options.log.info({ data: folders.data }, "creating the database");
    await createData(folders.data, binaries, account);
  }
  writeSettings(folders.data, account, socketDir);
  const started = await startAndAsk(folders, binaries, account, socketDir, password, options);
  options.log.info({ pid: started.pid }, "started the database");
  return { ...started, started: true };
}

/** A running server that lets us in is used as it is. Undefined when it ended meanwhile, or had to be stopped. */
async function reuse(
  account: Account | undefined,
  folders: Folders,
  password: string,
  options: EmbeddedOptions,
): Promise<{ pid: number; connection: SocketConnection } | undefined> {
  const deadline = Date.now() + (options.startTimeout ?? 60_000);
  for (let now = findPostmaster(folders.data); now !== undefined && Date.now() < deadline; now = findPostmaster(folders.data)) {
    const connection = connectionTo(now.socketDir, password);
    if (now.ready && !existsSync(connection.host)) break;
    if (now.ready && (await letIn(connection, now.pid, account, folders))) {
      boundLog(folders.logFile);
      closeAccess(now.pid, account, folders);
      options.log.info({ pid: now.pid }, "found the database running");
      return { pid: now.pid, connection };
    }
    await sleep(50, undefined, { signal: options.signal });
  }
  if (await halt(folders.data)) options.log.warn({ data: folders.data }, "the running database did not answer; starting it again");
  return undefined;
}

async function startAndAsk(
  folders: Folders,
  binaries: Binaries,
  account: Account | undefined,
  socketDir: string,
  password: string,
  options: EmbeddedOptions,
): Promise<{ pid: number; connection: SocketConnection }> {
  const connection = connectionTo(socketDir, password);
  const { pid } = await launch({
    dataDir: folders.data,
    socketDir,
    binaries,
    account,
    logFile: folders.logFile,
    timeout: options.startTimeout ?? 60_000,
    signal: options.signal,
  });
  const deadline = Date.now() + (options.startTimeout ?? 60_000);
  do {
    // On a busy machine its first answer takes longer than a question waits.
    if (await letIn(connection, pid, account, folders)) return { pid, connection };
    await sleep(50);
  } while (options.signal?.aborted !== true && Date.now() < deadline && findPostmaster(folders.data)?.pid === pid);
  await halt(folders.data);
  options.signal?.throwIfAborted();
  throw new DatabaseRefused("not_answering", "PostgreSQL runs but does not answer.", `Its messages are in ${folders.logFile}.`);
}

/** Asks; a server that does not know our role, password or database (it is new, or the password was lost) is told them. */
async function letIn(connection: SocketConnection, pid: number, account: Account | undefined, folders: Folders): Promise<boolean> {
  const answer = await ask(connection);
  if (answer !== "refuses_login") return answer === "answers";
  await provision(connection, pid, folders.data, account);
  return (await ask(connection)) === "answers";
}

/** A crash in the middle of provisioning left the superuser's door open. */
function closeAccess(pid: number, account: Account | undefined, folders: Folders): void {
  if (!isAccessOpen(folders.data)) return;
  writeAccess(folders.data, account, "closed");
  process.kill(pid, "SIGHUP");
}

function connectionTo(socketDir: string, password: string): SocketConnection {
  return { host: socketDir, port: 5432, user: appRole, password, database: appRole };
}

/** Only the database's user and Berth may enter the folder: not even connecting is possible for anybody else. */
function makeSocketDir(runDir: string, account: Account | undefined): string {
  const folder = join(runDir, "postgres");
  const longest = 107;
  if (Buffer.byteLength(join(folder, ".s.PGSQL.5432")) > longest)
    throw new DatabaseRefused(
      "socket_path_too_long",
      `${folder} is too long for a unix socket's path.`,
      "Set BERTH_HOME to a shorter path.",
    );
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  if (account !== undefined) {
    chownSync(folder, account.uid, account.gid);
    ensurePassable(realpathSync(runDir));
  }
  return folder;
}

function readOrMakePassword(path: string): string {
  if (!existsSync(path)) {
    writeFileSync(`${path}.draft`, randomBytes(32).toString("base64url"), { mode: 0o600 });
    renameSync(`${path}.draft`, path);
  }
  return readFileSync(path, "utf8").trim();
}
