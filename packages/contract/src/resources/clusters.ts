// Clusters: configured places that an engine drives.
import { Type, type Static } from "typebox";
import { ClusterName, Instant, Name, Text } from "../names.ts";
import { lists } from "../lists.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";

const EngineKind = Type.Union([Type.Literal("local"), Type.Literal("docker"), Type.Literal("kubernetes")]);
const PublicPort = Type.Integer({ minimum: 1, maximum: 65_535 });
const AbsolutePath = Text(80, { pattern: "^/[A-Za-z0-9._/-]+$" });
const Pem = Text(65_536, { pattern: "-----BEGIN " });

/** A Docker host elsewhere. */
export const ClusterHost = Type.Object(
  {
    endpoint: Type.String({ description: "Where its daemon listens, as in DOCKER_HOST." }),
    connected: Type.Boolean({ description: "Its edge answers, and work for it goes on." }),
    reason: Type.Optional(Type.String({ description: "Why it is not connected." })),
    since: Type.Optional(Instant),
    edgeVersion: Type.Optional(Type.String()),
    httpPort: Type.Integer(),
    httpsPort: Type.Integer(),
    home: Type.String({ description: "The edge's folder there." }),
  },
  { additionalProperties: false },
);
export type ClusterHost = Static<typeof ClusterHost>;

const BuilderMode = Type.Union([Type.Literal("rootless"), Type.Literal("privileged")], {
  description:
    "rootless: without any right on its node; privileged: as root there, where the cluster's nodes let nobody else make namespaces.",
});

/** What builds images inside of a Kubernetes cluster. */
export const ClusterBuilder = Type.Object(
  {
    mode: BuilderMode,
    image: Type.String({ description: "Of BuildKit; the cluster's nodes pull it." }),
    cacheGb: Type.Integer({ description: "Of its volume; 0: it keeps its cache on its node, for as long as its pod lives." }),
  },
  { additionalProperties: false },
);
export type ClusterBuilder = Static<typeof ClusterBuilder>;

/** The same, as somebody asks for it. */
export const NewClusterBuilder = Type.Object(
  {
    mode: BuilderMode,
    image: Type.Optional(
      Text(400, {
        pattern: "^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
        description: "Of BuildKit; if left out, the one that its makers publish for the mode.",
      }),
    ),
    cacheGb: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_536,
        description: "Of its volume; 20 if left out. 0: no volume, the cache goes with the pod.",
      }),
    ),
  },
  { additionalProperties: false },
);
export type NewClusterBuilder = Static<typeof NewClusterBuilder>;

/** A Kubernetes cluster. */
export const ClusterKubernetes = Type.Object(
  {
    server: Type.String({ description: "Of its API." }),
    context: Type.String({ description: "Of the kubeconfig; `in-cluster` for the service account of the pod that Berth runs in." }),
    gateway: Type.String({ description: "The Gateway that routes are attached to: namespace/name." }),
    address: Type.String({ description: "Where the gateway takes requests: host:port." }),
    builder: Type.Optional(ClusterBuilder),
    connected: Type.Boolean({ description: "Its API answers, and work for it goes on." }),
    reason: Type.Optional(Type.String({ description: "Why it is not connected." })),
    since: Type.Optional(Instant),
  },
  { additionalProperties: false },
);
export type ClusterKubernetes = Static<typeof ClusterKubernetes>;

/** How a Kubernetes cluster is reached and used. */
export const NewKubernetes = Type.Object(
  {
    kubeconfig: Type.Optional(
      Text(524_288, {
        description:
          "With certificates and tokens inline, as `kubectl config view --minify --flatten` writes it. Left out: the service account of the pod that Berth runs in.",
      }),
    ),
    context: Type.Optional(Text(200, { description: "Of the kubeconfig; its current one if left out." })),
    gateway: Type.Optional(
      Text(320, {
        pattern: "^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*$",
        description: "The Gateway that routes are attached to, namespace/name. Left out only where there is one.",
      }),
    ),
    address: Type.Optional(
      Text(260, {
        pattern: "^(?:\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?$",
        description: "Where the gateway takes requests, host:port, if its status does not say so.",
      }),
    ),
    builder: Type.Optional(NewClusterBuilder),
  },
  { additionalProperties: false },
);
export type NewKubernetes = Static<typeof NewKubernetes>;

