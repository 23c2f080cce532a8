// How a server reaches the cluster that this machine is: by the sockets of its edge. Both keep nothing that matters, so that each thread has its own.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import { attesting } from "../builders/attest/attesting.ts";
import { readImage } from "../builders/attest/imagefiles.ts";
import { publishStatements } from "../builders/attest/publish.ts";
import { createBuildkitBuilder } from "../builders/image/buildkit.ts";
import { loadIntoDocker } from "../builders/image/output.ts";
import { readBases } from "../builders/bases/record.ts";
import { createDockerBuilder } from "../builders/image/docker.ts";
import { catalogueOf, newestOf } from "../core/image/bases.ts";
import { imageRecipe } from "../core/image/recipe.ts";
import { pushing } from "../builders/image/pushing.ts";
import { tellingRoom } from "../builders/image/room.ts";
import type { FindLogin } from "../core/image/reference.ts";
import { parseEndpoint } from "../docker/endpoint.ts";
import { DockerApi } from "../docker/api.ts";
import { standardRegistry } from "../docker/registry-auth.ts";
import { staticServerText } from "../edge/agent/static-install.ts";
import type { Builder } from "../builders/builder.ts";
import type { AgentEngine } from "../engines/agent/engine.ts";
import { DockerEngine } from "../engines/docker/engine.ts";
import { LocalEngine } from "../engines/local/engine.ts";
import type { HostFacts, HostTls } from "../core/hosts.ts";
import { hostSockets, type Paths } from "../paths.ts";
import type { HostPlace, OpenPlace } from "./places.ts";
import { openRegistry, type Logins } from "./registries.ts";

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
    ? new DockerEngine({ ...sockets, ...(login === undefined ? {} : { login }) })
    : new LocalEngine({ ...sockets, home: paths.home, openBlob: (digest) => openBlob(digest) });
}

/** How a Docker host elsewhere is reached: by the sockets that lead there. */
export function openHostTraffic(paths: Paths, { cluster, facts }: { readonly cluster: string; readonly facts: HostFacts }): EdgeTraffic {
  const { edge, dial } = hostSockets(paths, cluster);
  const router = { host: "0.0.0.0", port: facts.httpPort };
  return new EdgeTraffic({ socketPath: edge, dialSocket: dial, home: paths.home, cluster, router, now: Date.now });
}

/** All that reaches a host, and builds on it. */
export function openHostPlace(
  deps: { readonly config: Config; readonly paths: Paths; readonly blobs: BlobStore; readonly logins: Logins },
  installation: string,
  host: HostPlace,
): OpenPlace & { readonly builder: Builder } {
  const { config, paths, blobs, logins } = deps;
  const engine = openHostEngine(paths, host.cluster, logins.find);
  const traffic = openHostTraffic(paths, host);
  const builder = openHostBuilder(config, installation, host, blobs, logins);
  return {
    cluster: host.cluster,
    engine,
    traffic,
    builder,
    async close() {
      builder.close();
      await Promise.all([engine.close(), traffic.close()]);
    },
  };
}

function openHostEngine(paths: Paths, cluster: string, login: FindLogin): DockerEngine {
  const { agent, logs, dial } = hostSockets(paths, cluster);
  return new DockerEngine({ agentSocket: agent, logsSocket: logs, dialSocket: dial, cluster, login });
}

/** What is built for a host is built on it, by its daemon. */
function openHostBuilder(
  config: Config,
  installation: string,
  { facts, tls }: { readonly facts: HostFacts; readonly tls?: HostTls },
  blobs: BlobStore,
  logins: Logins,
): Builder & { close(): void } {
  const api = new DockerApi(parseEndpoint(facts.endpoint, tls));
  const builder = createDockerBuilder({
    blobs,
    // Base images that were made here lie on this machine.
    catalogue: () => catalogueOf(config.images, []),
    labels: { "berth.installation": installation },
    staticServer: () => staticServerText(),
    api,
    memory: config.builds.memory,
    logins: logins.readable,
  });
  return { ...pushing(builder, { api, login: logins.find, clock: () => new Date() }), close: () => api.close() };
}

/** For whoever only asks and stops what runs: nothing is unpacked there. */
export const noBlobs: BlobStore["open"] = () => Promise.reject(new Error("nothing is unpacked here"));

/** The builder of images where instances are containers; undefined where they are processes. */
export function openImageBuilder(
  config: Config,
  paths: Paths,
  installation: string,
  blobs: BlobStore,
  logins: Logins,
): (Builder & { close(): void }) | undefined {
  const { engine, buildkit } = config;
  if (engine.kind !== "docker") return undefined;
  const api = new DockerApi(parseEndpoint(engine.docker));
  const common = {
    blobs,
    catalogue: () => catalogueOf(config.images, basesFor(config, paths)),
    labels: { "berth.installation": installation },
    staticServer: () => staticServerText(),
  };
  const builder =
    buildkit === undefined
      ? createDockerBuilder({ ...common, api, memory: config.builds.memory, logins: logins.readable })
      : createBuildkitBuilder({
          ...common,
          buildkit,
          output: loadIntoDocker(api),
          logins: async (signal) => {
            const all = await logins.readable();
            return { all, standard: all.length === 0 ? "" : await standardRegistry(api, signal) };
          },
          folder: paths.imageBuilds,
          ...(buildkit.cacheBytes === undefined ? {} : { cacheBytes: buildkit.cacheBytes }),
        });
  const clock = (): Date => new Date();
  const attested = attesting(pushing(builder, { api, login: logins.find, clock }), {
    blobs,
    clock,
    installation,
    version: config.version,
    builder: buildkit === undefined ? "docker" : "buildkit",
    contents: (image, build, signal) => readImage(api, image, build, signal),
    publish: async (reference, statements, signal) => {
      const { client } = await openRegistry(config, logins);
      using open = client;
      return await publishStatements(open, reference, statements, signal);
    },
  });
  return { ...tellingRoom(attested, api), close: () => api.close() };
}

/** Base images that were made here, for a builder that can see them: BuildKit does not look into the daemon. */
function basesFor({ buildkit }: Config, paths: Paths): ReturnType<typeof readBases>["bases"] {
  return buildkit === undefined ? readBases(paths.bases).bases : [];
}

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
