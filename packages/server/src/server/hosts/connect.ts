// What it takes to keep a Docker host elsewhere connected, from the server's settings.
import type { Config } from "../../config.ts";
import { registryOf } from "../../core/image/reference.ts";
import type { Log } from "../../db/log.ts";
import { DockerApi } from "../../docker/api.ts";
import { parseEndpoint } from "../../docker/endpoint.ts";
import { authHeader } from "../../docker/registry-auth.ts";
import { hostSockets, type Paths } from "../../paths.ts";
import type { OpenHost } from "../../resources/clusters/store.ts";
import { openHostTraffic } from "../machine.ts";
import type { Logins } from "../registries.ts";
import { Host, type HostDeps } from "./host.ts";
import { openSockets } from "./sockets.ts";

export interface HostsDeps {
  readonly config: Config;
  readonly paths: Paths;
  readonly log: Log;
  readonly logins: Logins;
  readonly installation: string;
  /** By which the edges know this server's questions. */
  readonly probeKey: Buffer;
}

export interface HostConnector {
  open(host: OpenHost, hooks: Pick<HostDeps, "takeOver" | "onChange">): Promise<Host>;
  close(): void;
}

export function hostConnector({ config, paths, log, logins, installation, probeKey }: HostsDeps): HostConnector {
  // The image of the edge may come from this machine's own daemon.
  const own = config.engine.kind === "docker" ? new DockerApi(parseEndpoint(config.engine.docker)) : undefined;
  return {
    async open(host, hooks) {
      const { cluster, facts } = host;
      const sockets = hostSockets(paths, cluster);
      return new Host({
        ...hooks,
        host,
        settings: {
          installation,
          version: config.version,
          cluster,
          image: config.image,
          facts,
          common: {
            trustedProxies: config.trustedProxies,
            limits: config.routerLimits,
            errorDetails: config.errorDetails,
            hstsSeconds: config.hstsSeconds,
          },
        },
        sockets: await openSockets(cluster, sockets),
        pairPath: sockets.pair,
        traffic: openHostTraffic(paths, { cluster, facts }),
        install: {
          own,
          probeKey,
          auth: async (image) => {
            const login = await logins.find(registryOf(image));
            return login?.readable === true ? authHeader(login) : {};
          },
        },
        log,
      });
    },
    close: () => own?.close(),
  };
}
