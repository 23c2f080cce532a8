// Process entry of `berth server`: run, start, stop, status, token, logs. Maps signals and failures to words and exit codes; everything else is app.ts.
// What only one verb needs is imported by that verb: `start` and `status` answer at once, and `run` finds its code compiled.
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigError, readConfig, type Config } from "./config.ts";
import { DatabaseRefused } from "./db/refused.ts";
import { pathsOf, type Paths } from "./paths.ts";
import { readHolder, takeLock } from "./server/lock.ts";

const usage = `Usage: berth server <run|start|stop|status|token|logs> [--all] [--json]
  run           in the foreground
  start         in the background; returns when it answers
  stop          stops the control plane and its database; what runs goes on. --all: everything that runs, and the router, too
  status        whether it runs, and where it answers
  token         prints a new one-time administrator token
  logs          the end of the server's own log, and where all of it is
`;

interface ServerFile { readonly pid: number; readonly url: string; readonly version: string }

async function main(args: readonly string[]): Promise<number> {
  const [verb = "run", ...rest] = args[0] === "server" ? args.slice(1) : args;
  const flags = new Set(rest);
  const config = readConfig();
  const paths = pathsOf(config.home, config.runDir);
  switch (verb) {
    case "run": return run(config, paths);
    case "start": return start(config, paths);
    case "stop": return stop(config, paths, flags.has("--all"));
    case "status": return status(paths, flags.has("--json"));
    case "token": return token(config, paths);
    case "logs": return showLog(paths);
    default:
      process.stderr.write(verb === "--help" || verb === "-h" ? usage : `Error: \`berth server ${verb}\` is not known.\n${usage}`);
      return verb === "--help" || verb === "-h" ? 0 : 2;
  }
}

function readServerFile(paths: Paths): ServerFile | undefined {
  if (readHolder(paths.serverLock) === undefined || !existsSync(paths.serverFile)) return undefined;
  return JSON.parse(readFileSync(paths.serverFile, "utf8")) as ServerFile;
}

async function run(config: Config, paths: Paths): Promise<number> {
  mkdirSync(paths.home, { recursive: true, mode: 0o711 });
  const lock = takeLock(paths.serverLock);
  if (!lock.ok) {
    process.stderr.write(`Error: a Berth server with this home folder (${paths.home}) runs already, as process ${lock.holder.pid}.\nNext: \`berth server status\` shows it; BERTH_HOME chooses another home.\n`);
    return 1;
  }
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => { ended.resolve(); });
  try {
    keepCompiledCode(paths);
    const { startApp } = await import("./app.ts");
    const app = await startApp(config);
    await ended.promise;
    await app.stop();
    return 0;
  } finally {
    rmSync(paths.serverFile, { force: true });
    lock.release();
  }
}

/** What is imported from here on is compiled once per version and kept in a folder of the home that only Berth's user may write to. */
function keepCompiledCode(paths: Paths): void {
  const folder = join(paths.home, "compiled");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  enableCompileCache(folder);
}

/** Starts the server in the background and waits until it answers. */
async function start(config: Config, paths: Paths): Promise<number> {
  const running = readServerFile(paths);
  if (running !== undefined && (await answers(running.url))) {
    process.stdout.write(`Berth runs already: ${running.url} (process ${running.pid})\n`);
    return 0;
  }
  mkdirSync(dirname(paths.serverLog), { recursive: true, mode: 0o700 });
  mkdirSync(paths.home, { recursive: true, mode: 0o711 });
  const log = openSync(paths.serverLog, "a", 0o600);
  const before = readLog(paths).length;
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? "", "server", "run"], { detached: true, stdio: ["ignore", log, log], cwd: paths.home });
  closeSync(log);
  let exited: string | undefined;
  child.once("exit", (code, signal) => { exited = signal ?? `exit code ${code}`; }).once("error", (error) => { exited = error.message; });
  const until = Date.now() + 120_000;
  while (Date.now() < until) {
    const file = readServerFile(paths);
    if (file !== undefined && file.pid === child.pid && (await answers(file.url))) {
      child.unref();
      process.stdout.write(`Berth runs: ${file.url} (process ${file.pid})\n`);
      return 0;
    }
    if (exited !== undefined) {
      process.stderr.write(`Error: the server ended at once (${exited}).\n${readLog(paths).slice(before).split("\n").slice(-12).join("\n")}\nNext: mend what the lines above say; the whole log is ${paths.serverLog}.\n`);
      return 1;
    }
    await delay(25);
  }
  process.stderr.write(`Error: the server did not answer within two minutes. Its log is ${paths.serverLog}.\n`);
  return 5;
}

/** The last lines of the log go to stdout, so that they can be searched; where the rest lies, to stderr. */
function showLog(paths: Paths): number {
  const lines = readLog(paths).trimEnd().split("\n").slice(-200);
  process.stdout.write(`${lines.join("\n")}\n`);
  process.stderr.write(`All of it: ${paths.serverLog}\n`);
  return 0;
}

function readLog(paths: Paths): string {
  return existsSync(paths.serverLog) ? readFileSync(paths.serverLog, "utf8") : "";
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    // Not listening yet, or any more: that is the answer.
    return false;
  }
}

async function stop(config: Config, paths: Paths, all: boolean): Promise<number> {
  const holder = readHolder(paths.serverLock);
  if (holder !== undefined) {
    process.kill(holder.pid, "SIGTERM");
    const until = Date.now() + 30_000;
    while (readHolder(paths.serverLock)?.pid === holder.pid) {
      if (Date.now() > until) {
        process.stderr.write(`Error: the server (process ${holder.pid}) did not stop within 30 s. Its log is ${paths.serverLog}.\n`);
        return 1;
      }
      await delay(50);
    }
  }
  const { stopEverything } = await import("./server/offline.ts");
  const stopped = await stopEverything(config, paths, { instances: all });
  process.stdout.write(holder === undefined && !stopped.anything ? "Berth was not running.\n" : all ? "Berth, its router and everything that ran have stopped. `berth server start` brings all of it back.\n" : "Berth has stopped. What it deployed goes on running; `berth server stop --all` stops that too.\n");
  return 0;
}

async function status(paths: Paths, json: boolean): Promise<number> {
  const file = readServerFile(paths);
  const well = file !== undefined && (await answers(file.url));
  if (json) process.stdout.write(`${JSON.stringify({ running: well, home: paths.home, ...(file === undefined ? {} : { url: file.url, pid: file.pid, version: file.version }) })}\n`);
  else process.stdout.write(well ? `Berth ${file.version} runs: ${file.url} (process ${file.pid}, home ${paths.home})\n` : `Berth is not running (home ${paths.home}). \`berth server start\` starts it.\n`);
  return well ? 0 : 1;
}

async function token(config: Config, paths: Paths): Promise<number> {
  const [{ withDatabase }, { writeAdminToken }] = await Promise.all([import("./server/offline.ts"), import("./server/admin-token.ts")]);
  const text = await withDatabase(config, (db) => writeAdminToken(db, paths.adminToken, new Date()));
  process.stdout.write(`${text}\n`);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof DatabaseRefused) process.stderr.write(`Error: ${error.message}\nNext: ${error.hint}\n`);
  else if (error instanceof ConfigError) process.stderr.write(`Error: ${error.message}\n`);
  else process.stderr.write(`Error: ${error instanceof Error ? error.message : String(error)}\n${error instanceof Error ? `${error.stack ?? ""}\n` : ""}`);
  process.exitCode = 1;
}
// Sockets of libraries that are still closing must not keep a stopped server alive.
process.exit();
