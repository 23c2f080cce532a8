// The primary of the edge: puts the parts together, starts from disk alone, and keeps its children running. It never accepts a user's connection and does no work per request.
import { chmodSync, existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pino from "pino";
import type { EdgeConfig } from "../config.ts";
import { edgeProtocol, type Hello } from "../ipc.ts";
import type { ChildMessage } from "../messages.ts";
import { loadProbeKey } from "../probe-header.ts";
import { chooseAddress } from "./address.ts";
import { SupervisedChild } from "./children.ts";
import { createControlServer } from "./control.ts";
import { Entries } from "./entries.ts";
import { Fleet, type FleetDeps } from "./fleet.ts";
import { releaseLock, takeLock } from "./lock.ts";
import { prometheusText } from "./metrics.ts";
import { Readiness } from "./readiness.ts";
import { rotate } from "./rotation.ts";
import { EntryStore } from "./store.ts";

export type EdgeChild = "router" | "agent" | "collector";

/** The child's entry file: `edge/<name>/main.ts` when run from source, `edge-<name>.js` beside the bundle otherwise. `entry`: URL of the edge's own entry file. */
export function childEntry(entry: string, child: EdgeChild): string {
  return fileURLToPath(new URL(entry.endsWith(".ts") ? `./${child}/main.ts` : `./edge-${child}.js`, entry));
}

export interface RunningEdge { readonly hello: () => Hello; readonly reload: () => Promise<void>; readonly stop: () => Promise<void> }

export interface EdgeDeps {
  readonly config: EdgeConfig;
  /** Children read the same file. */
  readonly configFile: string;
  readonly entryUrl: string;
  readonly version: string;
  /** The socket asked for the end. */
  readonly onShutdown: () => void;
}

/** Resolves when routers accept and the socket answers. Throws when another edge runs, or the address cannot be used. */
export async function startEdge(deps: EdgeDeps): Promise<RunningEdge> {
  const { config } = deps;
  const startedAt = new Date().toISOString();
  const logger = pino({ name: "edge" }, pino.destination({ dest: 2, sync: true }));
  const log: FleetDeps["log"] = (level, message, fields) => { logger[level](fields, message); };
  await mkdir(config.runDir, { recursive: true, mode: 0o700 });
  const lockFile = join(config.runDir, "edge.lock");
  await takeLock(lockFile);
  try {
    const edgeDir = join(config.home, "edge");
    await mkdir(edgeDir, { recursive: true, mode: 0o700 });
    const probeKey = (await loadProbeKey(config.home)).toString("hex");
    const store = await EntryStore.open(config.home);
    for (const problem of store.unreadable) log("error", "an entry on disk is not readable", { problem });
    const readiness = await Readiness.open(join(edgeDir, "readiness.json"));
    const router = await chooseAddress(config.router, join(edgeDir, "router.json"));
    if (config.router.portIsDefault && router.port !== config.router.port) log("warn", "the default router port is taken, another one is used", { wanted: config.router.port, port: router.port });
    const fleet = new Fleet({
      config, routerFile: childEntry(deps.entryUrl, "router"), log,
      init: () => ({ type: "init", host: router.host, port: router.port, settings: { accessLog: accessLogFile(config), trustedProxies: config.trustedProxies, responseTimeout: config.responseTimeout }, probeKey, entries: store.all().filter((stored) => stored.entry !== null), readiness: readiness.all() }),
      keepMetrics: (track) => (store.get({ stack: track.stack, component: track.component })?.entry ?? null) !== null,
    });
    const entries = new Entries({ installation: config.installation, store, fleet, readiness, now: () => performance.now() });
    await fleet.start();
    entries.allInForce();

    const hear = (child: EdgeChild, message: ChildMessage): void => {
      if (message.type === "started") log("info", "a child took up its work", { child });
      else fleet.readiness(readiness.take(message));
    };
    const agent = child(deps, log, "agent", hear);
    const collector = child(deps, log, "collector", hear);
    const chores = setInterval(() => { void doChores(config, fleet, log); }, 1_000);
    const sampler = setInterval(() => { void fleet.metrics(); }, 10_000);
    const hello = (): Hello => ({ protocol: edgeProtocol, version: deps.version, installation: config.installation, pid: process.pid, startedAt, workers: fleet.pids, agent: agent?.pid ?? null, collector: collector?.pid ?? null, router });
    const reload = oneAtATime(() => fleet.reload());
    const control = createControlServer({
      entries, hello, reload, shutdown: deps.onShutdown, logError: (error) => { log("error", "a call on the control socket failed", { err: String(error) }); },
      metrics: async () => prometheusText(await fleet.metrics(), { routers: fleet.pids.length, routerRestarts: fleet.restarts, agentUp: agent?.pid !== undefined && agent.pid !== null, collectorUp: collector?.pid !== undefined && collector.pid !== null, entries: entries.list().length }),
    });
    const socket = join(config.runDir, "edge.sock");
    await rm(socket, { force: true });
    await listenPrivately(control, socket);
    log("info", "the edge is up", { router, workers: fleet.pids, entries: entries.list().length });

    return {
      hello, reload,
      stop: async () => {
        clearInterval(chores);
        clearInterval(sampler);
        control.close();
        await Promise.all([fleet.stop(config.shutdownGrace), agent?.stop(config.shutdownGrace), collector?.stop(config.shutdownGrace), readiness.flush()]);
        control.closeAllConnections();
        await rm(socket, { force: true });
        await releaseLock(lockFile);
        log("info", "the edge ended", {});
      },
    };
  } catch (error) {
    await releaseLock(lockFile);
    throw error;
  }
}

function accessLogFile(config: EdgeConfig): string {
  return join(config.home, "logs", "edge", "access.log");
}

function child(deps: EdgeDeps, log: FleetDeps["log"], name: "agent" | "collector", hear: (child: EdgeChild, message: ChildMessage) => void): SupervisedChild | undefined {
  const file = childEntry(deps.entryUrl, name);
  if (!deps.config.children[name]) return undefined;
  if (!existsSync(file)) {
    log("error", "a child's program is missing", { child: name, file });
    return undefined;
  }
  const supervised = new SupervisedChild({
    file, args: [deps.configFile], onMessage: (message) => { hear(name, message); },
    onExit: (how) => { log("warn", "a child ended", { child: name, how }); },
  });
  supervised.start();
  return supervised;
}

async function doChores(config: EdgeConfig, fleet: Fleet, log: FleetDeps["log"]): Promise<void> {
  if (fleet.problems().length > 0) fleet.tellAll({ type: "retryListeners" });
  try {
    const { maxFileBytes, maxFiles } = config.accessLog;
    if (await rotate(accessLogFile(config), maxFileBytes, maxFiles)) fleet.tellAll({ type: "reopenLog" });
  } catch (error) {
    log("error", "the access log could not be rotated", { err: String(error) });
  }
}

/** The socket is made with mode 0600: never, not even for a moment, open to others. */
function listenPrivately(server: ReturnType<typeof createControlServer>, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const before = process.umask(0o177);
    server.once("error", reject);
    server.listen({ path }, () => {
      server.off("error", reject);
      chmodSync(path, 0o600);
      resolve();
    });
    process.umask(before);
  });
}

/** A call while one is running waits for it instead of starting another. */
function oneAtATime(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= work().finally(() => { running = undefined; });
    return running;
  };
}
