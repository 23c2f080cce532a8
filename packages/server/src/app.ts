// The composition root of the thread that answers; work.ts is that of the one that works. Nothing else constructs things: everything gets what it needs as an argument,
// and nothing is reached for globally.
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import pino from "pino";
import { openBlobFolder } from "./blobs/folder.ts";
import { createHostBuilder } from "./builders/host/build.ts";
import { createCheckHost } from "./builders/source/egress.ts";
import { fetchGit, orRefusal } from "./builders/source/git.ts";
import { readSourceTree } from "./builders/source/tree.ts";
import { receiveUpload } from "./builders/source/upload.ts";
import type { Config } from "./config.ts";
import { filesOfInterest } from "./core/buildplan/interest.ts";
import { attachEmbedded, keepEmbedded, startEmbedded } from "./db/embedded.ts";
import { createEventReader } from "./db/events.ts";
import { freeIdempotent } from "./db/idempotency.ts";
import { ensureInstallation } from "./db/installation.ts";
import { createListener } from "./db/listen.ts";
import { migrate } from "./db/migrate.ts";
import { awaitOutside } from "./db/outside.ts";
import { announce, claimCluster, leaveCluster } from "./db/clusters.ts";
import { createAccess } from "./db/permissions.ts";
import { openDatabase, type DatabaseAddress } from "./db/pool.ts";
import { DatabaseRefused } from "./db/refused.ts";
import { createTokenCheck } from "./db/tokens.ts";
import { createViews } from "./db/views.ts";
import { idempotentOnce } from "./http/once.ts";
import { createHttpServer } from "./http/server.ts";
import { trimWhenQuiet } from "./os/trim.ts";
import { migrationsFolder, pathsOf } from "./paths.ts";
import { loadProbeKey } from "./edge/probe-header.ts";
import { enqueue, freeLeases, hurryFailed } from "./reconcile/queue.ts";
import { createBuildLogs } from "./resources/builds/log.ts";
import type { ResourceDeps } from "./resources/deps.ts";
import { readClusterNames } from "./resources/clusters/names.ts";
import { openAdded } from "./resources/clusters/store.ts";
import { createHandlers } from "./resources/handlers.ts";
import { staticServerText } from "./edge/agent/static-install.ts";
import { ensureAdminToken } from "./server/admin-token.ts";
import { gitUser } from "./server/build-users.ts";
import { addedChecks, buildsElsewhere } from "./server/doctor-added.ts";
import { registryCheck } from "./server/doctor-registry.ts";
import { runDoctor } from "./server/doctor.ts";
import { ensureEdge, renewEdge, type EdgeStart } from "./server/edge-process.ts";
import { clusterOf, noteOf, watchClaim } from "./server/claim.ts";
import { refuseElsewhere } from "./server/elsewhere.ts";
import { watchEdge } from "./server/edge-watch.ts";
import { logKeeping } from "./server/keeping.ts";
import { openKeys } from "./server/keys.ts";
import { listenOn } from "./server/listen.ts";
import { connectAdded, noneAdded } from "./server/added.ts";
import { hostConnector } from "./server/hosts/connect.ts";
import { kubeApi } from "./server/kube/access.ts";
import { KubeConnection } from "./server/kube/connection.ts";
import { openImageBuilder } from "./server/image-builders.ts";
import { openAddedPlace } from "./server/open-place.ts";
import { createBaseCheck, openEngine, openTraffic } from "./server/machine.ts";
import { openLogins, openRegistry } from "./server/registries.ts";
import { createMetrics } from "./server/metrics.ts";
import { openNode, rememberCluster } from "./server/node.ts";
import { createPlaces, whereIs } from "./server/places.ts";
import { sweepTemporary, sweepVolumes } from "./server/sweep.ts";
import { watchSchema } from "./server/schema-watch.ts";
import { olderDatabase, takeOver } from "./server/takeover.ts";
import { writeWhole } from "./os/files.ts";
import { createToolFinder } from "./server/tools.ts";
import { openWorkThread } from "./server/work-link.ts";

export interface StartOptions {
  /** Ends a start that is under way. */
  readonly signal: AbortSignal;
  /** Told in a sentence what the start waits for. */
  readonly onWait: (sentence: string) => void;
}

export interface App {
  readonly url: string;
  readonly routerUrl: string;
  /** The cluster that this server drives; undefined when another node does. */
  readonly cluster: string | undefined;
  /** For people: what this server does not do, and why. */
  readonly note: string | undefined;
  /** Rejects when this server must not go on: another node took its cluster. */
  readonly lost: Promise<never>;
  /** Stops the control plane; what runs, the edge and the database go on. */
  stop(): Promise<void>;
}

