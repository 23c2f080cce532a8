// Clusters: configured places that an engine drives.
import { Type, type Static } from "typebox";
import { Instant, Name } from "../names.ts";
import { lists } from "../lists.ts";
import { ListQuery, Page, type Route } from "../route.ts";

const EngineKind = Type.Union([Type.Literal("local"), Type.Literal("docker"), Type.Literal("kubernetes")]);
export const Cluster = Type.Object(
  {
    name: Name,
    engine: EngineKind,
    reachable: Type.Boolean(),
    version: Type.String(),
    isolation: Type.Array(Type.String()),
    capabilities: Type.Record(Type.String(), Type.Unknown()),
    stacks: Type.Integer(),
    createdAt: Instant,
  },
  { additionalProperties: false, $id: "Cluster" },
);
export type Cluster = Static<typeof Cluster>;

export const clusterRoutes = {
  listClusters: {
    method: "GET",
    path: "/clusters",
    summary: "List clusters",
    kind: "json",
    access: "signed-in",
    list: lists.clusters,
    query: ListQuery(lists.clusters, { engine: Type.Optional(EngineKind) }),
    response: Page(Cluster),
  },
  showCluster: {
    method: "GET",
    path: "/clusters/:cluster",
    summary: "Show a cluster",
    kind: "json",
    access: "signed-in",
    params: Type.Object({ cluster: Name }, { additionalProperties: false }),
    response: Cluster,
  },
} as const satisfies Record<string, Route>;
