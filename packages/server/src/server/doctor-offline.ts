// What can be found out about an installation without its server: home folder, lock, last start, keys, ports, database and disk. It starts nothing, changes
// nothing, and is there for the very moments in which nothing else answers.
import { existsSync, readFileSync } from "node:fs";
import { constants, access } from "node:fs/promises";
import { createServer } from "node:net";
import type { Check } from "@berth/contract/resources/installation.ts";
import type { Listen } from "../config-values.ts";
import type { Config } from "../config.ts";
import { lookAtEmbedded } from "../db/embedded.ts";
import { silentLog } from "../db/log.ts";
import { awaitOutside, nameOf } from "../db/outside.ts";
import { DatabaseRefused } from "../db/refused.ts";
import { portOwner } from "../edge/primary/ports.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { Paths } from "../paths.ts";
import { answers, lastRefusal } from "./background.ts";
import { ok, runChecks, type Found, type Looking } from "./doctor-check.ts";
import { keysDamaged, sealedSecrets } from "./doctor-kept.ts";
import { edgeState } from "./doctor-parts.ts";
import { diskCheck, keysCheck, servicesChecks } from "./doctor-shared.ts";
import { boxOf, clusterHere } from "./keys.ts";
import { readHolder } from "./lock.ts";
import { withDatabase } from "./offline.ts";
import { readServer } from "./serverfile.ts";

/** ms that one check gets here: nobody else waits for them. */
const within = 8_000;

/** `berth server doctor`: prints what was found; the exit code. */
export async function doctorCommand(config: Config, paths: Paths, json: boolean): Promise<number> {
  const checks = await offlineChecks(config, paths, new AbortController().signal);
  if (json) process.stdout.write(`${JSON.stringify({ checks })}\n`);
  else
    for (const { name, status, found, why, next } of checks) {
      const told = status === "ok" ? [] : [why, next === undefined ? undefined : `Next: ${next}`].filter((line) => line !== undefined);
      process.stdout.write([`${status.padEnd(7)}  ${name}: ${found}`, ...told.map((line) => `         ${line}`)].join("\n") + "\n");
    }
  return checks.some(({ status }) => status === "failed") ? 1 : 0;
}

/** In the order in which a start needs them. */
export async function offlineChecks(config: Config, paths: Paths, signal: AbortSignal): Promise<Check[]> {
  const home: Looking = {
    name: "home folder",
    why: "Everything of this installation lies in it.",
    next: "Run Berth as the user whom it belongs to, or name another one by BERTH_HOME.",
    look: () => homeFolder(paths),
  };
  if (!existsSync(paths.home)) return runChecks([home], signal, within);
  return runChecks(
    [
      home,
      {
        name: "server process",
        why: "Nothing can be deployed, changed or asked without it; what runs goes on running.",
        next: "`berth server start` starts it.",
        look: () => serverProcess(paths),
      },
      {
        name: "database",
        why: "The server does not start without it.",
        next: "`berth server start` starts the embedded one, too.",
        look: (within) => databaseState(config, within),
      },
      keysCheck(paths),
      {
        name: "secrets",
        why: "The server does not start without the keys of what its database holds sealed.",
        next: "`berth server key` says more.",
        look: (within) => secrets(config, paths, within),
      },
      {
        name: "ports",
        why: "Where a port was chosen, Berth does not start at another one.",
        next: "Set BERTH_PORT, BERTH_ROUTER_PORT or BERTH_HTTPS_PORT.",
        look: () => ports(config, paths),
      },
      {
        name: "edge",
        why: "It routes requests and starts again what ends; without it nothing is reached.",
        next: `\`berth edge start\` starts it; its log is ${paths.edgeLog}.`,
        look: (within) => edge(config, paths, within),
      },
      ...servicesChecks(paths),
      diskCheck(paths),
    ],
    signal,
    within,
  );
}

async function homeFolder(paths: Paths): Promise<Found> {
  if (!existsSync(paths.home))
    return {
      status: "failed",
      found: `${paths.home} is not there`,
      why: "Berth was never started here as this user, or its home is another one.",
      next: "`berth server start` makes it; BERTH_HOME names another one.",
    };
  try {
    await access(paths.home, constants.R_OK | constants.W_OK | constants.X_OK);
    return ok(paths.home);
  } catch {
    return { status: "failed", found: `${paths.home} may not be written by this user, or is read-only` };
  }
}

async function serverProcess(paths: Paths): Promise<Found> {
  const server = readServer(paths);
  if (server !== undefined) {
    const pid = String(server.pid);
    if (server.url === undefined)
      return {
        status: "warning",
        found: `process ${pid} is starting${server.note === undefined ? "" : `: ${server.note}`}`,
        next: "Wait; `berth server status` shows how far it is.",
      };
    return (await answers(server.url))
      ? ok(`process ${pid} answers at ${server.url}`)
      : {
          status: "failed",
          found: `process ${pid} runs and does not answer at ${server.url}`,
          next: `Its log is ${paths.serverLog}; \`berth server stop\` and \`berth server start\` replace it.`,
        };
  }
  const refused = lastRefusal(paths);
  if (refused !== undefined)
    return {
      status: "failed",
      found: `none runs, and the last start failed: ${refused.sentence}`,
      next: refused.next ?? `All that it said is in ${paths.serverLog}.`,
    };
  const left = leftLock(paths);
  return {
    status: "failed",
    found:
      left === undefined
        ? "none runs"
        : `none runs; process ${left}, whose lock ${paths.serverLock} is left, ended without tidying up (killed, crashed, or the machine went down)`,
    next: `\`berth server start\` starts it${left === undefined ? "" : "; the lock of a process that is gone holds nobody up, and nothing that was accepted is lost"}.`,
  };
}