/** Where a service manager runs the database, it is only waited for. */
async function embedded(config: Config, options: Parameters<typeof startEmbedded>[0]): Promise<DatabaseAddress> {
  return config.managed ? attachEmbedded(options) : (await startEmbedded(options)).connection;
}

/** ms that a first start waits for an outside database; one that was there before is waited for as long as it takes. */
const firstPatience = 20_000;

/** What every cluster has looked at now and then, from the moment that it is this server's; and what those have whose door is an edge. */
const clusterWork = ["resync", "build-schedule"];
const edgeWork = [...clusterWork, "certificates", "certificate-hosts"];

export async function startApp(config: Config, options: StartOptions): Promise<App> {
  const paths = pathsOf(config.home, config.runDir);
  for (const folder of [paths.home, paths.run]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  mkdirSync(paths.buildLogs, { recursive: true, mode: 0o700 });
  const log = pino({ name: "server", level: config.logLevel, timestamp: pino.stdTimeFunctions.isoTime });
  const life = new AbortController();
  const thread = openWorkThread();
  const abandon = (): void => {
    life.abort(options.signal.reason);
  };
  options.signal.addEventListener("abort", abandon);
  const clock = (): Date => new Date();

  const remembered = existsSync(paths.installationFile)
    ? (JSON.parse(readFileSync(paths.installationFile, "utf8")) as { id: string; epoch: number })
    : undefined;
  const node = openNode(paths.nodeFile);
  const cluster = clusterOf(config, node);
  const traffic = openTraffic(config, paths, cluster);
  const startEdge = async (id: string): Promise<EdgeStart> => {
    const edge = await ensureEdge(config, paths, id, traffic, life.signal);
    if (edge.started) return edge;
    try {
      const renewed = await renewEdge(config, paths, id, traffic, life.signal);
      if (renewed !== undefined) log.info({ ...renewed, to: config.version }, "the edge was replaced by this version's");
    } catch (error) {
      // Never a reason not to start: the old one serves.
      log.error({ error: String(error) }, "the edge could not be replaced by this version's; the old one goes on");
    }
    return edge;
  };
  // The home knows its installation and its cluster: its edge comes up while the database does. It belongs to the home, whatever the database turns out to be.
  const startingEdge = remembered === undefined || node.cluster === undefined ? undefined : startEdge(remembered.id);
  // Awaited below; a database that is refused meanwhile is the error to tell.
  startingEdge?.catch(() => undefined);
  if (config.databaseUrl !== undefined)
    await awaitOutside({
      url: config.databaseUrl,
      log,
      signal: life.signal,
      patience: remembered === undefined ? firstPatience : Number.POSITIVE_INFINITY,
      onWait: options.onWait,
    });
  const address: DatabaseAddress =
    config.databaseUrl === undefined
      ? await embedded(config, { home: config.home, runDir: config.runDir, log, signal: life.signal, mustExist: remembered !== undefined })
      : { connectionString: config.databaseUrl };
  await migrate({ address, folder: migrationsFolder(), program: config.version, log });
  life.signal.throwIfAborted();
  const database = openDatabase({ address, log, isWaitedFor: true });
  const { db } = database;
  const listener = createListener({ address, log });
  const { found, installation } = await ensureInstallation(db, remembered);
  if (found === "older") throw olderDatabase(installation.epoch, remembered?.epoch ?? 0);
  if (found === "other")
    throw new DatabaseRefused(
      "other_installation",
      `The home folder ${paths.home} belongs to installation ${remembered?.id}, the database to ${installation.id}.`,
      "Use the home that belongs to this database, or an empty one (BERTH_HOME).",
    );
  writeWhole(paths.installationFile, JSON.stringify({ id: installation.id, epoch: installation.epoch }));
  // Nobody else has the embedded database, so nobody else can have its cluster.
  const claimed = await claimCluster(db, cluster, node, { engine: config.engine.kind, always: config.databaseUrl === undefined });
  const mine = claimed === "mine";
  if (claimed !== "mine" && config.cluster.chosen)
    throw new DatabaseRefused(
      "cluster_taken",
      `Cluster ${cluster} belongs to another server of this database: ${whereIs(claimed)}.`,
      "Choose another name with BERTH_CLUSTER; when that server is gone for good, `berth server claim` takes its cluster over.",
    );
  const note = claimed === "mine" ? undefined : noteOf(claimed, node);
  const secretBox = await openKeys({ db, keyFile: paths.secretsKey, cluster: mine ? cluster : undefined, log });
  if (mine) rememberCluster(paths.nodeFile, node, cluster, config.engine);
  else log.warn({ cluster, owner: claimed }, "this server drives no cluster");

  const blobs = await openBlobFolder(paths.blobs);
  const ensure = async (): ReturnType<typeof ensureEdge> => {
    const found = await ensureEdge(config, paths, installation.id, traffic, life.signal);
    work?.setDoors(traffic.doors);
    return found;
  };
  const edge = mine ? await (startingEdge ?? startEdge(installation.id)) : undefined;
  const prefix = config.registry;
  const logins = openLogins(db, secretBox);
  const engine = openEngine(config, paths, cluster, (digest) => blobs.open(digest), logins.find);
  // For what it says before a build; builds are run by the thread that works.
  const imageBuilder = openImageBuilder(config, paths, installation.id, blobs, logins);
  const probeKey = await loadProbeKey(paths.home);
  const pusher = prefix === undefined ? undefined : imageBuilder;
  const places = await createPlaces(db, mine ? { cluster, engine, traffic } : undefined, (place) =>
    openAddedPlace({ config, paths, blobs, logins, log, probeKey, pusher, installation: installation.id }, place),
  );
  if (mine) await takeOver({ db, places, cluster, installation, log }, life.signal);
  const hostsOf = mine ? hostConnector({ config, paths, log, logins, installation: installation.id, probeKey }) : undefined;
  const added =
    hostsOf === undefined
      ? undefined
      : connectAdded({
          db,
          secretBox,
          config,
          log,
          driver: cluster,
          installation: () => installation.id,
          connect: async (of, onChange) => {
            const hooks = {
              onChange,
              takeOver: async (signal: AbortSignal) => {
                await takeOver({ db, places, cluster: of.cluster, installation, log }, signal);
                for (const kind of of.kind === "docker" ? edgeWork : clusterWork)
                  await enqueue(db, { kind, key: of.cluster, cluster: of.cluster });
                await hurryFailed(db, of.cluster);
              },
            };
            if (of.kind === "docker") return hostsOf.open(of, hooks);
            const api = of.access === "unreadable" ? undefined : kubeApi(of.access, config);
            return new KubeConnection({ of, api, installation: installation.id, log, ...hooks });
          },
          onChange: (now) => {
            places.setAdded(now);
            work?.setAdded(now);
          },
        });
  const access = createAccess(db);
  const tokens = createTokenCheck(db);
  const views = createViews({ address, log });
  const events = createEventReader({ db, epoch: installation.epoch, listener });
  const buildLogs = createBuildLogs(paths.buildLogs, blobs);
  const isRoot = process.getuid?.() === 0;
  const findTool = createToolFinder(config.home, config.systemPath.split(":"));
  // What one stack's user can execute, all can.
  const builder = imageBuilder ?? createHostBuilder({ home: config.home, blobs, findTool, uidFor: () => (isRoot ? gitUser : undefined) });
  const readTree = (digest: string, signal: AbortSignal): ReturnType<typeof readSourceTree> =>
    readSourceTree(blobs, digest, filesOfInterest, signal);
  const metrics = createMetrics();
  const deps: ResourceDeps = {
    db,
    views,
    access,
    tokens,
    blobs,
    secretBox,
    places,
    addedClusters: added ?? noneAdded,
    installation: () => installation.id,
    ...(prefix === undefined ? {} : { registry: prefix }),
    clock,
    isOnOldBases: createBaseCheck(config, paths),
  };
  const gitDeps = {
    blobs,
    tmpDir: paths.tmp,
    allowedFileRoots: config.gitFileRoots,
    checkHost: createCheckHost({ allowLoopback: config.gitLoopback }),
    git: "git",
    path: config.systemPath,
    passEnv: config.networkEnv,
    runAs: isRoot ? gitUser : undefined,
    deadline: 10 * 60_000,
  };
  const router = (): { readonly host: string; readonly port: number } =>
    edge?.router ?? places.owner(places.standard)?.router ?? config.router;
  const handlers = refuseElsewhere(
    createHandlers(
      {
        ...deps,
        builderFor: (of) => places.builder(of) ?? builder,
        readSourceTree: readTree,
        staticServer: () => staticServerText(),
        buildLogs,
        events,
        receiveUpload: (stream, signal) => receiveUpload(stream, { blobs, tmpDir: paths.tmp }, signal),
        fetchGit: async (fetch, signal) => orRefusal(await fetchGit(fetch, gitDeps, signal)),
      },
      {
        id: () => installation.id,
        version: config.version,
        routerUrl: () => `http://${router().host}:${router().port}`,
        doctor: async (signal) =>
          runDoctor(
            {
              db,
              blobs,
              ...(mine ? { place: { cluster, engine, traffic } } : { elsewhere: note ?? "" }),
              config,
              paths,
              clock,
              added: addedChecks(added?.all() ?? [], (await readClusterNames(db)).called),
              ...(prefix === undefined || (imageBuilder === undefined && !buildsElsewhere(added?.all() ?? [])) || !mine
                ? {}
                : { registry: registryCheck(prefix, () => openRegistry(config, logins)) }),
              findTool: async (name) => {
                const tool = await findTool(name, "*", isRoot ? gitUser : undefined);
                return tool.ok ? `${tool.version} at ${tool.path}` : undefined;
              },
            },
            signal,
          ),
      },
    ),
    { db, access, places },
  );
  // Another server of an outside database may be in the middle of such a request; there a key that a dead one holds is free after a minute.
  if (config.databaseUrl === undefined) await freeIdempotent(db);
  const http = await createHttpServer({
    handlers,
    access,
    version: config.version,
    allowedHosts: new Set(["localhost", "127.0.0.1", "::1", config.api.host, ...config.allowedHosts]),
    newRequestId: randomUUID,
    authenticate: async (token) => {
      const verified = await tokens.verify(token, clock());
      return { principal: verified.principal, by: verified.userName };
    },
    once: idempotentOnce(db, secretBox, clock),
    metrics: () => metrics.text(),
    ready: async () => {
      await db.selectFrom("installation").select("id").executeTakeFirst();
      return undefined;
    },
    onRequest: ({ route, method, status, ms }) => {
      metrics.request(route, method, status, ms);
    },
    logError: (error, requestId) => {
      log.error({ err: error, requestId }, "a request failed");
    },
  });
  await sweepTemporary(paths);
  await sweepVolumes(paths);
  const url = await listenOn(http, config.api);
  if (mine) {
    await ensureAdminToken(db, paths.adminToken, clock());
    await announce(db, cluster, { url, router: router() });
    // The home's lock and the cluster's owner say that no other process works for this machine.
    await freeLeases(db, [cluster, ...(await openAdded(db, secretBox, cluster)).map((one) => one.cluster)]);
    for (const kind of [...edgeWork, "retention"]) await enqueue(db, { kind, key: cluster, cluster });
  }
  const work = mine
    ? thread.start(
        { config, address, installation: { id: installation.id, epoch: installation.epoch }, cluster, doors: traffic.doors },
        metrics,
      )
    : undefined;
  if (!mine) thread.dismiss();
  // Clusters that do not answer must not delay the start: they are connected meanwhile.
  await added?.refresh();
  const claim = Promise.withResolvers<never>();
  // Rejected for whoever waits for it; nobody has to.
  claim.promise.catch(() => undefined);
  work?.lost.catch(claim.reject);
  trimWhenQuiet(life.signal);
  const background = [
    ...(config.databaseUrl === undefined && !config.managed
      ? [keepEmbedded({ home: config.home, runDir: config.runDir, log, signal: life.signal })]
      : []),
    places.run(life.signal),
    ...(added === undefined ? [] : [added.run(life.signal)]),
    watchSchema({ db, program: config.version, onLost: claim.reject }, life.signal),
    ...(!mine ? [] : [watchEdge({ ensure, log }, life.signal), watchClaim({ db, cluster, node, log, onLost: claim.reject }, life.signal)]),
  ];
  options.signal.removeEventListener("abort", abandon);
  if (mine) await logKeeping(engine, log, life.signal);
  log.info({ url, cluster: mine ? cluster : undefined, edge: edge?.router, edgeStarted: edge?.started }, "ready");

  return {
    url,
    routerUrl: `http://${router().host}:${router().port}`,
    cluster: mine ? cluster : undefined,
    note,
    lost: claim.promise,
    async stop() {
      life.abort(new Error("the server is stopping"));
      await http.close();
      await work?.stop();
      await Promise.allSettled(background);
      await added?.close();
      hostsOf?.close();
      await places.close();
      await listener.close();
      await views.close();
      // A database that is away does not keep a server from ending.
      if (mine) await leaveCluster(db, cluster, node).catch(() => undefined);
      await database.close();
      await traffic.close();
      imageBuilder?.close();
      await engine.close();
    },
  };
}
