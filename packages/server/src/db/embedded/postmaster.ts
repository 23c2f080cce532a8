// Finds, starts and stops the server process of a data folder. It runs detached and outlives Berth; it is believed to be ours
// only when it works in our folder and answers, never because of what postmaster.pid says (promise 2).
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readlinkSync, realpathSync, rmSync, truncateSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { DatabaseRefused } from "../refused.ts";
import type { Account } from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { startFailure } from "./datafolder.ts";
import { isRunning } from "../../os/process.ts";

export interface SocketConnection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface Postmaster {
  readonly pid: number;
  readonly socketDir: string;
  readonly ready: boolean;
}

/** The server that works in this data folder now; undefined when there is none, whatever postmaster.pid says. */
export function findPostmaster(dataDir: string): Postmaster | undefined {
  const lines = linesOf(join(dataDir, "postmaster.pid"));
  const pid = Number(lines?.[0]);
  if (lines === undefined || !Number.isSafeInteger(pid) || pid < 2 || !worksIn(pid, dataDir)) return undefined;
  return { pid, socketDir: lines[4] ?? "", ready: lines[7]?.trim() === "ready" };
}

function linesOf(path: string): string[] | undefined {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function worksIn(pid: number, dataDir: string): boolean {
  if (!isRunning(pid)) return false;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(dataDir) && basename(readlinkSync(`/proc/${pid}/exe`)).startsWith("postgres");
  } catch {
    // Gone meanwhile, or another user's process, which is therefore not ours.
    return false;
  }
}

/**
 * No server works in this data folder, so whatever process its lock files name is a stranger or a zombie, to which PostgreSQL
 * would give way. Throws `start_failed` when the socket folder serves another database.
 */
function clearStaleLocks(dataDir: string, socketDir: string): void {
  const socketLock = join(socketDir, ".s.PGSQL.5432.lock");
  const [pid, owner = ""] = linesOf(socketLock) ?? [];
  if (owner !== "" && owner !== dataDir && worksIn(Number(pid), owner))
    throw new DatabaseRefused(
      "start_failed",
      `The database in ${owner} uses the socket folder ${socketDir}.`,
      "Give each BERTH_HOME a run folder of its own.",
    );
  rmSync(socketLock, { force: true });
  rmSync(join(dataDir, "postmaster.pid"), { force: true });
}

const logLimit = 4 * 1024 * 1024;

/** Empties the log when it has grown past its bound; the server appends, so it writes on at the start. */
export function boundLog(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && stat.size > logLimit) truncateSync(path, 0);
}

export interface LaunchOptions {
  readonly dataDir: string;
  readonly socketDir: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly logFile: string;
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/** Starts a detached server and waits until it takes connections. Throws `start_failed`, `disk_full` or `not_answering`. */
export async function launch(options: LaunchOptions): Promise<Postmaster> {
  const deadline = Date.now() + options.timeout;
  for (;;) {
    const outcome = await launchOnce(options, deadline);
    if (typeof outcome !== "string") return outcome;
    // After kill -9 the orphaned children need a moment to notice; until then they hold the shared memory.
    if (!/pre-existing shared memory block|is another postmaster/.test(outcome) || Date.now() > deadline)
      throw startFailure(outcome, dirname(options.dataDir));
    await sleep(100, undefined, { signal: options.signal });
  }
}

async function launchOnce(
  { dataDir, socketDir, binaries, account, logFile, signal }: LaunchOptions,
  deadline: number,
): Promise<Postmaster | string> {
  clearStaleLocks(dataDir, socketDir);
  boundLog(logFile);
  const from = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  const log = openSync(logFile, "a", 0o600);
  let exited: string | undefined;
  let child: ChildProcess;
  try {
    child = spawn(join(binaries.bin, "postgres"), ["-D", dataDir], {
      ...account,
      cwd: dataDir,
      detached: true,
      env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" },
      stdio: ["ignore", log, log],
    });
    child.on("error", (error) => {
      exited = `FATAL: ${error.message}`;
    });
    child.on("exit", (code, by) => {
      exited ??= `FATAL: it ended with ${by ?? `exit code ${String(code)}`}`;
    });
    child.unref();
  } finally {
    closeSync(log);
  }
  while (Date.now() < deadline) {
    try {
      await sleep(8, undefined, { signal });
    } catch (error) {
      // Nobody waits for it any more, and nobody would stop it.
      await end(child);
      throw error;
    }
    const found = findPostmaster(dataDir);
    if (found?.ready === true) return found;
    if (exited !== undefined) return `${exited}\n${readFileSync(logFile, "latin1").slice(from).slice(-8192)}`;
  }
  throw new DatabaseRefused(
    "not_answering",
    "PostgreSQL was started but is not ready yet.",
    `Its log is ${logFile}. After a crash it may have much to replay: start Berth again in a moment.`,
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const gone = once(child, "exit");
  child.kill("SIGINT");
  await gone;
}

export type Answer = "answers" | "refuses_login" | "silent";

/** Asks the server a question through its socket. `refuses_login`: role, password or database is not as it should be. */
export async function ask(connection: SocketConnection): Promise<Answer> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
  client.on("error", () => {
    /* The answer to the question says it. */
  });
  try {
    await client.connect();
    await client.query("select 1");
    return "answers";
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    if (["28P01", "28000", "3D000"].includes(code)) return "refuses_login";
    // Any other word of the server's, such as "too many connections", is a sign of life; 57P.. says that it starts or stops.
    return /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("57P") && code !== "EPIPE" ? "answers" : "silent";
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Stops the server: fast (open transactions are rolled back), then at once. Returns false when none was running. */
export async function halt(dataDir: string, patience = 20_000): Promise<boolean> {
  const found = findPostmaster(dataDir);
  if (found === undefined) return false;
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    const deadline = Date.now() + patience;
    if (worksIn(found.pid, dataDir)) process.kill(found.pid, signal);
    while (Date.now() < deadline) {
      if (!worksIn(found.pid, dataDir)) return true;
      await sleep(10);
    }
  }
  throw new DatabaseRefused(
    "not_answering",
    `PostgreSQL (process ${found.pid}) does not stop.`,
    "Look at what its disk does, and stop it by hand.",
  );
}