/** How a Kubernetes cluster that is known is reached from now on: its certificate or token has expired, or its address or authority is another one. */
export const RenewedKubernetes = Type.Pick(NewKubernetes, ["kubeconfig", "context"]);
export type RenewedKubernetes = Static<typeof RenewedKubernetes>;

/** How a Docker host elsewhere or a Kubernetes cluster is reached and used: one of both. */
export const NewCluster = Type.Object(
  {
    name: Name,
    endpoint: Type.Optional(
      Text(300, {
        pattern: "^(?:unix:///|tcp://)",
        description: "Of a Docker host, as in DOCKER_HOST: tcp://docker.example:2376, or unix:///path.",
      }),
    ),
    kubernetes: Type.Optional(NewKubernetes),
    ca: Type.Optional(Pem),
    cert: Type.Optional(Pem),
    key: Type.Optional(Pem),
    domain: Type.Optional(
      Type.String({
        maxLength: 200,
        pattern: "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$",
        description:
          "Components without a host of their own are reached at <component>.<stack>.<domain>. Left out only where the host is this machine.",
      }),
    ),
    httpPort: Type.Optional(PublicPort),
    httpsPort: Type.Optional(PublicPort),
    home: Type.Optional(AbsolutePath),
    socket: Type.Optional(AbsolutePath),
    swarm: Type.Optional(Type.Boolean({ description: "It is the manager of a Swarm: instances are services, on any of its nodes." })),
    networks: Type.Optional(
      Type.Object({ base: Text(20), size: Type.Integer({ minimum: 8, maximum: 26 }) }, { additionalProperties: false }),
    ),
  },
  { additionalProperties: false },
);
export type NewCluster = Static<typeof NewCluster>;

export const Cluster = Type.Object(
  {
    name: ClusterName,
    formerNames: Type.Optional(
      Type.Array(Name, { description: "What it was called before: each goes on leading here, for as long as the cluster is there." }),
    ),
    engine: EngineKind,
    reachable: Type.Boolean(),
    version: Type.String(),
    isolation: Type.Array(Type.String()),
    capabilities: Type.Record(Type.String(), Type.Unknown()),
    stacks: Type.Integer(),
    domain: Type.String({ description: "Components without a host of their own are reached at <component>.<stack>.<domain>." }),
    drainingSince: Type.Optional(Instant),
    host: Type.Optional(ClusterHost),
    kubernetes: Type.Optional(ClusterKubernetes),
    createdAt: Instant,
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Cluster" },
);
export type Cluster = Static<typeof Cluster>;

/** What is left out stays. */
export const ClusterChange = Type.Object(
  {
    name: Type.Optional({ ...Name, description: "What it is called from now on; the name before goes on leading to it." }),
    draining: Type.Optional(Type.Boolean()),
    kubernetes: Type.Optional(RenewedKubernetes),
  },
  { additionalProperties: false, minProperties: 1 },
);
export type ClusterChange = Static<typeof ClusterChange>;

const manage = { permission: "installation.manage", at: "installation" } as const;
const Named = Type.Object({ cluster: ClusterName }, { additionalProperties: false });

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
    params: Named,
    response: Cluster,
  },
  addCluster: {
    method: "POST",
    path: "/clusters",
    summary: "Add a Docker host, where an edge is put and connected, or a Kubernetes cluster",
    kind: "json",
    access: manage,
    verbs: ["Me.addCluster"],
    idempotent: true,
    body: NewCluster,
    response: Cluster,
    status: 201,
  },
  changeCluster: {
    method: "PATCH",
    path: "/clusters/:cluster",
    summary: "Let a cluster take new stacks, or no more; give it another name or kubeconfig",
    kind: "json",
    access: manage,
    verbs: ["Cluster.change"],
    params: Named,
    body: ClusterChange,
    response: Cluster,
  },
  removeCluster: {
    method: "DELETE",
    path: "/clusters/:cluster",
    summary: "Remove a cluster that has no stacks, and what Berth has put there for itself",
    kind: "json",
    access: manage,
    verbs: ["Cluster.delete"],
    params: Named,
    query: Type.Object(
      { unreached: Type.Optional(Type.Boolean({ description: "Also when it does not answer: what is there of Berth stays there." })) },
      { additionalProperties: false },
    ),
    response: Empty,
    status: 204,
  },
} as const satisfies Record<string, Route>;
