// HTTP face of clusters.
import type { clusterRoutes } from "@berth/contract/resources/clusters.ts";
import type { HandlersOf } from "../call.ts";
import type { ClusterService } from "./service.ts";

export function clusterHandlers(clusters: ClusterService): HandlersOf<typeof clusterRoutes> {
  return {
    listClusters: ({ query }, call) => clusters.list(call, query),
    showCluster: ({ params }, call) => clusters.show(call, params.cluster),
  };
}
