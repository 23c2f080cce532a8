// How a server reaches the cluster that this machine is: by the sockets of its edge. Both keep nothing that matters, so that each thread has its own.
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import { createDockerBuilder } from "../builders/image/docker.ts";
import { pushing } from "../builders/image/pushing.ts";
import type { FindLogin } from "../core/image/reference.ts";
import { parseEndpoint } from "../docker/endpoint.ts";
import { DockerApi } from "../docker/api.ts";
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
  installation: string,
  blobs: BlobStore,
  logins: Logins,
): (Builder & { close(): void }) | undefined {
  if (config.engine.kind !== "docker") return undefined;
  const api = new DockerApi(parseEndpoint(config.engine.docker));
  const builder = createDockerBuilder({
    api,
    blobs,
    catalogue: config.images,
    labels: { "berth.installation": installation },
    staticServer: () => staticServerText(),
    memory: config.builds.memory,
    logins: logins.readable,
  });
  return { ...pushing(builder, { api, login: logins.find, clock: () => new Date() }), close: () => api.close() };
}
