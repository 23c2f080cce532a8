// The composition root: the only place that constructs things. Everything gets what it needs as an argument; nothing is reached for globally.
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import pino from "pino";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import { openBlobFolder } from "./blobs/folder.ts";
import { createHostBuilder } from "./builders/host/build.ts";
import { createCheckHost } from "./builders/source/egress.ts";
import { fetchGit, orRefusal } from "./builders/source/git.ts";
import { readSourceTree } from "./builders/source/tree.ts";
import { receiveUpload } from "./builders/source/upload.ts";
import type { Config } from "./config.ts";
import { filesOfInterest } from "./core/buildplan/interest.ts";
import { keepEmbedded, startEmbedded } from "./db/embedded.ts";
import { createEventReader } from "./db/events.ts";
import { removeOldIdempotency } from "./db/idempotency.ts";
import { ensureInstallation } from "./db/installation.ts";
import { createListener } from "./db/listen.ts";
import { migrate } from "./db/migrate.ts";
import { createAccess } from "./db/permissions.ts";
import { openDatabase, type DatabaseAddress } from "./db/pool.ts";
import { openSecretBox } from "./db/secretbox.ts";
import { verifyToken } from "./db/tokens.ts";
import { EdgeTraffic } from "./engines/edge-traffic.ts";
import { LocalEngine } from "./engines/local/engine.ts";
import { idempotentOnce } from "./http/once.ts";
import { createHttpServer } from "./http/server.ts";
import { pathsOf } from "./paths.ts";
import { enqueue, freeLeases } from "./reconcile/queue.ts";
import { createBuildLogs } from "./resources/builds/log.ts";
import type { ResourceDeps } from "./resources/deps.ts";
import { createHandlers } from "./resources/handlers.ts";
import { ensureAdminToken } from "./server/admin-token.ts";
import { createBuildUsers, gitUser } from "./server/build-users.ts";
import { runDoctor } from "./server/doctor.ts";
import { ensureEdge, writeAtomically } from "./server/edge-process.ts";
import { watchEdge } from "./server/edge-watch.ts";
import { createHints } from "./server/hints.ts";
import { listenOn } from "./server/listen.ts";
import { startLoops } from "./server/loops.ts";
import { runSealer } from "./server/sealer.ts";
import { createToolFinder } from "./server/tools.ts";

export interface App {
  readonly url: string;
  readonly routerUrl: string;
  /** Stops the control plane; what runs, the edge and the database go on. */
  stop(): Promise<void>;
}

/** Migrations lie beside the bundle, or in the package in a checkout. */
export function migrationsFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = join(here, "migrations");
  return existsSync(bundled) ? bundled : join(here, "..", "migrations");
}

