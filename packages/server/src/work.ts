// The composition root of the thread that the loops have to themselves: what a server does by itself, beside answering. A hundred deployments at once must
// not keep anybody who asks waiting, so nothing here shares a thread, or a connection to the database, with the API.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import pino from "pino";
import { openBlobFolder } from "./blobs/folder.ts";
import { attesting } from "./builders/attest/attesting.ts";
import type { Builder } from "./builders/builder.ts";
import { createHostBuilder } from "./builders/host/build.ts";
import { readSourceTree } from "./builders/source/tree.ts";
import type { Config } from "./config.ts";
import { repositoryFor } from "./core/image/reference.ts";
import { filesOfInterest } from "./core/buildplan/interest.ts";
import { removeOldIdempotency } from "./db/idempotency.ts";
import { createListener } from "./db/listen.ts";
import { openDatabase, type DatabaseAddress } from "./db/pool.ts";
import { openSecretBox } from "./db/secretbox.ts";
import { askStanding } from "./docker/standing.ts";
import { loadProbeKey } from "./edge/probe-header.ts";
import type { Doors } from "./engines/edge-traffic.ts";
import { trimWhenQuiet } from "./os/trim.ts";
import { pathsOf } from "./paths.ts";
import { ClockWatch } from "./reconcile/clockwatch.ts";
import { BuildPlaces } from "./reconcile/build-places.ts";
import { createBuildLogs } from "./resources/builds/log.ts";
import { Cgroups } from "./sandbox/cgroups.ts";
import { createBuildUsers } from "./server/build-users.ts";
import { createHints } from "./server/hints.ts";
import { openImageBuilder } from "./server/image-builders.ts";
import { startLoops } from "./server/loops.ts";
import { openEngine, openTraffic } from "./server/machine.ts";
import { openAddedPlace } from "./server/open-place.ts";
import { openLogins, openRemover } from "./server/registries.ts";
import type { Metrics } from "./server/metrics.ts";
import { createPlaces, type AddedPlace } from "./server/places.ts";
import { runSealer } from "./server/sealer.ts";
import { sweepCompiled } from "./server/sweep.ts";
import { createToolFinder } from "./server/tools.ts";

/** All of it can be handed to another thread. */
export interface WorkStart {
  readonly config: Config;
  readonly address: DatabaseAddress;
  readonly installation: { readonly id: string; readonly epoch: number };
  readonly cluster: string;
  readonly doors: Doors;
}

/** What the work counts. */
export type WorkMetrics = Pick<Metrics, "row" | "repair" | "difference" | "unknownObjects">;

export interface Work {
  /** Where the edge's doors are now. */
  setDoors(doors: Doors): void;
  /** The clusters beside this machine that there are now. */
  setAdded(places: readonly AddedPlace[]): void;
  /** Hands on the rows that it works on, and ends everything it started. */
  stop(): Promise<void>;
}

