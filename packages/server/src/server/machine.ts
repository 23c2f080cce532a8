// How a server reaches the cluster that this machine is: by the sockets of its edge. Both keep nothing that matters, so that each thread has its own.
import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import { LocalEngine } from "../engines/local/engine.ts";
import type { Paths } from "../paths.ts";

export function openTraffic(config: Config, paths: Paths, cluster: string): EdgeTraffic {
  return new EdgeTraffic({ socketPath: paths.edgeSocket, home: paths.home, cluster, router: config.router, now: Date.now });
}

export function openEngine(paths: Paths, cluster: string, blobs: BlobStore): LocalEngine {
  return new LocalEngine({
    home: paths.home,
    agentSocket: paths.agentSocket,
    logsSocket: paths.logsSocket,
    openBlob: (digest) => blobs.open(digest),
    cluster,
  });
}
