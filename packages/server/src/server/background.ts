// `berth server start`, `stop`, `status` and `logs`: what the command line does to a server that is a process of its own. Each may be repeated,
// and several may run at once: all of them end with the same server, or with the same words.
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { nodeFlags, serverFlags, ownProcess } from "../core/hardened.ts";
import type { Config } from "../config.ts";
import type { Paths } from "../paths.ts";
import { niceSession } from "../os/priority.ts";
import { isSameProcess } from "../os/process.ts";
import { readHolder } from "./lock.ts";
import { readServer, type ServerFile } from "./serverfile.ts";
import { refuseBesideSystemd } from "./service/install.ts";

/** ms until a start gives up waiting; the server itself goes on trying. */
const patience = 120_000;
/** ms that a server of a busy machine may take to say whether it is ready, and that a start waits for each of its answers. */
const slowest = 10_000;
const glance = 2_000;

/** Starts the server in the background and waits until it answers; joins a start that is under way. The exit code. */
export async function start(config: Config, paths: Paths): Promise<number> {
  refuseBesideSystemd(paths, "start");
  // Before anything is found: what a start that is joined says from here on is told here, too.
  const before = readLog(paths).length;
  const running = readServer(paths);
  if (running?.url !== undefined && (await answers(running.url)))
    return told(`Berth runs already: ${running.url} (process ${running.pid})`, running, config);
  mkdirSync(paths.home, { recursive: true, mode: 0o711 });
  mkdirSync(dirname(paths.serverLog), { recursive: true, mode: 0o700 });
  if (running !== undefined)
    process.stderr.write(
      `Process ${running.pid} ${running.url === undefined ? "is starting already" : "runs but does not answer"}; waiting for it.\n`,
    );
  let child = running === undefined ? spawnServer(paths) : undefined;
  let said: string | undefined;
  const until = Date.now() + patience;
  while (Date.now() < until) {
    const now = readServer(paths);
    if (now?.url !== undefined && (await answers(now.url, glance))) {
      child?.leave();
      return told(`Berth runs: ${now.url} (process ${now.pid})`, now, config);
    }
    if (now?.note !== undefined && now.note !== said) process.stderr.write(`${now.note}\n`);
    said = now?.note;
    // Another start may have been quicker than our child: then its server is waited for. Nobody at work means that it was in vain,
    // but for a server that had been up and was on its way out.
    if (now === undefined && child === undefined && running?.url !== undefined) child = spawnServer(paths);
    else if (now === undefined && child?.ended() !== undefined) return failed(child.ended() ?? "", paths, before);
    else if (now === undefined && child === undefined) return failed("the start that this one waited for is over", paths, before);
    await delay(25);
  }
  process.stderr.write(
    `Error: the server did not answer within ${patience / 1000} s.${said === undefined ? "" : ` ${said}`}\nNext: it goes on trying; \`berth server status\` shows it, \`berth server stop\` ends it. Its log is ${paths.serverLog}.\n`,
  );
  return 5;
}

function told(line: string, server: ServerFile, config: Config): number {
  process.stdout.write(`${line}\n`);
  for (const [wanted, got, what] of [
    [config.api, server.url, "Berth answers"],
    [config.router, server.routerUrl, "the router listens"],
  ] as const) {
    const port = Number(got === undefined ? wanted.port : new URL(got).port);
    if (wanted.portIsDefault && port !== wanted.port) process.stderr.write(`Port ${wanted.port} was taken, so ${what} on ${port}.\n`);
  }
  if (server.cluster === undefined)
    process.stderr.write(
      "It runs no instances here: the database's cluster belongs to another server. `berth server status` says whose.\n",
    );
  return 0;
}

interface Spawned {
  ended(): string | undefined;
  leave(): void;
}

const ownFlags = (): string[] => [...new Set([...process.execArgv, ...nodeFlags, ...serverFlags])];

function spawnServer(paths: Paths): Spawned {
  const log = openSync(paths.serverLog, "a", 0o600);
  const { command, args } = ownProcess(process.execPath, [...ownFlags(), process.argv[1] ?? "", "server", "run"]);
  const child = spawn(command, args, { detached: true, stdio: ["ignore", log, log], cwd: paths.home });
  niceSession(child.pid, -10);
  closeSync(log);
  let ended: string | undefined;
  child
    .once("exit", (code, signal) => {
      ended = signal ?? `exit code ${code}`;
    })
    .once("error", (error) => {
      ended = error.message;
    });
  return {
    ended: () => ended,
    leave: () => {
      child.unref();
    },
  };
}

