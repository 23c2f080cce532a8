// Process entry of the server's program, behind `berth server` and `berth edge`. Maps signals and failures to words and exit codes; everything else is
// app.ts. What only one verb needs is imported by that verb: `start` and `status` answer at once, and `run` finds its code compiled.
import { mkdirSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { ConfigError } from "./config-values.ts";
import { readConfig, type Config } from "./config.ts";
import { DatabaseRefused } from "./db/refused.ts";
import { pathsOf, type Paths } from "./paths.ts";
import { takeLock } from "./server/lock.ts";
import { StartRefused, fromFileSystem } from "./server/refusal.ts";
import { leave } from "./os/leave.ts";
import { removeServerFile, writeServerFile } from "./server/serverfile.ts";

/** This process was the server itself, and not a command about it. */
let served = false;

const usage = {
  server: `Usage: berth server <run|start|stop|status|doctor|token|logs|key|claim|install|uninstall|upgrade-database> [--all] [--json]
  run           in the foreground
  start         in the background; returns when it answers
  stop          stops the control plane and its database; what runs goes on. --all: everything that runs, and the router, too
  status        whether it runs, and where it answers
  doctor        what is wrong with this home folder, also while no server runs; \`berth doctor\` asks it, too
  token         prints a new one-time administrator token
  logs          the end of the server's own log, and where all of it is
  key           whether the key file opens every sealed value; --add FILE adds keys to it, --accept-loss goes on without those that are gone
  claim         takes this database's cluster over from a server that is gone for good
  install       writes systemd units, so that everything comes back after a reboot; uninstall takes them away
  upgrade-database [--programs FOLDER]   moves the embedded database to the PostgreSQL that this Berth brings
`,
  edge: `Usage: berth edge <status|start|stop|reload|upgrade> [--json]
  status        whether the router runs, and where it answers
  start         starts router and supervisor, as the server does by itself
  stop          stops them; what runs goes on, and is not reached until they are back
  reload        replaces every router without losing a connection
  upgrade       replaces all of it by this version, without losing a connection; \`berth server start\` of a newer version does it by itself
`,
};

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "backup" || args[0] === "restore") return backup(args[0], args.slice(1));
  if (args[0] === "images") return images(args.slice(1));
  const noun = args[0] === "edge" ? "edge" : "server";
  const [verb = noun === "edge" ? "status" : "run", ...rest] = args[0] === noun ? args.slice(1) : args;
  if (verb === "--help" || verb === "-h" || verb === "help") {
    process.stdout.write(usage[noun]);
    return 0;
  }
  const flags = new Set(rest);
  const config = readConfig();
  const paths = pathsOf(config.home, config.runDir);
  try {
    return (await (noun === "edge" ? edgeVerb(verb, flags, config, paths) : serverVerb(verb, rest, config, paths))) ?? unknown(noun, verb);
  } catch (error) {
    throw fromFileSystem(error, paths.home) ?? error;
  }
}

async function backup(noun: "backup" | "restore", args: readonly string[]): Promise<number> {
  const { backupCommand, backupUsage, restoreCommand, restoreUsage, saying } = await import("./server/backup/command.ts");
  return saying(noun === "backup" ? backupUsage : restoreUsage, args, () => {
    const config = readConfig();
    const paths = pathsOf(config.home, config.runDir);
    return noun === "backup" ? backupCommand(config, paths, args) : restoreCommand(config, paths, args);
  });
}

async function images(args: readonly string[]): Promise<number> {
  const config = readConfig();
  const paths = pathsOf(config.home, config.runDir);
  try {
    return await (await import("./server/images/command.ts")).imagesCommand(config, paths, args);
  } catch (error) {
    throw fromFileSystem(error, paths.home) ?? error;
  }
}

async function serverVerb(verb: string, args: readonly string[], config: Config, paths: Paths): Promise<number | undefined> {
  const flags = new Set(args);
  switch (verb) {
    case "run":
      served = true;
      return run(config, paths);
    // The service's unit runs it: the embedded PostgreSQL, kept running until SIGTERM.
    case "database":
      return (await import("./server/service/database.ts")).keepDatabase(config);
    case "install":
      return (await import("./server/service/install.ts")).install(config, paths, args);
    case "upgrade-database":
      return (await import("./server/upgrade.ts")).upgradeDatabase(config, paths, args);
    case "uninstall":
      return (await import("./server/service/install.ts")).uninstall(paths);
    case "token":
    case "claim":
      return offline(verb, config, paths);
    case "key":
      return (await import("./server/keys-command.ts")).keyCommand(config, paths, args);
    case "doctor":
      return (await import("./server/doctor-offline.ts")).doctorCommand(config, paths, flags.has("--json"));
    case "start":
    case "stop":
    case "status":
    case "logs":
      break;
    default:
      return undefined;
  }
  const background = await import("./server/background.ts");
  if (verb === "start") return background.start(config, paths);
  if (verb === "stop") return background.stop(config, paths, flags.has("--all"));
  return verb === "status" ? background.status(paths, flags.has("--json")) : background.showLog(paths);
}