/** Call it when the cluster is this server's, and when its edge has been told of the epoch. */
export async function startWork({ config, address, installation, cluster, doors }: WorkStart, metrics: WorkMetrics): Promise<Work> {
  const paths = pathsOf(config.home, config.runDir);
  const log = pino({ name: "work", level: config.logLevel, timestamp: pino.stdTimeFunctions.isoTime });
  const life = new AbortController();
  const clock = (): Date => new Date();
  const clockWatch = new ClockWatch();
  const database = openDatabase({ address, log });
  const { db } = database;
  const listener = createListener({ address, log });
  const secretBox = openSecretBox(paths.secretsKey);
  const blobs = await openBlobFolder(paths.blobs);
  const traffic = openTraffic(config, paths, cluster);
  traffic.setDoors(doors);
  const logins = openLogins(db, secretBox);
  const engine = openEngine(config, paths, cluster, (digest) => blobs.open(digest), logins.find);
  const logs = createBuildLogs(paths.buildLogs, blobs);
  const groups = config.cgroups === "auto" ? Cgroups.open(config.home, "builds") : undefined;
  const prefix = config.registry;
  const imageBuilder = openImageBuilder(config, paths, installation.id, blobs, logins);
  const builder =
    imageBuilder ??
    attesting(
      createHostBuilder({
        home: config.home,
        blobs,
        findTool: createToolFinder(config.home, config.systemPath.split(":")),
        uidFor: createBuildUsers(join(config.home, "build-users.json"), process.getuid?.() === 0),
        clock,
        systemPath: config.systemPath,
        passEnv: config.networkEnv,
        sandbox: config.sandbox,
        keeping: { hidden: [config.home, config.runDir], groups, memory: config.builds.memory },
      }),
      { blobs, installation: installation.id, version: config.version, builder: "host" },
    );
  const hints = createHints({ db, log });
  const probeKey = await loadProbeKey(paths.home);
  const pusher = prefix === undefined ? undefined : imageBuilder;
  const places = await createPlaces(db, { cluster, engine, traffic }, (added) => {
    const place = openAddedPlace({ config, paths, blobs, logins, log, probeKey, pusher, installation: installation.id }, added);
    const end = new AbortController();
    const listening = hints.listen(added.cluster, place.engine, AbortSignal.any([life.signal, end.signal]));
    return {
      ...place,
      async close() {
        end.abort();
        await listening;
        await place.close();
      },
    };
  });
  const builderFor = (of: string): Builder => places.builder(of) ?? builder;
  // No other process works for this machine: the home's lock and the cluster's owner say so.
  await builder.sweep(() => false);
  let unknownBefore = "";
  const loops = startLoops({
    db,
    log,
    listener,
    holder: `${process.pid}-${randomUUID()}`,
    clusters: places.reachable,
    blobs,
    metrics: {
      ended: (kind, outcome) => {
        metrics.row(kind, outcome);
      },
    },
    component: {
      db,
      places,
      secretBox,
      clock,
      installation: () => installation,
      ...(prefix === undefined ? {} : { registry: prefix }),
      from: (at) => clockWatch.from(at),
      reachableSince: places.reachableSince,
      isReachable: (cluster) => places.reachable().includes(cluster),
      waitForHint: hints.waitForHint,
      overhear: hints.overhear,
      countRepair: (_stack, _component, what) => {
        metrics.repair(what);
      },
    },
    build: {
      db,
      log,
      builderFor,
      secretBox,
      logs,
      readSourceTree: (digest, signal) => readSourceTree(blobs, digest, filesOfInterest, signal),
      clock,
      limits: config.builds,
      places: new BuildPlaces(config.builds.total),
      deadline: config.builds.deadline,
      // Bundles stay here.
      destination: (of) => (prefix === undefined || builderFor(of.cluster).kind === "host" ? undefined : repositoryFor(prefix, of)),
    },
    images: {
      log,
      engines: () => places.reachable().map((of) => places.engine(of)),
      ...(prefix === undefined ? {} : { registry: { prefix, open: () => openRemover(config, logins) } }),
    },
    follow: {
      db,
      clock,
      ask: (image, signal) => askStanding({ find: logins.find, proxies: config.networkEnv }, image, signal),
      ...(prefix === undefined ? {} : { registry: prefix }),
    },
    acme: {
      db,
      places,
      secretBox,
      clock,
      random: Math.random,
      installation: () => ({ installation: installation.id, epoch: installation.epoch }),
      settings: config.acme,
      proxies: config.networkEnv,
      hookEnv: { ...config.networkEnv, ...config.childEnv },
    },
    resync: {
      db,
      places,
      installation: () => installation,
      countDifference: metrics.difference,
      countRepair: metrics.repair,
      reportUnknown: (of, refs) => {
        metrics.unknownObjects(of, refs.length);
        // Once for each change: they may stay for weeks until somebody adopts them.
        if (refs.length > 0 && refs.join() !== unknownBefore)
          log.warn({ cluster: of, refs }, "objects of this installation are not in the database; they are left alone");
        unknownBefore = refs.join();
      },
    },
    housekeeping: async () => {
      await removeOldIdempotency(db, clock());
      await sweepCompiled(paths, config.version);
    },
  });
  trimWhenQuiet(life.signal);
  const background = [
    places.run(life.signal),
    hints.listen(cluster, engine, life.signal),
    runSealer({ db, keyFile: paths.auditKey, epoch: installation.epoch, log }, life.signal),
  ];
  return {
    setDoors: (now) => {
      traffic.setDoors(now);
    },
    setAdded: places.setAdded,
    async stop() {
      life.abort(new Error("the server is stopping"));
      await loops.stop();
      await Promise.allSettled(background);
      await listener.close();
      await database.close();
      await places.close();
      await traffic.close();
      await engine.close();
      groups?.close();
    },
  };
}
