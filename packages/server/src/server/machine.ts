// How a server reaches the cluster that this machine is: by the sockets of its edge. Both keep nothing that matters, so that each thread has its own.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import { createBuildahBuilder } from "../builders/image/buildah.ts";
import { createBuildkitBuilder } from "../builders/image/buildkit.ts";
import { loadIntoDocker } from "../builders/image/output.ts";
import { readBases } from "../builders/bases/record.ts";
import { buildahLacks, chooseBuilder } from "../builders/image/choice.ts";
import { createDockerBuilder } from "../builders/image/docker.ts";
import { catalogueOf, newestOf } from "../core/image/bases.ts";
import { imageRecipe } from "../core/image/recipe.ts";
import { pushing } from "../builders/image/pushing.ts";
import type { FindLogin } from "../core/image/reference.ts";
import { parseEndpoint } from "../docker/endpoint.ts";
import { DockerApi } from "../docker/api.ts";
import { standardRegistry } from "../docker/registry-auth.ts";
import { staticServerText } from "../edge/agent/static-install.ts";
import type { Builder } from "../builders/builder.ts";
import type { AgentEngine } from "../engines/agent/engine.ts";
import { DockerEngine } from "../engines/docker/engine.ts";
import { LocalEngine } from "../engines/local/engine.ts";
import type { Paths } from "../paths.ts";
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
    ? new DockerEngine({ ...sockets, ...(login === undefined ? {} : { login }) })
    : new LocalEngine({ ...sockets, home: paths.home, openBlob: (digest) => openBlob(digest) });
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
  const { engine } = config;
  if (engine.kind !== "docker") return undefined;
  const endpoint = parseEndpoint(engine.docker);
  const api = new DockerApi(endpoint);
  const builder = builderOf({ config, paths, installation, blobs, logins, api, isHere: endpoint.type === "unix" });
  return { ...pushing(builder, { api, login: logins.find, clock: () => new Date() }), close: () => api.close() };
}

function builderOf({ config, paths, installation, blobs, logins, api, isHere }: Opening): Builder {
  const { buildkit, builder } = config;
  const common = {
    blobs,
    catalogue: () => catalogueOf(config.images, basesFor(config, paths)),
    labels: { "berth.installation": installation },
    staticServer: () => staticServerText(),
  };
  if (buildkit !== undefined)
    return createBuildkitBuilder({
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
  const limits = { memory: config.builds.memory, logins: logins.readable };
  const docker = createDockerBuilder({ ...common, ...limits, api });
  if (builder.kind === "docker") return docker;
  const lacks = buildahLacks(builder.buildah);
  const buildah =
    lacks !== undefined || builder.buildah === undefined
      ? undefined
      : createBuildahBuilder({
          ...common,
          ...limits,
          ...{ api, isHere, program: builder.buildah, slirp: builder.slirp, cacheBytes: builder.cacheBytes },
          ...{ folder: paths.imageBuilds, stores: paths.imageStores, env: config.networkEnv },
        });
  return buildah !== undefined && builder.kind === "buildah" ? buildah : chooseBuilder({ api, docker, buildah, lacks });
}

interface Opening {
  readonly config: Config;
  readonly paths: Paths;
  readonly installation: string;
  readonly blobs: BlobStore;
  readonly logins: Logins;
  readonly api: DockerApi;
  /** Whether the daemon runs on this machine. */
  readonly isHere: boolean;
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
