// What builds images: for the cluster that this machine is, and on Docker hosts elsewhere. Whoever builds, what comes of it is pushed where that is wanted, attested,
// and told when a disk is full.
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { attesting, type AttestingDeps } from "../builders/attest/attesting.ts";
import { readImage } from "../builders/attest/imagefiles.ts";
import { publishStatements } from "../builders/attest/publish.ts";
import { readBases } from "../builders/bases/record.ts";
import type { Builder } from "../builders/builder.ts";
import { createBuildahBuilder } from "../builders/image/buildah.ts";
import { createBuildkitBuilder } from "../builders/image/buildkit.ts";
import { buildahLacks, chooseBuilder } from "../builders/image/choice.ts";
import { createDockerBuilder } from "../builders/image/docker.ts";
import { loadIntoDocker } from "../builders/image/output.ts";
import { pushing } from "../builders/image/pushing.ts";
import { tellingRoom } from "../builders/image/room.ts";
import type { HostFacts, HostTls } from "../core/hosts.ts";
import { catalogueOf } from "../core/image/bases.ts";
import { DockerApi } from "../docker/api.ts";
import { parseEndpoint } from "../docker/endpoint.ts";
import { standardRegistry } from "../docker/registry-auth.ts";
import { staticServerText } from "../edge/agent/static-install.ts";
import type { Paths } from "../paths.ts";
import { openRegistry, type Logins } from "./registries.ts";

export interface Opening {
  readonly config: Config;
  readonly paths: Paths;
  readonly installation: string;
  readonly blobs: BlobStore;
  readonly logins: Logins;
}

export type ImageBuilder = Builder & { close(): void };

/** Where instances are containers; undefined where they are processes. */
export function openImageBuilder(
  config: Config,
  paths: Paths,
  installation: string,
  blobs: BlobStore,
  logins: Logins,
): ImageBuilder | undefined {
  const { engine } = config;
  if (engine.kind !== "docker") return undefined;
  const endpoint = parseEndpoint(engine.docker);
  const api = new DockerApi(endpoint);
  const builder = builderOf({ config, paths, installation, blobs, logins }, api, endpoint.type === "unix");
  return { ...builder, close: () => api.close() };
}

/** What is built for a host is built on it, by its daemon. */
export function openHostBuilder(of: Opening, { facts, tls }: { readonly facts: HostFacts; readonly tls?: HostTls }): ImageBuilder {
  const { config, logins } = of;
  const api = new DockerApi(parseEndpoint(facts.endpoint, tls));
  const builder = createDockerBuilder({
    ...commonOf(of),
    // Base images that were made here lie on this machine.
    catalogue: () => catalogueOf(config.images, []),
    api,
    memory: config.builds.memory,
    logins: logins.readable,
  });
  return { ...delivered(builder, "docker", of, api), close: () => api.close() };
}

/** `isHere`: the daemon runs on this machine. */
function builderOf(of: Opening, api: DockerApi, isHere: boolean): Builder {
  const { config, paths, logins } = of;
  const { buildkit, builder } = config;
  const common = { ...commonOf(of), catalogue: () => catalogueOf(config.images, basesFor(config, paths)) };
  if (buildkit !== undefined) {
    const made = createBuildkitBuilder({
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
    return delivered(made, "buildkit", of, api);
  }
  const limits = { memory: config.builds.memory, logins: logins.readable };
  const docker = delivered(createDockerBuilder({ ...common, ...limits, api }), "docker", of, api);
  if (builder.kind === "docker") return docker;
  const lacks = buildahLacks(builder.buildah);
  const buildah =
    lacks !== undefined || builder.buildah === undefined
      ? undefined
      : delivered(
          createBuildahBuilder({
            ...common,
            ...limits,
            ...{ api, isHere, program: builder.buildah, slirp: builder.slirp, cacheBytes: builder.cacheBytes },
            ...{ folder: paths.imageBuilds, stores: paths.imageStores, env: config.networkEnv },
          }),
          "buildah",
          of,
          api,
        );
  return buildah !== undefined && builder.kind === "buildah" ? buildah : chooseBuilder({ api, docker, buildah, lacks });
}

/** What all builders of images are given alike. */
export function commonOf({ blobs, installation }: Opening) {
  return { blobs, labels: { "berth.installation": installation }, staticServer: () => staticServerText() };
}

function delivered(
  builder: Builder,
  name: AttestingDeps["builder"],
  { config, installation, blobs, logins }: Opening,
  api: DockerApi,
): Builder {
  const clock = (): Date => new Date();
  const attested = attesting(pushing(builder, { api, login: logins.find, clock }), {
    blobs,
    installation,
    version: config.version,
    builder: name,
    contents: (image, build, signal) => readImage(api, image, build, signal),
    publish: async (reference, statements, signal) => {
      const { client } = await openRegistry(config, logins);
      using open = client;
      return await publishStatements(open, reference, statements, signal);
    },
  });
  return tellingRoom(attested, api);
}

/** Base images that were made here, for a builder that can see them: BuildKit does not look into the daemon. */
export function basesFor({ buildkit }: Pick<Config, "buildkit">, paths: Paths): ReturnType<typeof readBases>["bases"] {
  return buildkit === undefined ? readBases(paths.bases).bases : [];
}