async function edgeVerb(verb: string, flags: ReadonlySet<string>, config: Config, paths: Paths): Promise<number | undefined> {
  const { edgeCommand, edgeVerbs } = await import("./server/edge-command.ts");
  const known = edgeVerbs.find((one) => one === verb);
  return known === undefined ? undefined : edgeCommand(known, config, paths, { json: flags.has("--json") });
}

function unknown(noun: "server" | "edge", verb: string): number {
  process.stderr.write(`Error: \`berth ${noun} ${verb}\` is not known.\n${usage[noun]}`);
  return 2;
}

async function run(config: Config, paths: Paths): Promise<number> {
  mkdirSync(paths.home, { recursive: true, mode: 0o711 });
  const lock = await takeLock(paths.serverLock);
  if (!lock.ok) {
    process.stderr.write(
      `Error: a Berth server with this home folder (${paths.home}) runs already, as process ${lock.holder.pid}.\nNext: \`berth server status\` shows it; BERTH_HOME chooses another home.\n`,
    );
    return 1;
  }
  const told = new AbortController();
  const ended = new Promise<void>((resolve) => {
    told.signal.addEventListener("abort", () => {
      resolve();
    });
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      told.abort();
    });
  const file = { pid: process.pid, version: config.version };
  try {
    writeServerFile(paths, file);
    keepCompiledCode(paths, config.version);
    const { startApp } = await import("./app.ts");
    const app = await startApp(config, {
      signal: told.signal,
      onWait: (note) => {
        writeServerFile(paths, { ...file, note });
      },
    });
    writeServerFile(paths, {
      ...file,
      url: app.url,
      ...(app.cluster === undefined ? {} : { cluster: app.cluster, routerUrl: app.routerUrl }),
      ...(app.note === undefined ? {} : { note: app.note }),
    });
    try {
      await Promise.race([ended, app.lost]);
    } finally {
      await app.stop();
    }
    return 0;
  } catch (error) {
    if (!told.signal.aborted) throw await whenDatabaseLost(error, paths);
    process.stderr.write("Error: the server was stopped while it was starting.\nNext: `berth server start` starts it again.\n");
    return 1;
  } finally {
    removeServerFile(paths);
    lock.release();
  }
}

/** Words for a database that went away in the middle of a start; whoever runs this server starts it again. */
async function whenDatabaseLost(error: unknown, paths: Paths): Promise<unknown> {
  const { isUnavailable } = await import("./db/transaction.ts");
  return isUnavailable(error)
    ? new StartRefused(
        "The database went away while the server was starting.",
        `\`berth server start\` tries again; what PostgreSQL said is in ${join(paths.home, "postgres", "postgres.log")}, unless DATABASE_URL names another one.`,
        { cause: error },
      )
    : error;
}

/** What is imported from here on is compiled once per version and kept in a folder of the home that only Berth's user may write to. */
function keepCompiledCode(paths: Paths, version: string): void {
  const folder = join(paths.compiled, version);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  enableCompileCache(folder);
}

/** What is done to the database, whether the server runs or not. */
async function offline(verb: "token" | "claim", config: Config, paths: Paths): Promise<number> {
  const { withDatabase } = await import("./server/offline.ts");
  if (verb === "claim") {
    const { claim } = await import("./server/claim.ts");
    process.stdout.write(`${await withDatabase(config, (db) => claim(config, paths, db))}\n`);
    return 0;
  }
  const { writeAdminToken } = await import("./server/admin-token.ts");
  process.stdout.write(`${await withDatabase(config, (db) => writeAdminToken(db, paths.adminToken, new Date()))}\n`);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof DatabaseRefused || error instanceof StartRefused || error instanceof ConfigError)
    process.stderr.write(`Error: ${error.message}\nNext: ${error.hint}\n`);
  else
    process.stderr.write(
      `Error: ${error instanceof Error ? error.message : String(error)}\n${error instanceof Error ? `${error.stack ?? ""}\n` : ""}`,
    );
  process.exitCode = 1;
}
// Sockets of libraries that are still closing must not keep a stopped server alive.
if (served) leave(process.exitCode);
process.exit();
