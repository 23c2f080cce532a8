// Starts the edge when it does not run. The edge is a process of its own that a stop of the control plane leaves alone (promise 2).
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import { nodeFlags, ownProcess } from "../core/hardened.ts";
import semver from "semver";
import { edgeBuild } from "../edge/build.ts";
import type { Hello } from "../edge/ipc.ts";
import { livingRouters } from "../edge/registry.ts";
import type { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { Config } from "../config.ts";
import type { Paths } from "../paths.ts";
import { niceSession } from "../os/priority.ts";
import { writeWhole } from "../os/files.ts";
import { StartRefused } from "./refusal.ts";

export interface EdgeStart {
  readonly started: boolean;
  readonly router: { readonly host: string; readonly port: number };
}

/** The edge's entry: beside this file in the bundle, below `src` in a checkout. */
export function edgeEntry(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = join(here, "edge.js");
  return existsSync(bundled) ? bundled : join(here, "..", "edge", "main.ts");
}

/** ms that an edge has to answer which came up, for another reason, while one was started here. */
const patience = 5_000;
/** ms that one has to come up: it is four programs, on a machine that may be busy. One that ends is told at once. */
const startPatience = 60_000;

/** Makes sure that the edge runs and obeys this installation. Throws with the end of its log when it does not come up. */
export async function ensureEdge(
  config: Config,
  paths: Paths,
  installation: string,
  traffic: EdgeTraffic,
  signal: AbortSignal,
): Promise<EdgeStart> {
  refuseOtherKind(config, paths);
  const running = await hello(traffic, signal);
  if (running !== undefined) return { started: false, router: running.router };
  if (config.managed) return awaitEdge(paths, traffic, signal);
  writeEdgeConfig(config, paths, installation);
  const before = statSync(paths.edgeLog, { throwIfNoEntry: false })?.size ?? 0;
  const log = openSync(paths.edgeLog, "a", 0o600);
  const { command, args } = ownProcess(process.execPath, [...nodeFlags, edgeEntry(), paths.edgeConfig]);
  const child = spawn(command, args, { detached: true, stdio: ["ignore", log, log], env: config.childEnv, cwd: paths.home });
  niceSession(child.pid, -10);
  const ended = new Promise<string>((resolve) => {
    child
      .once("exit", (code, by) => {
        resolve(`it ended with ${by ?? `exit code ${code}`}`);
      })
      .once("error", (error) => {
        resolve(error.message);
      });
  });
  closeSync(log);
  child.unref();
  const until = Date.now() + startPatience;
  for (;;) {
    const answer = await hello(traffic, signal);
    if (answer !== undefined) return { started: true, router: answer.router };
    const failed = await Promise.race([ended, delay(25, undefined, { signal })]);
    // Routers whose primary died bring up the next one themselves, and are first.
    const another =
      failed === undefined ? undefined : await helloWithin(patience, traffic, signal, () => livingRouters(paths.run).length > 0);
    if (another !== undefined) return { started: false, router: another.router };
    if (failed !== undefined || Date.now() > until)
      throw refusal(
        failed ?? `no answer within ${startPatience / 1000} s`,
        readFileSync(paths.edgeLog, "utf8").slice(before),
        config,
        paths,
      );
  }
}

/**
 * Has this program's edge take the place of one that runs and is older, or another build of the same version, without a refused or broken connection.
 * Returns undefined when there is nothing to do. Throws when it cannot; the old one goes on then.
 */
export async function renewEdge(
  config: Config,
  paths: Paths,
  installation: string,
  traffic: EdgeTraffic,
  signal: AbortSignal,
): Promise<{ readonly from: string } | undefined> {
  const running = await hello(traffic, signal);
  // One that does not know its build cannot hand over either.
  if (running?.build === undefined || semver.gt(running.version, config.version)) return undefined;
  if (running.version === config.version && running.build === edgeBuild(edgeEntry())) return undefined;
  await upgradeEdge(config, paths, installation, traffic, signal);
  return { from: running.version };
}

/** Replaces the whole edge by this program's. Throws when it cannot; the old one goes on then. */
export async function upgradeEdge(
  config: Config,
  paths: Paths,
  installation: string,
  traffic: EdgeTraffic,
  signal: AbortSignal,
): Promise<void> {
  const before = await traffic.hello(signal);
  writeEdgeConfig(config, paths, installation);
  await traffic.upgrade({ node: process.execPath, entry: edgeEntry() }, signal);
  const after = await helloWithin(
    upgradePatience,
    traffic,
    signal,
    () => true,
    ({ pid }) => pid !== before.pid,
  );
  if (after === undefined) throw new StartRefused("Another edge took over and does not answer.", `Its log is ${paths.edgeLog}.`);
}

/** ms from the moment that the new routers accept until the new primary answers. */
const upgradePatience = 30_000;

async function helloWithin(
  ms: number,
  traffic: EdgeTraffic,
  signal: AbortSignal,
  isHopeful: () => boolean,
  isRight: (answer: Hello) => boolean = () => true,
): Promise<Hello | undefined> {
  const until = Date.now() + ms;
  for (;;) {
    const answer = await hello(traffic, signal);
    if (answer !== undefined && isRight(answer)) return answer;
    if (Date.now() > until || !isHopeful()) return undefined;
    await delay(25, undefined, { signal });
  }
}

/** Containers and services of a Swarm do not take over from each other: a home is of one of them for good. */
function refuseOtherKind({ engine }: Config, paths: Paths): void {
  if (engine.kind !== "docker" || !existsSync(paths.edgeConfig)) return;
  const before = JSON.parse(readFileSync(paths.edgeConfig, "utf8")) as { engine?: string; agent?: { swarm?: boolean } };
  const wasSwarm = before.agent?.swarm === true;
  if (before.engine !== "docker" || wasSwarm === engine.swarm) return;
  throw new StartRefused(
    `What runs here are ${wasSwarm ? "services of a Swarm" : "containers of one daemon"}, and stays that.`,
    `Start the server ${wasSwarm ? "with BERTH_SWARM=1" : "without BERTH_SWARM"}, or with another home folder (BERTH_HOME).`,
  );
}

/** What the edge reads when it starts. */
export function writeEdgeConfig(config: Config, paths: Paths, installation: string): void {
  mkdirSync(dirname(paths.edgeConfig), { recursive: true, mode: 0o711 });
  mkdirSync(dirname(paths.edgeLog), { recursive: true, mode: 0o700 });
  writeWhole(
    paths.edgeConfig,
    JSON.stringify({
      home: paths.home,
      runDir: paths.run,
      installation,
      version: config.version,
      router: { host: config.router.host, port: config.router.port, portIsDefault: config.router.portIsDefault },
      https: config.https,
      trustedProxies: config.trustedProxies,
      limits: config.routerLimits,
      errorDetails: config.errorDetails,
      hstsSeconds: config.hstsSeconds,
      workers: Math.max(2, availableParallelism()),
      engine: config.engine.kind,
      agent:
        config.engine.kind === "docker"
          ? {
              docker: config.engine.docker,
              swarm: config.engine.swarm,
              ...(config.networks === undefined ? {} : { networks: config.networks }),
            }
          : { sandbox: config.sandbox, cgroups: config.cgroups },
    }),
  );
}

/** For where a service manager runs the edge: waits for it, and never starts one. */
export async function awaitEdge(paths: Paths, traffic: EdgeTraffic, signal: AbortSignal): Promise<EdgeStart> {
  for (const until = Date.now() + 30_000; Date.now() < until; await delay(50, undefined, { signal })) {
    const answer = await hello(traffic, signal);
    if (answer !== undefined) return { started: false, router: answer.router };
  }
  throw new StartRefused(
    `No edge answers at ${paths.edgeSocket}, and a service of its own is to run it here.`,
    "Look at that service: `systemctl status berth-edge`.",
  );
}

/** The edge's last words say why; a port is the one thing that the person at the keyboard can choose. */
function refusal(how: string, said: string, config: Config, paths: Paths): StartRefused {
  const words = /^\{"name":"edge","level":60,.*"msg":"((?:[^"\\]|\\.)*)"\}$/.exec(said.trimEnd().split("\n").at(-1) ?? "")?.[1] ?? how;
  const hint =
    /port/i.test(words) || words.includes("cannot listen")
      ? `Set BERTH_ROUTER_PORT (now ${config.router.port}) or BERTH_ROUTER_HOST, or stop what listens there.`
      : `Its log is ${paths.edgeLog}.`;
  return new StartRefused(`The edge did not come up: ${words}.`, hint);
}

async function hello(traffic: EdgeTraffic, signal: AbortSignal): Promise<Hello | undefined> {
  try {
    return await traffic.hello(signal);
  } catch (error) {
    signal.throwIfAborted();
    // Not running and not yet listening look the same; both end by starting or by waiting.
    if ((error as { code?: unknown }).code === "engine_unavailable") return undefined;
    throw error;
  }
}
