// What the command line does to an installation whose server does not run: stop the rest, or reach its database.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type { Config } from "../config.ts";
import { startEmbedded, stopEmbedded } from "../db/embedded.ts";
import { silentLog } from "../db/log.ts";
import { awaitOutside } from "../db/outside.ts";
import { openDatabase, type DatabaseAddress, type Db } from "../db/pool.ts";
import type { Hello } from "../edge/ipc.ts";
import { livingRouters } from "../edge/registry.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { AgentEngine } from "../engines/agent/engine.ts";
import { EngineFailure, type Fence } from "../engines/engine.ts";
import { identify, isAlive } from "../os/process.ts";
import { noBlobs, openEngine } from "./machine.ts";
import type { Paths } from "../paths.ts";
import { StartRefused } from "./refusal.ts";

/** ms that a command waits for an outside database. */
const outsidePatience = 10_000;
/** ms that routers without a primary have to bring up the next one. */
const successorPatience = 20_000;
/** ms that the edge has to start an agent again. */
const agentPatience = 30_000;

/** Opens the installation's database for one piece of work; an embedded one that was not running runs on afterwards. */
export async function withDatabase<T>(config: Config, work: (db: Db) => Promise<T>): Promise<T> {
  if (config.databaseUrl !== undefined)
    await awaitOutside({
      url: config.databaseUrl,
      log: silentLog,
      signal: new AbortController().signal,
      patience: outsidePatience,
      onWait: (sentence) => {
        process.stderr.write(`${sentence}\n`);
      },
    });
  const address: DatabaseAddress =
    config.databaseUrl === undefined
      ? (
          await startEmbedded({
            home: config.home,
            runDir: config.runDir,
            log: silentLog,
            mustExist: existsSync(join(config.home, "installation.json")),
          })
        ).connection
      : { connectionString: config.databaseUrl };
  const database = openDatabase({ address, log: silentLog, max: 1 });
  try {
    return await work(database.db);
  } finally {
    await database.close();
  }
}

/** Stops the embedded database and, when asked to, every instance and the edge before it. */
export async function stopEverything(
  config: Config,
  paths: Paths,
  options: { readonly instances: boolean },
): Promise<{ readonly anything: boolean }> {
  let anything = false;
  if (options.instances && (existsSync(paths.edgeSocket) || livingRouters(paths.run).length > 0)) {
    const signal = AbortSignal.timeout(120_000);
    const traffic = new EdgeTraffic({
      socketPath: paths.edgeSocket,
      home: config.home,
      cluster: "local",
      router: config.router,
      now: Date.now,
    });
    const edge = await helloOrSuccessor(traffic, paths, signal);
    if (edge !== undefined) {
      anything = true;
      const process = identify(edge.pid);
      const isThere = (): boolean => process !== undefined && isAlive(process);
      await stopInstances(config, paths, signal);
      await traffic.shutdown(signal);
      // "Stopped" is said when it is: routers let their connections finish first.
      while (isThere()) await delay(50, undefined, { signal });
    }
    await traffic.close();
  }
  // Nothing to stop in a home that never had a database of its own.
  if (config.databaseUrl === undefined && existsSync(join(paths.home, "postgres")))
    anything = (await stopEmbedded(config.home)) || anything;
  return { anything };
}

/** Routers whose primary has just died bring up the next one; what is to be stopped must not come back behind our back. */
async function helloOrSuccessor(traffic: EdgeTraffic, paths: Paths, signal: AbortSignal): Promise<Hello | undefined> {
  const until = Date.now() + successorPatience;
  for (;;) {
    const edge = await traffic.hello(signal).catch(() => undefined);
    if (edge !== undefined || livingRouters(paths.run).length === 0 || Date.now() > until) return edge;
    await delay(50, undefined, { signal });
  }
}

/** One that has just died is started again by the edge, at the latest after 10 s. Errors: StartRefused. */
async function agentAnswers(engine: AgentEngine, paths: Paths, signal: AbortSignal): Promise<void> {
  const until = Date.now() + agentPatience;
  while (!(await engine.capabilities(signal)).reachable) {
    if (Date.now() > until)
      throw new StartRefused(
        "The control plane has stopped; what was deployed runs on, because the edge's agent, which watches over it, does not answer.",
        `${paths.edgeLog} says why. \`berth server stop\` without --all stops the database, too.`,
      );
    await delay(100, undefined, { signal });
  }
}

async function stopInstances(config: Config, paths: Paths, signal: AbortSignal): Promise<void> {
  const engine = openEngine(config, paths, "local", noBlobs);
  const fence = await withDatabase(config, async (db) => {
    const { id, epoch } = await db.selectFrom("installation").select(["id", "epoch"]).executeTakeFirstOrThrow();
    const { rows } = await sql<{ fence: number }>`select nextval('fences') as fence`.execute(db);
    return { installation: id, epoch, generation: rows[0]?.fence ?? 0 };
  });
  try {
    for (;;) {
      try {
        await agentAnswers(engine, paths, signal);
        await stopAll(engine, fence, signal);
        return;
      } catch (error) {
        // A connection that idled is cut, and an agent that ends is started again: what was asked may be asked once more.
        if (signal.aborted || !(error instanceof EngineFailure && error.retryable)) throw error;
        await delay(100, undefined, { signal }).catch(() => {
          throw error;
        });
      }
    }
  } finally {
    await engine.close();
  }
}

async function stopAll(engine: AgentEngine, fence: Fence, signal: AbortSignal): Promise<void> {
  for await (const observed of engine.list(signal))
    if (observed.instances.length > 0)
      await engine.stop(
        observed.ref,
        observed.instances.map((instance) => instance.id),
        10_000,
        fence,
        signal,
      );
  const left = async (): Promise<number> => {
    let count = 0;
    for await (const observed of engine.list(signal)) count += observed.instances.length;
    return count;
  };
  while ((await left()) > 0) await delay(100, undefined, { signal });
}
