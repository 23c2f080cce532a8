// HTTP face of clusters.
import type { clusterRoutes } from "@berth/contract/resources/clusters.ts";
import type { HandlersOf } from "../call.ts";
import type { ClusterService } from "./service.ts";

export function clusterHandlers(clusters: ClusterService): HandlersOf<typeof clusterRoutes> {
  return {
    listClusters: ({ query }, call) => clusters.list(call, query),
    showCluster: ({ params }, call) => clusters.show(call, params.cluster),
    addCluster: ({ body }, call) => clusters.add(call, body),
    changeCluster: ({ params, body }, call) => clusters.change(call, params.cluster, body),
    removeCluster: async ({ params, query }, call) => {
      await clusters.remove(call, params.cluster, query);
      return {};
    },
  };
}