/** The process that a lock names which nobody holds any more. */
function leftLock(paths: Paths): string | undefined {
  if (!existsSync(paths.serverLock) || readHolder(paths.serverLock) !== undefined) return undefined;
  const [, pid = "?"] = /"pid":\s*(\d+)/.exec(readFileSync(paths.serverLock, "utf8")) ?? [];
  return pid;
}

async function databaseState(config: Config, signal: AbortSignal): Promise<Found> {
  try {
    if (config.databaseUrl !== undefined) {
      await awaitOutside({ url: config.databaseUrl, log: silentLog, signal, patience: 1_000, onWait: () => undefined });
      return ok(`${nameOf(config.databaseUrl)} answers`);
    }
    const state = await lookAtEmbedded(config.home);
    switch (state) {
      case "absent":
        return ok("the embedded one is made by the first start");
      case "stopped":
        return ok("the embedded one is stopped, and starts with the server");
      case "answers":
        return ok("the embedded one answers");
      case "refuses_login":
        return {
          status: "failed",
          found: "the embedded one refuses Berth's own login",
          next: "`berth server stop` and `berth server start` set it right.",
        };
      case "silent":
        return {
          status: "failed",
          found: "the embedded one runs and does not answer",
          next: `Its log is ${config.home}/postgres/postgres.log; \`berth server stop\` ends it.`,
        };
    }
  } catch (error) {
    if (error instanceof DatabaseRefused) return { status: "failed", found: error.message.replace(/\.$/, ""), next: error.hint };
    throw error;
  }
}

/** As a start would find it, where the database answers; nothing is started for it. */
async function secrets(config: Config, paths: Paths, signal: AbortSignal): Promise<Found> {
  if (boxOf(paths.secretsKey) === "damaged") return keysDamaged(paths.secretsKey);
  if ((await databaseAnswers(config, signal)) && existsSync(paths.nodeFile))
    return withDatabase(config, async (db) => sealedSecrets(db, paths.secretsKey, await clusterHere(db, config, paths)));
  return ok("the database is not up; the next start looks whether the key file opens what it holds");
}

async function databaseAnswers(config: Config, signal: AbortSignal): Promise<boolean> {
  try {
    return config.databaseUrl === undefined
      ? (await lookAtEmbedded(config.home)) === "answers"
      : (await databaseState(config, signal)).status === "ok";
  } catch (error) {
    // Said by the check of the database.
    if (error instanceof DatabaseRefused) return false;
    throw error;
  }
}

/** Ports that Berth's own processes do not hold. */
async function ports(config: Config, paths: Paths): Promise<Found> {
  const server = readServer(paths);
  const edgeThere = existsSync(paths.edgeSocket);
  const wanted: readonly (readonly [string, string, Listen])[] = [
    ...(server === undefined ? [["API", "BERTH_PORT", config.api] as const] : []),
    ...(edgeThere ? [] : [["router", "BERTH_ROUTER_PORT", config.router] as const]),
  ];
  const free: string[] = [];
  for (const [what, variable, at] of wanted) {
    if (at.port === 0) continue;
    const problem = await cannotListen(at);
    if (problem === undefined) free.push(`${String(at.port)} (${what})`);
    else {
      const found = `port ${String(at.port)} of the ${what} ${problem}`;
      return at.portIsDefault
        ? {
            status: "warning",
            found,
            why: "Berth moves to the next free one, and says so at its start.",
            next: `Stop that program, or choose a port by ${variable}.`,
          }
        : { status: "failed", found, next: `Stop that program, or choose another one by ${variable}.` };
    }
  }
  return ok(free.length === 0 ? "held by Berth itself, or any that is free" : `${free.join(" and ")} free`);
}

async function cannotListen({ host, port }: Listen): Promise<string | undefined> {
  const server = createServer();
  const code = await new Promise<string | undefined>((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    server.listen(port, host, () => {
      server.close(() => {
        resolve(undefined);
      });
    });
  });
  if (code === undefined) return undefined;
  if (code === "EACCES") return "is for root only";
  if (code !== "EADDRINUSE") return `cannot be opened on ${host} (${code})`;
  const owner = await portOwner(port);
  return `is taken by ${owner?.text ?? "another program"}`;
}

async function edge(config: Config, paths: Paths, signal: AbortSignal): Promise<Found> {
  if (!existsSync(paths.edgeSocket) && !existsSync(paths.edgeConfig)) return ok("none was started yet");
  const traffic = new EdgeTraffic({
    socketPath: paths.edgeSocket,
    home: config.home,
    cluster: config.cluster.name,
    router: config.router,
    now: Date.now,
  });
  try {
    return edgeState(await traffic.hello(signal), config.version);
  } catch (error) {
    if (signal.aborted) throw error;
    return { status: "failed", found: "does not answer; requests to applications are refused" };
  } finally {
    await traffic.close();
  }
}