export async function startApp(config: Config): Promise<App> {
  const paths = pathsOf(config.home, config.runDir);
  for (const folder of [paths.home, paths.run]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  for (const folder of [paths.tmp, paths.buildLogs]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const log = pino({ name: "server", level: config.logLevel, timestamp: pino.stdTimeFunctions.isoTime });
  const life = new AbortController();
  const clock = (): Date => new Date();

  const remembered = existsSync(paths.installationFile) ? (JSON.parse(readFileSync(paths.installationFile, "utf8")) as { id: string; epoch: number }) : undefined;
  const traffic = new EdgeTraffic({ socketPath: paths.edgeSocket, home: config.home, cluster: "local", router: config.router, now: Date.now });
  // The home knows its installation: its edge comes up while the database does. It belongs to the home, whatever the database turns out to be.
  const startingEdge = remembered === undefined ? undefined : ensureEdge(config, paths, remembered.id, traffic, life.signal);
  // Awaited below; a database that is refused meanwhile is the error to tell.
  startingEdge?.catch(() => undefined);
  const address: DatabaseAddress = config.databaseUrl === undefined ? (await startEmbedded({ home: config.home, runDir: config.runDir, log })).connection : { connectionString: config.databaseUrl };
  await migrate({ address, folder: migrationsFolder(), program: config.version, log });
  const database = openDatabase({ address, log });
  const { db } = database;
  const listener = createListener({ address, log });
  const { found, installation } = await ensureInstallation(db, remembered);
  if (found === "other") throw new Error(`The home folder belongs to installation ${remembered?.id}, the database to ${installation.id}. Use the home that belongs to this database, or an empty one.`);
  writeAtomically(paths.installationFile, JSON.stringify({ id: installation.id, epoch: installation.epoch }));
  await db.insertInto("clusters").values({ name: "local", engine: "local" }).onConflict((conflict) => conflict.column("name").doNothing()).execute();

  const blobs = await openBlobFolder(paths.blobs);
  const edge = await (startingEdge ?? ensureEdge(config, paths, installation.id, traffic, life.signal));
  const engine = new LocalEngine({ home: config.home, agentSocket: paths.agentSocket, logsSocket: paths.logsSocket, openBlob: (digest) => blobs.open(digest), cluster: "local" });
  const places = { engine: () => engine, traffic: () => traffic };
  const secretBox = openSecretBox(paths.secretsKey);
  const access = createAccess(db);
  const events = createEventReader({ db, epoch: installation.epoch, listener });
  const buildLogs = createBuildLogs(paths.buildLogs, blobs);
  const isRoot = process.getuid?.() === 0;
  const findTool = createToolFinder(config.home, config.systemPath.split(":"));
  const builder = createHostBuilder({ home: config.home, blobs, findTool, uidFor: createBuildUsers(join(config.home, "build-users.json"), isRoot), clock, systemPath: config.systemPath, passEnv: config.networkEnv });
  const readTree = (digest: string, signal: AbortSignal): ReturnType<typeof readSourceTree> => readSourceTree(blobs, digest, filesOfInterest, signal);
  const hints = createHints({ db, engine, cluster: "local", log });

  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "berth_server_" });
  const requests = new Histogram({ name: "berth_api_request_seconds", help: "Duration of API requests.", labelNames: ["route", "method", "status"], buckets: [0.005, 0.02, 0.1, 0.5, 2, 10], registers: [registry] });
  const repairs = new Counter({ name: "berth_repairs_total", help: "Drift that was repaired; stays flat when all is well.", labelNames: ["what"], registers: [registry] });
  const rows = new Counter({ name: "berth_loop_rows_total", help: "Rows that the reconcile loops worked on.", labelNames: ["kind", "outcome"], registers: [registry] });
  const unknown = new Gauge({ name: "berth_unknown_objects", help: "Objects of this installation that the database does not know.", labelNames: ["cluster"], registers: [registry] });

  const deps: ResourceDeps = { db, access, blobs, secretBox, places, clock };
  const gitDeps = { blobs, tmpDir: paths.tmp, allowedFileRoots: config.gitFileRoots, checkHost: createCheckHost({ allowLoopback: config.gitLoopback }), git: "git", path: config.systemPath, passEnv: config.networkEnv, runAs: isRoot ? gitUser : undefined, deadline: 10 * 60_000 };
  const handlers = createHandlers({
    ...deps, builder, readSourceTree: readTree, buildLogs, events,
    receiveUpload: (stream, signal) => receiveUpload(stream, { blobs, tmpDir: paths.tmp }, signal),
    fetchGit: async (fetch, signal) => orRefusal(await fetchGit(fetch, gitDeps, signal)),
  }, {
    id: () => installation.id, version: config.version, routerUrl: () => `http://${edge.router.host}:${edge.router.port}`,
    doctor: (signal) => runDoctor({ db, engine, traffic, config, paths, findTool: async (name) => { const tool = await findTool(name, "*", isRoot ? gitUser : undefined); return tool.ok ? `${tool.version} at ${tool.path}` : undefined; } }, signal),
  });
  const http = await createHttpServer({
    handlers, access, version: config.version, allowedHosts: new Set(["localhost", "127.0.0.1", "::1", config.api.host, ...config.allowedHosts]), newRequestId: randomUUID,
    authenticate: async (token) => { const verified = await verifyToken(db, token, clock()); return { principal: verified.principal, by: verified.userName }; },
    once: idempotentOnce(db, clock),
    metrics: () => registry.metrics(),
    ready: async () => { await db.selectFrom("installation").select("id").executeTakeFirst(); return undefined; },
    onRequest: ({ route, method, status, ms }) => { requests.observe({ route, method, status }, ms / 1000); },
    logError: (error, requestId) => { log.error({ err: error, requestId }, "a request failed"); },
  });
  const url = await listenOn(http, config.api);
  await ensureAdminToken(db, paths.adminToken, clock());

  await builder.sweep(() => false);
  // The home's lock says that no other process works for this machine.
  await freeLeases(db, ["local"]);
  for (const kind of ["resync", "build-schedule"]) await enqueue(db, { kind, key: "local", cluster: "local" });
  await enqueue(db, { kind: "retention", key: "installation", cluster: "local" });
  const loops = startLoops({
    db, log, listener, holder: `${process.pid}-${randomUUID()}`, clusters: ["local"], blobs,
    metrics: { ended: (kind, outcome) => { rows.inc({ kind, outcome }); } },
    component: { db, places, secretBox, clock, installation: () => installation, waitForHint: hints.waitForHint, countRepair: (_stack, _component, what) => { repairs.inc({ what }); } },
    build: { db, builder, logs: buildLogs, readSourceTree: readTree, clock, limits: config.builds, deadline: config.builds.deadline },
    resync: { db, places, countDrift: (_cluster, what) => { repairs.inc({ what: `drift of ${what}` }); }, reportUnknown: (cluster, refs) => { unknown.set({ cluster }, refs.length); log.warn({ cluster, refs }, "objects of this installation are not in the database; they are left alone"); } },
    housekeeping: async () => { await removeOldIdempotency(db, clock()); },
  });
  const background = [
    ...(config.databaseUrl === undefined ? [keepEmbedded({ home: config.home, runDir: config.runDir, log, signal: life.signal })] : []),
    hints.run(life.signal),
    runSealer({ db, keyFile: paths.auditKey, epoch: installation.epoch, log }, life.signal),
    watchEdge({ ensure: () => ensureEdge(config, paths, installation.id, traffic, life.signal), log }, life.signal),
  ];
  writeAtomically(paths.serverFile, JSON.stringify({ pid: process.pid, url, version: config.version }), 0o644);
  log.info({ url, edge: edge.router, edgeStarted: edge.started }, "ready");

  return {
    url, routerUrl: `http://${edge.router.host}:${edge.router.port}`,
    async stop() {
      life.abort(new Error("the server is stopping"));
      await http.close();
      await loops.stop();
      await Promise.allSettled(background);
      await listener.close();
      await database.close();
      await traffic.close();
      await engine.close();
    },
  };
}