function failed(how: string, paths: Paths, before: number): number {
  const { words, last } = lastWords(paths, before);
  process.stderr.write(
    words ??
      `Error: the server did not start: ${how}.\n${last}\nNext: mend what the lines above say; the whole log is ${paths.serverLog}.\n`,
  );
  return 1;
}

/** The sentence that it said to people last comes after its log. */
function lastWords(paths: Paths, before: number): { readonly words: string | undefined; readonly last: string } {
  const lines = readLog(paths).slice(before).trimEnd().split("\n");
  const at = lines.findLastIndex((line) => line.startsWith("Error: "));
  return { words: at === -1 ? undefined : `${lines.slice(at).join("\n")}\n`, last: lines.slice(-12).join("\n") };
}

/** Stops the control plane and its database, also one that is still starting. `all`: what runs and the router, too. */
export async function stop(config: Config, paths: Paths, all: boolean): Promise<number> {
  refuseBesideSystemd(paths, "stop");
  const holder = readHolder(paths.serverLock);
  if (holder !== undefined) {
    process.kill(holder.pid, "SIGTERM");
    const until = Date.now() + 30_000;
    while (isSameProcess(holder)) {
      if (Date.now() > until) {
        process.stderr.write(`Error: the server (process ${holder.pid}) did not stop within 30 s. Its log is ${paths.serverLog}.\n`);
        return 1;
      }
      await delay(50);
    }
  }
  const { stopEverything } = await import("./offline.ts");
  const stopped = await stopEverything(config, paths, { instances: all });
  process.stdout.write(
    holder === undefined && !stopped.anything
      ? "Berth was not running.\n"
      : all
        ? "Berth, its router and everything that ran have stopped. `berth server start` brings all of it back.\n"
        : "Berth has stopped. What it deployed goes on running; `berth server stop --all` stops that too.\n",
  );
  return 0;
}

export async function status(paths: Paths, json: boolean): Promise<number> {
  const server = readServer(paths);
  const well = server?.url !== undefined && (await answers(server.url));
  if (json) process.stdout.write(`${JSON.stringify({ running: well, home: paths.home, ...server })}\n`);
  else process.stdout.write(`${sentence(server, well, paths)}\n`);
  return well ? 0 : 1;
}

function sentence(server: ServerFile | undefined, well: boolean, paths: Paths): string {
  if (server === undefined) return `Berth is not running (home ${paths.home}). \`berth server start\` starts it.`;
  if (server.url === undefined)
    return `Berth is starting (process ${server.pid}, home ${paths.home}).${server.note === undefined ? "" : ` ${server.note}`}`;
  if (!well) return `Berth does not answer at ${server.url} (process ${server.pid}, home ${paths.home}). Its log is ${paths.serverLog}.`;
  return `Berth ${server.version} runs: ${server.url} (process ${server.pid}, home ${paths.home})${server.note === undefined ? "" : `\n${server.note}`}`;
}

/** What the newest start that failed said to people; undefined when a server has come up since, or none failed. */
export function lastRefusal(paths: Paths): { readonly sentence: string; readonly next: string | undefined } | undefined {
  const lines = readLog(paths).trimEnd().split("\n");
  const at = lines.findLastIndex((line) => line.startsWith("Error: "));
  if (at < 0 || lines.findLastIndex((line) => line.includes('"msg":"ready"')) > at) return undefined;
  return {
    sentence: (lines[at] ?? "").slice("Error: ".length),
    next: lines
      .slice(at)
      .find((line) => line.startsWith("Next: "))
      ?.slice("Next: ".length),
  };
}

/** The last lines of the log go to stdout, so that they can be searched; where the rest lies, to stderr. */
export function showLog(paths: Paths): number {
  const lines = readLog(paths).trimEnd().split("\n").slice(-200);
  process.stdout.write(`${lines.join("\n")}\n`);
  process.stderr.write(`All of it: ${paths.serverLog}\n`);
  return 0;
}

function readLog(paths: Paths): string {
  return existsSync(paths.serverLog) ? readFileSync(paths.serverLog, "utf8") : "";
}

export async function answers(url: string, within = slowest): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(within) })).ok;
  } catch {
    // Not listening yet, or any more: that is the answer.
    return false;
  }
}
