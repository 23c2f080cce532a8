// Components: what each should be, what runs of it, and the verbs that touch what runs.
import { Type, type Static } from "typebox";
import { Cause } from "../causes.ts";
import { lists } from "../lists.ts";
import { ClusterName, Digest, Instant, Name, PointInTime, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { Autoscale, ComponentKind, ComponentSpec, Placement } from "../spec.ts";
import { InComponent, InStack, Number_, UnknownSince } from "./common.ts";
import { Deployment, Note } from "./plans.ts";
import { RolloutPhase } from "./rollouts.ts";

const OneCluster = { ...ClusterName, description: "Of those in which the component runs." };

export const InstanceView = Type.Object(
  {
    id: Type.String(),
    cluster: Type.Optional({ ...ClusterName, description: "Where the component runs in several." }),
    track: Type.String(),
    release: Type.Integer(),
    phase: Type.String(),
    ready: Type.Boolean(),
    restarts: Type.Integer(),
    startedAt: Type.Optional(Instant),
    pid: Type.Optional(Type.Integer()),
    address: Type.Optional(Type.String()),
    cause: Type.Optional(Cause),
    probes: Type.Array(
      Type.Object({ at: Instant, probe: Type.String(), ok: Type.Boolean(), detail: Type.String() }, { additionalProperties: false }),
    ),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Instance" },
);
export type InstanceView = Static<typeof InstanceView>;
/** What is known of an instance, whoever asks. */
export type SeenInstance = Omit<InstanceView, "allowed" | "cluster">;

export const ComponentState = Type.Union([
  Type.Literal("new"),
  Type.Literal("healthy"),
  Type.Literal("progressing"),
  Type.Literal("degraded"),
  Type.Literal("failed"),
  Type.Literal("stopped"),
  Type.Literal("scheduled"),
  Type.Literal("deleting"),
  Type.Literal("unknown"),
]);
/** A component in one of several clusters. */
export const ClusterPart = Type.Object(
  {
    name: ClusterName,
    state: ComponentState,
    replicas: Type.Integer(),
    ready: Type.Integer(),
    release: Type.Optional(Type.Integer()),
    rollout: Type.Optional(Type.Object({ number: Type.Integer(), phase: RolloutPhase }, { additionalProperties: false })),
    urls: Type.Array(Type.String()),
    cause: Type.Optional(Cause),
    unknownSince: Type.Optional(UnknownSince),
  },
  { additionalProperties: false },
);
export type ClusterPart = Static<typeof ClusterPart>;
export const Component = Type.Object(
  {
    stack: Name,
    name: Name,
    kind: ComponentKind,
    state: ComponentState,
    replicas: Type.Integer({ description: "Wanted instances. Where `spec.autoscale` is set: as many as the autoscaler wants now." }),
    ready: Type.Integer(),
    stopped: Type.Boolean(),
    release: Type.Optional(
      Type.Object({ number: Type.Integer(), hash: Type.String(), createdAt: Instant }, { additionalProperties: false }),
    ),
    rollout: Type.Optional(Type.Object({ number: Type.Integer(), phase: Type.String() }, { additionalProperties: false })),
    clusters: Type.Optional(
      Type.Array(ClusterPart, {
        description: "Where it runs in several clusters: each of them, in the order in which releases go through them.",
      }),
    ),
    urls: Type.Array(Type.String()),
    internal: Type.Record(Type.String(), Type.String(), { description: "Port name -> address for siblings." }),
    cause: Type.Optional(Cause),
    warnings: Type.Optional(
      Type.Array(Note, { description: "What its users will meet, or meet already: certificates that end. Absent: nothing." }),
    ),
    observedAt: Type.Optional(Instant),
    unknownSince: Type.Optional(UnknownSince),
    createdAt: Instant,
    updatedAt: Instant,
    nextRunAt: Type.Optional(Instant),
    looked: Type.Optional(
      Type.Object(
        { at: Instant, cause: Type.Optional(Cause) },
        { additionalProperties: false, description: "When its registry was asked last whether the tag that it follows was moved." },
      ),
    ),
    spec: ComponentSpec,
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Component" },
);
export type Component = Static<typeof Component>;

export const Usage = Type.Object(
  {
    instance: Type.String(),
    cluster: Type.Optional({ ...ClusterName, description: "Where the component runs in several." }),
    at: Instant,
    cpuSeconds: Type.Number(),
    memory: Type.Integer({ description: "bytes" }),
    processes: Type.Integer(),
  },
  { additionalProperties: false },
);
export const LogLine = Type.Object(
  {
    at: Instant,
    instance: Type.String(),
    stream: Type.Union([Type.Literal("stdout"), Type.Literal("stderr"), Type.Literal("berth")]),
    text: Type.String(),
    cursor: Type.String(),
    component: Type.Optional(Name),
    cluster: Type.Optional({ ...ClusterName, description: "Where what it comes from runs in several clusters." }),
  },
  { additionalProperties: false, $id: "LogLine" },
);
export type LogLine = Static<typeof LogLine>;
export const LogQuery = Type.Object(
  {
    instance: Type.Optional(Text(200)),
    tail: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
    since: Type.Optional(PointInTime),
    follow: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
const PlacedLogQuery = Type.Object({ ...LogQuery.properties, cluster: Type.Optional(OneCluster) }, { additionalProperties: false });

const Started = Type.Object(
  {
    rollout: Type.Optional(Number_),
    further: Type.Optional(Type.Array(Number_, { description: "Those in other clusters, which follow it one after another." })),
  },
  { additionalProperties: false },
);
const operate = { permission: "runtime.operate", at: "stack" } as const;
const read = { permission: "stacks.read", at: "stack" } as const;

export const componentRoutes = {
  listComponents: {
    method: "GET",
    path: "/stacks/:stack/components",
    summary: "List a stack's components",
    kind: "json",
    access: read,
    params: InStack,
    list: lists.components,
    query: ListQuery(lists.components, { kind: Type.Optional(ComponentKind), state: Type.Optional(ComponentState) }),
    response: Page(Component),
  },
  showComponent: {
    method: "GET",
    path: "/stacks/:stack/components/:component",
    summary: "Show a component",
    kind: "json",
    access: read,
    params: InComponent,
    versioned: true,
    response: Component,
  },
  setComponent: {
    method: "PUT",
    path: "/stacks/:stack/components/:component",
    summary: "Create a component or change its spec, without releasing it",
    kind: "json",
    access: { permission: "stacks.write", at: "stack" },
    verbs: ["Stack.setComponent", "Component.update"],
    params: InComponent,
    versioned: true,
    body: ComponentSpec,
    response: Component,
  },
  deleteComponent: {
    method: "DELETE",
    path: "/stacks/:stack/components/:component",
    summary: "Remove a component; its volumes stay",
    kind: "json",
    access: { permission: "stacks.write", at: "stack" },
    verbs: ["Component.delete"],
    params: InComponent,
    versioned: true,
    response: Empty,
    status: 202,
  },
  deployComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/deployments",
    summary: "Release a component from a source, or again from its newest artifact",
    kind: "json",
    access: { permission: "releases.deploy", at: "stack" },
    verbs: ["Component.deploy", "Source.deploy"],
    idempotent: true,
    params: InComponent,
    body: Type.Object(
      {
        source: Type.Optional(Digest),
        context: Type.Optional(Text(1024)),
        root: Type.Optional(
          Text(1024, {
            description:
              "The folder inside the source that is built. When absent: all of an upload, and the build context of a git source.",
          }),
        ),
      },
      { additionalProperties: false },
    ),
    response: Deployment,
    status: 202,
  },
  rollbackComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/rollback",
    summary: "Release an older release's artifact and config again",
    kind: "json",
    access: { permission: "releases.deploy", at: "stack" },
    verbs: ["Component.rollback", "Release.rollback"],
    idempotent: true,
    params: InComponent,
    body: Type.Object({ release: Type.Optional(Number_) }, { additionalProperties: false }),
    response: Deployment,
    status: 202,
  },
  scaleComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/scale",
    summary: "Set the wanted number of instances",
    kind: "json",
    access: operate,
    verbs: ["Component.scale"],
    params: InComponent,
    body: Type.Object({ replicas: Type.Integer({ minimum: 0, maximum: 1000 }) }, { additionalProperties: false }),
    response: Component,
    status: 202,
  },
  autoscaleComponent: {
    method: "PUT",
    path: "/stacks/:stack/components/:component/autoscale",
    summary: "Let what its instances use decide how many run, or decide that again by hand",
    kind: "json",
    access: operate,
    verbs: ["Component.autoscale"],
    params: InComponent,
    body: Type.Object(
      { autoscale: Type.Optional({ ...Autoscale, description: "Absent: as many as there are now stay, and are scaled by hand." }) },
      { additionalProperties: false },
    ),
    response: Component,
    status: 202,
  },
  placeComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/placement",
    summary: "Run it in these clusters: its release goes through them one after another",
    kind: "json",
    access: { permission: "stacks.write", at: "stack" },
    verbs: ["Component.place"],
    idempotent: true,
    params: InComponent,
    body: Type.Object(
      { placement: Type.Optional({ ...Placement, description: "Absent: in its stack's own cluster alone." }) },
      { additionalProperties: false },
    ),
    response: Deployment,
    status: 202,
  },
  restartComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/restart",
    summary: "Replace every instance, without losing a request",
    kind: "json",
    access: operate,
    verbs: ["Component.restart"],
    idempotent: true,
    params: InComponent,
    response: Started,
    status: 202,
  },
  stopComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/stop",
    summary: "Stop every instance until it is started again",
    kind: "json",
    access: operate,
    verbs: ["Component.stop"],
    params: InComponent,
    response: Component,
    status: 202,
  },
  startComponent: {
    method: "POST",
    path: "/stacks/:stack/components/:component/start",
    summary: "Start a stopped component",
    kind: "json",
    access: operate,
    verbs: ["Component.start"],
    params: InComponent,
    response: Component,
    status: 202,
  },
  listInstances: {
    method: "GET",
    path: "/stacks/:stack/components/:component/instances",
    summary: "List what runs of a component",
    kind: "json",
    access: read,
    params: InComponent,
    list: lists.instances,
    query: ListQuery(lists.instances, {
      phase: Type.Optional(Text(40)),
      ready: Type.Optional(Type.Boolean()),
      track: Type.Optional(Text(40)),
    }),
    response: Page(InstanceView),
  },
  showUsage: {
    method: "GET",
    path: "/stacks/:stack/usage",
    summary: "What a stack's instances use now",
    kind: "json",
    access: read,
    params: InStack,
    response: Type.Object(
      {
        items: Type.Array(Type.Object({ component: Name, instances: Type.Array(Usage) }, { additionalProperties: false })),
        away: Type.Optional(
          Type.Array(ClusterName, { description: "Clusters that do not answer: what runs there is not in it. Absent: all answer." }),
        ),
      },
      { additionalProperties: false },
    ),
  },
  readLogs: {
    method: "GET",
    path: "/stacks/:stack/components/:component/logs",
    summary: "Read or follow the logs of a component's instances",
    kind: "events",
    access: read,
    params: InComponent,
    query: PlacedLogQuery,
    response: LogLine,
  },
  readStackLogs: {
    method: "GET",
    path: "/stacks/:stack/logs",
    summary: "Read or follow the logs of all components of a stack",
    kind: "events",
    access: read,
    params: InStack,
    query: PlacedLogQuery,
    response: LogLine,
  },
  openTerminal: {
    method: "GET",
    path: "/stacks/:stack/components/:component/exec",
    summary: "Run a command in an instance, with or without a terminal",
    kind: "terminal",
    access: { permission: "terminal.open", at: "stack" },
    verbs: ["Component.exec", "Instance.exec"],
    params: InComponent,
    query: Type.Object(
      {
        instance: Type.Optional(Text(200)),
        cluster: Type.Optional(OneCluster),
        command: Text(16_384, { description: "JSON of a Command" }),
        tty: Type.Optional(Type.Boolean()),
        columns: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        rows: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
      },
      { additionalProperties: false },
    ),
    response: Empty,
  },
  openPort: {
    method: "GET",
    path: "/stacks/:stack/components/:component/forward",
    summary: "Open a connection to a port of an instance",
    kind: "port",
    access: { permission: "terminal.open", at: "stack" },
    verbs: ["Component.forward", "Instance.forward"],
    params: InComponent,
    query: Type.Object(
      {
        instance: Type.Optional(Text(200)),
        cluster: Type.Optional(OneCluster),
        port: Type.Optional(Text(63, { description: "A port's name or number; absent: the first port of the component" })),
      },
      { additionalProperties: false },
    ),
    response: Empty,
  },
} as const satisfies Record<string, Route>;
