// Process entry of the agent of containers, a child of the edge's primary: it stands between Berth and one Docker daemon. It may be killed at any time:
// containers run on, and the daemon starts again what crashes.
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import { BerthError } from "../../core/errors.ts";
import { DockerApi } from "../../docker/api.ts";
import { DockerError, DockerUnreachable } from "../../docker/errors.ts";
import { EngineFailure, type Capabilities } from "../../engines/engine.ts";
import { leave } from "../../os/leave.ts";
import { errorText } from "../agent/files.ts";
import { Fences } from "../agent/fences.ts";
import { listen } from "../agent/http.ts";
import { StallWatch } from "../agent/prober.ts";
import { createAgentServer } from "../agent/server.ts";
import { onEnd, sendToPrimary } from "../messages.ts";
import { sayAs } from "../complaints.ts";
import { readContainersConfig } from "./config.ts";
import { Containers } from "./containers.ts";
import { Daemon, type DaemonInfo } from "./daemon.ts";
import { Doors } from "./doors.ts";
import { beginInContainer } from "./exec.ts";
import { Networks } from "./networks.ts";
import { containerRoutes } from "./routes.ts";
import { SwarmDaemon } from "./swarm/daemon.ts";
import { ContainerTasks } from "./tasks.ts";
import { watchDaemon } from "./watch.ts";

/** ms: how often what waits for a time to pass is looked at. */
const sweepPeriod = 250;
const hour = 3_600_000;

const say = sayAs("agent");

async function main(): Promise<void> {
  const config = readContainersConfig(process.argv[2]);
  mkdirSync(config.runDir, { recursive: true });
  chmodSync(config.runDir, process.getuid?.() === 0 ? 0o711 : 0o700);
  for (const folder of ["instances", "tasks"]) mkdirSync(join(config.home, "edge", folder), { recursive: true, mode: 0o700 });
  const api = new DockerApi(config.agent.endpoint);
  const daemon = config.agent.swarm ? new SwarmDaemon(api, config.installation, say) : new Daemon(api, config.installation);
  const failure = (error: unknown): Error => failureOf(error, api.name);
  const networks = new Networks(daemon, config.agent.networks);
  const doors = new Doors(join(config.home, "edge", "stacks"), networks);
  const fences = new Fences(join(config.home, "edge", "fences"), config.installation);
  const stalls = new StallWatch(Date.now);
  const common = { daemon, networks, doors, fences, stalls, home: config.home, now: Date.now, say, failure };
  const instances = new Containers({ ...common, onReadiness: (all, full) => sendToPrimary({ type: "readiness", instances: all, full }) });
  const tasks = new ContainerTasks({ ...common, keepFor: config.agent.keepTasks });
  const routes = containerRoutes({ daemon, networks, doors, fences, instances, tasks });
  // Before it knows what there is, it would take it for missing and make it again.
  let away: Error | undefined = failure(new DockerUnreachable(api.name, new Error("it has not answered yet")));
  const server = createAgentServer({
    refusal: () => away,
    tellsAway: config.agent.swarm,
    fences,
    instances,
    tasks,
    capabilities: async () => {
      const info = await daemon.info().catch((error: unknown) => Promise.reject(failure(error)));
      if (away !== undefined && info.manager !== false) throw away;
      return capabilitiesOf(info);
    },
    beginSession: (start, events, socket) => {
      if (away !== undefined) throw away;
      const one = instances.find(start.ref, start.instance);
      if (one === undefined) throw new RangeError(`there is no instance ${start.instance}`);
      return beginInContainer(daemon, one.container, start, events, socket);
    },
    more: (key, call) => routes(key, call)?.catch((error: unknown) => Promise.reject(failure(error))),
    onError: (error) => say("call failed", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined }),
  });
  // The socket is the lock: a second agent on the same home must not watch over the same containers.
  await listen(server, join(config.runDir, "agent.sock"));
  const life = new AbortController();
  const watching = watchDaemon(
    { daemon, instances, tasks, say },
    async () => {
      await doors.reopen();
      away = undefined;
    },
    (error) => {
      // Once it knows what there is, what it last saw stays its answer.
      if (away !== undefined) away = failure(error);
    },
    life.signal,
  );
  const sweep = setInterval(() => {
    instances.look();
    tasks.look();
  }, sweepPeriod);
  const shortening = setInterval(() => tasks.shorten(), hour);
  onEnd(() => {
    life.abort();
    clearInterval(sweep);
    clearInterval(shortening);
    instances.close();
    tasks.close();
    stalls.stop();
    server.close();
    server.closeAllConnections();
    api.close();
    void watching.finally(() => leave(0));
  });
  sendToPrimary({ type: "started" });
}

/** What the planner is told: a daemon that is away is waited for, and what it refuses has its words as the reason. */
function failureOf(error: unknown, daemon: string): Error {
  if (error instanceof BerthError || error instanceof EngineFailure) return error;
  if (error instanceof DockerUnreachable)
    return new EngineFailure(cause("cluster_unreachable", { cluster: daemon, reason: error.message }), { retryable: true, cause: error });
  if (error instanceof DockerError)
    return new EngineFailure(cause("start_failed", { reason: error.message.slice(0, 300) }), { retryable: true, cause: error });
  return error instanceof Error ? error : new Error(String(error));
}

function capabilitiesOf(info: DaemonInfo): Capabilities {
  return {
    reachable: true,
    version: `${info.name} ${info.version}`,
    isolation: ["namespace", "cgroup"],
    tcp: true,
    weights: true,
    volumes: "mount",
    limits: info.limits,
    notices: info.manager === false ? [{ code: "swarm_not_manager", params: {} }] : [],
  };
}

process.on("unhandledRejection", (error) =>
  say("unhandled", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined }),
);
main().catch((error: unknown) => {
  say("agent cannot start", { error: errorText(error) });
  leave(1);
});
