// How a server reaches the cluster that this machine is: by the sockets of its edge. Both keep nothing that matters, so that each thread has its own.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import { catalogueOf, newestOf } from "../core/image/bases.ts";
import { imageRecipe } from "../core/image/recipe.ts";
import type { FindLogin } from "../core/image/reference.ts";
import type { AgentEngine } from "../engines/agent/engine.ts";
import { DockerEngine } from "../engines/docker/engine.ts";
import { LocalEngine } from "../engines/local/engine.ts";
import type { HostFacts } from "../core/hosts.ts";
import { hostSockets, type Paths } from "../paths.ts";
import type { HostPlace, OpenPlace } from "./places.ts";
import { basesFor, openHostBuilder } from "./image-builders.ts";
import type { Logins } from "./registries.ts";

export function openTraffic(config: Config, paths: Paths, cluster: string): EdgeTraffic {
  return new EdgeTraffic({ socketPath: paths.edgeSocket, home: paths.home, cluster, router: config.router, now: Date.now });
}

/** `login`: absent for whoever pulls nothing. */
export function openEngine(
  config: Pick<Config, "engine">,
  paths: Paths,
  cluster: string,
  openBlob: BlobStore["open"],
  login?: FindLogin,
): AgentEngine {
  const sockets = { agentSocket: paths.agentSocket, logsSocket: paths.logsSocket, cluster };
  return config.engine.kind === "docker"
    ? new DockerEngine({ ...sockets, swarm: config.engine.swarm, ...(login === undefined ? {} : { login }) })
    : new LocalEngine({ ...sockets, home: paths.home, openBlob: (digest) => openBlob(digest) });
}

/** How a Docker host elsewhere is reached: by the sockets that lead there. */
export function openHostTraffic(paths: Paths, { cluster, facts }: { readonly cluster: string; readonly facts: HostFacts }): EdgeTraffic {
  const { edge, dial } = hostSockets(paths, cluster);
  const router = { host: "0.0.0.0", port: facts.httpPort };
  return new EdgeTraffic({ socketPath: edge, dialSocket: dial, home: paths.home, cluster, router, now: Date.now });
}

export interface HostPlaceDeps {
  readonly config: Config;
  readonly paths: Paths;
  readonly blobs: BlobStore;
  readonly logins: Logins;
  /** Its id. */
  readonly installation: string;
}

/** All that reaches a host, and builds on it. */
export function openHostPlace(deps: HostPlaceDeps, host: HostPlace): OpenPlace {
  const { config, paths, blobs, logins, installation } = deps;
  const engine = openHostEngine(paths, host, logins.find);
  const traffic = openHostTraffic(paths, host);
  const builder = openHostBuilder({ config, paths, installation, blobs, logins }, host);
  return {
    cluster: host.cluster,
    engine,
    traffic,
    builder,
    setDoors: (doors) => traffic.setDoors(doors),
    async close() {
      builder.close();
      await Promise.all([engine.close(), traffic.close()]);
    },
  };
}

function openHostEngine(paths: Paths, { cluster, facts }: HostPlace, login: FindLogin): DockerEngine {
  const { agent, logs, dial } = hostSockets(paths, cluster);
  return new DockerEngine({ agentSocket: agent, logsSocket: logs, dialSocket: dial, cluster, swarm: facts.swarm === true, login });
}

/** For whoever only asks and stops what runs: nothing is unpacked there. */
export const noBlobs: BlobStore["open"] = () => Promise.reject(new Error("nothing is unpacked here"));

/** See `ResourceDeps.isOnOldBases`: what a plan's own recipe names, as far as it was made here. Dockerfiles of projects name theirs themselves. */
export function createBaseCheck(config: Config, paths: Paths): (plan: BuildPlan, builtAt: Date) => boolean {
  return (plan, builtAt) => {
    if (config.engine.kind !== "docker") return false;
    const bases = basesFor(config, paths);
    const outcome = bases.length === 0 ? undefined : imageRecipe(plan, catalogueOf(config.images, bases));
    if (outcome?.ok !== true) return false;
    const named = outcome.recipe.stages.flatMap(({ from, instructions }) => [
      from,
      ...instructions.flatMap((one) => (one.type === "copy" && one.from !== undefined ? one.from : [])),
    ]);
    return (newestOf(named, bases) ?? 0) > builtAt.getTime();
  };
}
