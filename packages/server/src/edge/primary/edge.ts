// The primary of the edge: puts the parts together, starts from disk alone, and keeps its children running. It never accepts a user's connection and does no work per request.
import { chmodSync, existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import type { Server } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pino from "pino";
import { edgeBuild } from "../build.ts";
import type { EdgeConfig } from "../config.ts";
import { edgeProtocol, type Hello, type Program } from "../ipc.ts";
import type { ChildMessage } from "../messages.ts";
import { loadProbeKey } from "../probe-header.ts";
import { livingRouters } from "../registry.ts";
import { chooseAddress, rememberedIn } from "./address.ts";
import { HeldCertificates } from "./certificates.ts";
import { SupervisedChild } from "./children.ts";
import { beingReplaced, createControlServer } from "./control.ts";
import { Entries } from "./entries.ts";
import { Fleet, type FleetDeps } from "./fleet.ts";
import { handOver, sayServing, takeOver, type Inheritance } from "./handover.ts";
import { listenForRouters } from "./link.ts";
import { releaseLock, takeLock } from "./lock.ts";
import { prometheusText } from "./metrics.ts";
import { awaitRouters, takePrecedence } from "./precedence.ts";
import { HeldProofs } from "./proofs.ts";
import { Readiness } from "./readiness.ts";
import { rotate } from "./rotation.ts";
import { Sockets, type Address } from "./sockets.ts";
import { EntryStore } from "./store.ts";
import { inheritSockets, type Takeover } from "./takeover.ts";

export type EdgeChild = "router" | "agent" | "containers" | "collector";

/** The child's entry file: `edge/<name>/main.ts` when run from source, `edge-<name>.js` beside the bundle otherwise. `entry`: URL of the edge's own entry file. */
export function childEntry(entry: string, child: EdgeChild): string {
  return fileURLToPath(new URL(entry.endsWith(".ts") ? `./${child}/main.ts` : `./edge-${child}.js`, entry));
}

export interface RunningEdge {
  readonly hello: () => Hello;
  readonly reload: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface EdgeDeps {
  readonly config: EdgeConfig;
  /** Children read the same file. */
  readonly configFile: string;
  readonly entryUrl: string;
  readonly version: string;
  /** What an earlier primary, or its routers, handed to this one. */
  readonly takeover: Takeover | undefined;
  /** `ordered`: the socket asked for the end. `succeeded`: another primary has taken over. */
  readonly onOver: (why: "ordered" | "succeeded") => void;
}

/** ms that routers of an earlier primary have to find this one. */
const reunion = 10_000;
/** ms that a router has until it accepts, with thousands of entries on a busy machine too. */
const routerStartWithin = 60_000;

/** Resolves when routers accept and the socket answers. Throws when another edge runs, or the address cannot be used. */
export async function startEdge(deps: EdgeDeps): Promise<RunningEdge> {
  const { config, takeover } = deps;
  const startedAt = new Date().toISOString();
  const entry = fileURLToPath(deps.entryUrl);
  const build = edgeBuild(entry);
  const logger = pino({ name: "edge" }, pino.destination({ dest: 2, sync: true }));
  const log: FleetDeps["log"] = (level, message, fields) => {
    logger[level](fields, message);
  };
  await mkdir(config.runDir, { recursive: true, mode: 0o700 });
  const inherited = takeover?.from === "primary" ? await takeOver() : undefined;
  const lockFile = join(config.runDir, "edge.lock");
  await takePrecedence(lockFile, config.runDir, takeover?.from, (message, fields) => {
    log("warn", message, fields);
  });
  try {
    const edgeDir = join(config.home, "edge");
    await mkdir(edgeDir, { recursive: true, mode: 0o700 });
    const probeKey = (await loadProbeKey(config.home)).toString("hex");
    const store = await EntryStore.open(config.home);
    for (const problem of store.unreadable) log("error", "an entry on disk is not readable", { problem });
    const readiness = await Readiness.open(join(edgeDir, "readiness.json"));
    const ready = inherited?.ready ?? takeover?.ready;
    if (ready !== undefined) readiness.replace(ready);
    const sockets = new Sockets();
    if (takeover !== undefined) inheritSockets(takeover, sockets);
    const router = await addressOf(config, sockets, takeover, join(edgeDir, "router.json"));
    if (config.router.portIsDefault && router.port !== config.router.port)
      log("warn", "the default router port is taken, another one is used", { wanted: config.router.port, port: router.port });
    const settings = {
      accessLog: accessLogFile(config),
      trustedProxies: config.trustedProxies,
      responseTimeout: config.responseTimeout,
      limits: config.limits,
      errorDetails: config.errorDetails,
      hstsSeconds: config.hstsSeconds,
      leaveOut: config.leaveOut,
      runDir: config.runDir,
      successor: config.succession ? { entry, configFile: deps.configFile } : undefined,
    };
    const certificates = await HeldCertificates.open({
      file: join(edgeDir, "certificates.json"),
      installation: config.installation,
      address: () => secureAddress(config, sockets, join(edgeDir, "https.json")),
      secure: (orders) => fleet.secure(orders),
      epoch: () => store.epoch(),
    });
    if (certificates.problem !== undefined) log("error", "HTTPS cannot be opened", { problem: certificates.problem });
    const proofs = await HeldProofs.open({
      file: join(edgeDir, "proofs.json"),
      installation: config.installation,
      tell: (all) => fleet.prove(all),
      epoch: () => store.epoch(),
      now: Date.now,
    });
    const fleet: Fleet = new Fleet({
      config,
      sockets,
      routerFile: childEntry(deps.entryUrl, "router"),
      startWithin: routerStartWithin,
      log,
      counted: inherited?.counted,
      init: (place) => ({
        type: "init",
        ...router,
        settings: { ...settings, place },
        probeKey,
        entries: store.all().filter((stored) => stored.entry !== null),
        readiness: readiness.all(),
        ...(certificates.orders === undefined ? {} : { tls: certificates.orders }),
        ...(proofs.all.length === 0 ? {} : { proofs: proofs.all }),
      }),
      isLimited: (ref) => store.get(ref)?.entry?.limits?.maxConnections !== undefined,
      keepMetrics: (track) => (store.get({ stack: track.stack, component: track.component })?.entry ?? null) !== null,
    });
    const entries = new Entries({ installation: config.installation, store, fleet, readiness, now: () => performance.now() });
    const former = livingRouters(config.runDir).map(({ pid }) => pid);
    const reception = listenForRouters((greeting, link) => fleet.adopt(greeting, link));
    const routersSocket = join(config.runDir, "routers.sock");
    await listenPrivately(reception, routersSocket);

    const hear = (child: EdgeChild, message: ChildMessage): void => {
      if (message.type === "started") log("info", "a child took up its work", { child });
      else fleet.readiness(readiness.take(message));
    };
    const agent = child(deps, log, "agent", hear);
    const collector = child(deps, log, "collector", hear);
    const stopChildren = (): Promise<unknown> => Promise.all([agent?.stop(config.shutdownGrace), collector?.stop(config.shutdownGrace)]);
    try {
      await fleet.start();
    } catch (error) {
      await Promise.all([fleet.stop(0), stopChildren()]);
      throw error;
    }
    sayServing();
    // An entry is in force when every router has it: those that were there before have to be known first.
    await awaitRouters(former, () => fleet.pids, config.runDir, reunion);
    fleet.retireFormer();
    entries.allInForce();

    const chores = setInterval(() => {
      void doChores(config, fleet, certificates, sockets, log);
    }, 1_000);
    const sampler = setInterval(() => {
      void fleet.metrics();
    }, 10_000);
    const hello = (): Hello => ({
      protocol: edgeProtocol,
      version: deps.version,
      build,
      installation: config.installation,
      epoch: store.epoch(),
      pid: process.pid,
      startedAt,
      workers: fleet.pids,
      agent: agent?.pid ?? null,
      collector: collector?.pid ?? null,
      router,
      ...certificates.state(fleet.secureProblem),
    });
    const reload = oneAtATime(() => fleet.reload());
    let leaving = false;
    let left = false;
    const control = createControlServer({
      entries,
      certificates,
      proofs,
      hello,
      reload,
      isLeaving: () => leaving,
      upgrade: (program) => upgrade(program),
      shutdown: () => {
        deps.onOver("ordered");
      },
      logError: (error) => {
        log("error", "a call on the control socket failed", { err: String(error) });
      },
      metrics: async () =>
        prometheusText(await fleet.metrics(), {
          routers: fleet.pids.length,
          routerRestarts: fleet.restarts,
          agentUp: agent?.pid !== undefined && agent.pid !== null,
          collectorUp: collector?.pid !== undefined && collector.pid !== null,
          entries: entries.list().length,
        }),
    });
    const controlSocket = join(config.runDir, "edge.sock");
    await listenPrivately(control, controlSocket);
    log("info", "the edge is up", { router, workers: fleet.pids, entries: entries.list().length, tookOver: takeover?.from });

    /** Everything that only one primary may have or do. */
    const readyNow = (): string[] => readiness.all().map(([instance]) => instance);
    const letGo = async (): Promise<Inheritance> => {
      leaving = true;
      control.close();
      reception.close();
      entries.refuse(beingReplaced());
      await entries.idle();
      await certificates.idle();
      await proofs.idle();
      await stopChildren();
      await Promise.all([fleet.metrics(), readiness.flush()]);
      releaseLock(lockFile);
      return { ready: readyNow(), counted: fleet.counted };
    };
    const takeBack = async (): Promise<void> => {
      await takeLock(lockFile);
      await listenPrivately(reception, routersSocket);
      agent?.start();
      collector?.start();
      await listenPrivately(control, controlSocket);
      leaving = false;
    };
    let replacing = false;
    const upgrade = async (program: Program): Promise<void> => {
      if (replacing) throw beingReplaced();
      replacing = true;
      log("info", "another edge is to take over", { ...program });
      // The sockets that are handed on are those of now: one that was opened for a change meanwhile would be missing.
      await entries.pause();
      try {
        await handOver({ program, configFile: deps.configFile, router, sockets: sockets.all(), ready: readyNow(), letGo });
      } catch (error) {
        log("error", "the next edge could not take over; this one goes on", { err: String(error) });
        if (leaving) await takeBack();
        throw error;
      } finally {
        entries.resume();
        replacing = false;
      }
      left = true;
      fleet.leave();
      log("info", "another edge has taken over", {});
      deps.onOver("succeeded");
    };

    return {
      hello,
      reload,
      stop: async () => {
        clearInterval(chores);
        clearInterval(sampler);
        if (!left) {
          control.close();
          await Promise.all([fleet.stop(config.shutdownGrace), stopChildren(), readiness.flush()]);
          reception.close();
          releaseLock(lockFile);
          log("info", "the edge ended", {});
        }
        // The answer to who asked for this goes out first.
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        control.closeAllConnections();
      },
    };
  } catch (error) {
    releaseLock(lockFile);
    throw error;
  }
}

/** The address that routers have already, unless the configuration names another one. */
async function addressOf(config: EdgeConfig, sockets: Sockets, takeover: Takeover | undefined, file: string): Promise<Address> {
  const { host, port, portIsDefault } = config.router;
  const handed = takeover?.router;
  if (handed !== undefined && sockets.has(handed) && handed.host === host && (portIsDefault || port === 0 || port === handed.port))
    return handed;
  return chooseAddress(config.router, file);
}

/** The address that HTTPS had before, when it is still ours, or a new one. */
async function secureAddress(config: EdgeConfig, sockets: Sockets, file: string): Promise<Address> {
  const wanted = { ...config.https, host: config.https.host ?? config.router.host };
  return (await rememberedIn(wanted, file, sockets)) ?? chooseAddress(wanted, file);
}

function accessLogFile(config: EdgeConfig): string {
  return join(config.home, "logs", "edge", "access.log");
}

function child(
  deps: EdgeDeps,
  log: FleetDeps["log"],
  name: "agent" | "collector",
  hear: (child: EdgeChild, message: ChildMessage) => void,
): SupervisedChild | undefined {
  const file = childEntry(deps.entryUrl, name === "agent" && deps.config.engine === "docker" ? "containers" : name);
  if (!deps.config.children[name]) return undefined;
  if (!existsSync(file)) {
    log("error", "a child's program is missing", { child: name, file });
    return undefined;
  }
  const supervised = new SupervisedChild({
    file,
    args: [deps.configFile],
    onMessage: (message) => {
      hear(name, message);
    },
    onExit: (how) => {
      log("warn", "a child ended", { child: name, how });
    },
  });
  supervised.start();
  return supervised;
}

async function doChores(
  config: EdgeConfig,
  fleet: Fleet,
  certificates: HeldCertificates,
  sockets: Sockets,
  log: FleetDeps["log"],
): Promise<void> {
  try {
    await certificates.retry();
  } catch (error) {
    log("error", "certificates could not be put in force", { err: String(error) });
  }
  if (fleet.problems().length > 0 || fleet.secureProblem !== undefined) fleet.tellAll({ type: "retryListeners" });
  // Routers that died may have left one that nobody wanted again.
  if (fleet.isWhole) sockets.closeUnused();
  try {
    const { maxFileBytes, maxFiles } = config.accessLog;
    if (await rotate(accessLogFile(config), maxFileBytes, maxFiles)) fleet.tellAll({ type: "reopenLog" });
  } catch (error) {
    log("error", "the access log could not be rotated", { err: String(error) });
  }
}

/** The socket is made with mode 0600: never, not even for a moment, open to others. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
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
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
