// Clusters: configured places that an engine drives.
import { Type, type Static } from "typebox";
import { Instant, Name } from "../names.ts";
import { Page, type Route } from "../route.ts";

export const Cluster = Type.Object({ name: Name, engine: Type.Union([Type.Literal("local"), Type.Literal("docker"), Type.Literal("kubernetes")]), reachable: Type.Boolean(), version: Type.String(), isolation: Type.Array(Type.String()), capabilities: Type.Record(Type.String(), Type.Unknown()), stacks: Type.Integer(), createdAt: Instant }, { additionalProperties: false, $id: "Cluster" });
export type Cluster = Static<typeof Cluster>;

export const clusterRoutes = {
  listClusters: { method: "GET", path: "/clusters", summary: "List clusters", kind: "json", access: "signed-in", response: Page(Cluster) },
  showCluster: { method: "GET", path: "/clusters/:cluster", summary: "Show a cluster", kind: "json", access: "signed-in", params: Type.Object({ cluster: Name }, { additionalProperties: false }), response: Cluster },
} as const satisfies Record<string, Route>;
