// How a server reaches the cluster that this machine is: by the sockets of its edge. Both keep nothing that matters, so that each thread has its own.
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import { createBuildkitBuilder } from "../builders/image/buildkit.ts";
import { createDockerBuilder } from "../builders/image/docker.ts";
import { loadIntoDocker } from "../builders/image/output.ts";
import { parseEndpoint } from "../docker/endpoint.ts";
import { DockerApi } from "../docker/api.ts";
import { staticServerText } from "../edge/agent/static-install.ts";
import type { Builder } from "../builders/builder.ts";
import type { AgentEngine } from "../engines/agent/engine.ts";
import { DockerEngine } from "../engines/docker/engine.ts";
import { LocalEngine } from "../engines/local/engine.ts";
import type { Paths } from "../paths.ts";

export function openTraffic(config: Config, paths: Paths, cluster: string): EdgeTraffic {
  return new EdgeTraffic({ socketPath: paths.edgeSocket, home: paths.home, cluster, router: config.router, now: Date.now });
}

export function openEngine(config: Pick<Config, "engine">, paths: Paths, cluster: string, openBlob: BlobStore["open"]): AgentEngine {
  const sockets = { agentSocket: paths.agentSocket, logsSocket: paths.logsSocket, cluster };
  return config.engine.kind === "docker"
    ? new DockerEngine(sockets)
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
): (Builder & { close(): void }) | undefined {
  const { engine, buildkit } = config;
  if (engine.kind !== "docker") return undefined;
  const api = new DockerApi(parseEndpoint(engine.docker));
  const common = {
    blobs,
    catalogue: config.images,
    labels: { "berth.installation": installation },
    staticServer: () => staticServerText(),
  };
  const builder =
    buildkit === undefined
      ? createDockerBuilder({ ...common, api, memory: config.builds.memory })
      : createBuildkitBuilder({
          ...common,
          buildkit,
          output: loadIntoDocker(api),
          folder: paths.imageBuilds,
          ...(buildkit.cacheBytes === undefined ? {} : { cacheBytes: buildkit.cacheBytes }),
        });
  return { ...builder, close: () => api.close() };
}
