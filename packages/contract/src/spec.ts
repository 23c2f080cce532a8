// What a component should be: the part of a release that a person writes (by Compose file, API or CLI).
// Browser-safe data only; durations are whole milliseconds and sizes are bytes, so that no engine has to parse units.
import { Type, type Static } from "typebox";
import { ClusterName, EnvName, Host, Name, Text } from "./names.ts";
import { Overlays } from "./overlay.ts";

/** A week. */
export const mostMilliseconds = 7 * 24 * 3_600_000;
const Milliseconds = Type.Integer({ minimum: 0, maximum: mostMilliseconds });
const PortNumber = Type.Integer({ minimum: 1, maximum: 65_535 });

export const ComponentKind = Type.Union([
  Type.Literal("web"),
  Type.Literal("worker"),
  Type.Literal("stateful"),
  Type.Literal("cron"),
  Type.Literal("addon"),
]);
export type ComponentKind = Static<typeof ComponentKind>;

/** A command: either the arguments of one program, or a line for `/bin/sh -c` because the user wrote a shell line. */
export const Command = Type.Union([
  Type.Object({ exec: Type.Array(Text(131_072), { minItems: 1, maxItems: 4096 }) }, { additionalProperties: false }),
  Type.Object({ shell: Text(131_072, { minLength: 1 }) }, { additionalProperties: false }),
]);
export type Command = Static<typeof Command>;

export const Probe = Type.Object(
  {
    check: Type.Union([
      Type.Object(
        {
          type: Type.Literal("http"),
          path: Text(2048, { pattern: "^/" }),
          port: Type.Optional(PortNumber),
          headers: Type.Optional(Type.Record(Type.String(), Text(8192), { maxProperties: 64 })),
        },
        { additionalProperties: false, description: "GET; passes below status 400" },
      ),
      Type.Object(
        { type: Type.Literal("tcp"), port: Type.Optional(PortNumber) },
        { additionalProperties: false, description: "passes when the port accepts" },
      ),
      Type.Object(
        { type: Type.Literal("exec"), command: Command },
        { additionalProperties: false, description: "passes with exit code 0" },
      ),
    ]),
    initialDelay: Type.Optional(Milliseconds),
    period: Type.Optional(Type.Integer({ minimum: 100, maximum: 3_600_000 })),
    timeout: Type.Optional(Type.Integer({ minimum: 50, maximum: 600_000 })),
    successThreshold: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    failureThreshold: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  },
  { additionalProperties: false },
);
export type Probe = Static<typeof Probe>;

export const Port = Type.Object(
  {
    name: Name,
    protocol: Type.Union([Type.Literal("http"), Type.Literal("tcp")]),
    appProtocol: Type.Optional(
      Type.Union([Type.Literal("h2c"), Type.Literal("grpc")], {
        description: "The program speaks HTTP/2 without TLS, from its first byte on; with `protocol: http` only. HTTP/1.1 when absent.",
      }),
    ),
    /** The port that the program listens on where it has a network of its own; on the local engine it gets `PORT` instead. */
    port: Type.Optional(PortNumber),
    /** A public TCP port on the edge; http ports are reached by host and path. */
    published: Type.Optional(PortNumber),
  },
  { additionalProperties: false },
);
export type Port = Static<typeof Port>;

export const VolumeMount = Type.Object(
  {
    volume: Name,
    path: Text(1024, { pattern: "^/", description: "Absolute path inside the instance." }),
    readOnly: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type VolumeMount = Static<typeof VolumeMount>;

export const Strategy = Type.Object(
  {
    type: Type.Union([Type.Literal("rolling"), Type.Literal("recreate")], {
      description: "`recreate` stops the old instances before it starts new ones: for volumes that only one instance may hold.",
    }),
    maxSurge: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
    maxUnavailable: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
    /** A ready instance counts as available after this long without a break. */
    minReady: Type.Optional(Milliseconds),
    /** Without progress for this long the rollout fails and the old release keeps serving. */
    progressDeadline: Type.Optional(Type.Integer({ minimum: 1000, maximum: mostMilliseconds })),
  },
  { additionalProperties: false },
);
export type Strategy = Static<typeof Strategy>;

export const Schedule = Type.Object(
  {
    cron: Type.String({ minLength: 9, maxLength: 200, description: "Five fields: minute hour day-of-month month day-of-week." }),
    timeZone: Type.Optional(Text(64, { description: "IANA name; UTC when absent." })),
    overlap: Type.Optional(Type.Union([Type.Literal("forbid"), Type.Literal("allow"), Type.Literal("replace")])),
    /** A run is ended after this long. */
    deadline: Type.Optional(Type.Integer({ minimum: 1000, maximum: mostMilliseconds })),
    /** A run that could not start within this time of its scheduled instant is recorded as missed. */
    startingDeadline: Type.Optional(Type.Integer({ minimum: 1000, maximum: mostMilliseconds })),
  },
  { additionalProperties: false },
);
export type Schedule = Static<typeof Schedule>;

export const Domain = Type.Object(
  {
    host: Host,
    path: Type.Optional(Text(500, { pattern: "^/" })),
    https: Type.Optional(
      Type.Literal("redirect", { description: "Plain requests are sent to HTTPS, as soon as a certificate covers the host." }),
    ),
  },
  { additionalProperties: false },
);
export type Domain = Static<typeof Domain>;

export const Dependency = Type.Object(
  { component: Name, condition: Type.Union([Type.Literal("started"), Type.Literal("ready"), Type.Literal("completed")]) },
  { additionalProperties: false },
);
export type Dependency = Static<typeof Dependency>;

export const BuildSpec = Type.Object(
  {
    /** Folder of the source that is built, relative, `.` for all of it. */
    context: Type.String({ minLength: 1, maxLength: 1024 }),
    dockerfile: Type.Optional(Text(1024)),
    target: Type.Optional(Text(255)),
    args: Type.Optional(Type.Record(Type.String(), Text(131_072), { maxProperties: 1000 })),
    /** By the id that a `RUN --mount=type=secret` asks for: the secret of the stack that it is shown. */
    secrets: Type.Optional(Type.Record(Type.String({ pattern: "^[A-Za-z0-9_.-]{1,253}$" }), Name, { maxProperties: 500 })),
  },
  { additionalProperties: false },
);
export type BuildSpec = Static<typeof BuildSpec>;

const Percent = Type.Integer({ minimum: 1, maximum: 100 });
export const Autoscale = Type.Object(
  {
    min: Type.Integer({ minimum: 1, maximum: 1000 }),
    max: Type.Integer({ minimum: 1, maximum: 1000 }),
    cpu: Type.Optional({ ...Percent, description: "Percent of its cpu limit that an instance uses on average; above it there are more." }),
    memory: Type.Optional({ ...Percent, description: "The same of its memory limit. Of two, the one that takes more instances decides." }),
  },
  { additionalProperties: false },
);
export type Autoscale = Static<typeof Autoscale>;

const PlacedCluster = Type.Object(
  {
    name: ClusterName,
    replicas: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
    share: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 1000, description: "Of all its instances, in proportion to the others' shares; 1 when absent." }),
    ),
  },
  { additionalProperties: false },
);
export const Placement = Type.Object(
  {
    clusters: Type.Array(PlacedCluster, {
      minItems: 1,
      maxItems: 20,
      description:
        "In the order in which a release goes through them; the stack's own cluster first. All with `replicas`, or all with shares.",
    }),
    pause: Type.Optional({ ...Milliseconds, description: "From the end of a release in one cluster to its beginning in the next." }),
  },
  { additionalProperties: false },
);
export type Placement = Static<typeof Placement>;

export const ComponentSpec = Type.Object(
  {
    kind: ComponentKind,
    build: Type.Optional(BuildSpec),
    image: Type.Optional(Text(1024, { minLength: 1 })),
    follow: Type.Optional(
      Type.Boolean({
        description: "When a registry says that the image's tag was moved, the new one is rolled out. No part of a release.",
      }),
    ),
    /** Which process type of the artifact runs; `web` for web components; otherwise the component's name, `web` when it has an http port, or `worker`. */
    process: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9_-]{1,63}$" })),
    command: Type.Optional(Command),
    entrypoint: Type.Optional(Command),
    workdir: Type.Optional(Text(1024)),
    env: Type.Record(EnvName, Text(131_072), { maxProperties: 2000 }),
    /** Environment variable -> name of a secret of the stack. */
    secrets: Type.Record(EnvName, Name, { maxProperties: 500 }),
    ports: Type.Array(Port, { maxItems: 32 }),
    domains: Type.Array(Domain, { maxItems: 100 }),
    volumes: Type.Array(VolumeMount, { maxItems: 64 }),
    dependsOn: Type.Array(Dependency, { maxItems: 200 }),
    resources: Type.Object(
      {
        memory: Type.Optional(Type.Integer({ minimum: 1_048_576, maximum: 2 ** 50, description: "bytes, the limit" })),
        cpu: Type.Optional(Type.Number({ minimum: 0.01, maximum: 4096, description: "cores, the limit" })),
        processes: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_194_304 })),
      },
      { additionalProperties: false },
    ),
    probes: Type.Object(
      { startup: Type.Optional(Probe), readiness: Type.Optional(Probe), liveness: Type.Optional(Probe) },
      { additionalProperties: false },
    ),
    strategy: Strategy,
    schedule: Type.Optional(Schedule),
    /** Wanted instances when the component is made; afterwards scaling is operational and no part of a release. */
    replicas: Type.Integer({ minimum: 0, maximum: 1000 }),
    /** How many instances there are is decided by what they use. Operational as well, and no part of a release. */
    autoscale: Type.Optional(Autoscale),
    /** Absent: it runs in its stack's cluster alone. Operational, and no part of a release. */
    placement: Type.Optional(Placement),
    /** Time between SIGTERM and SIGKILL. */
    gracePeriod: Milliseconds,
    /** How long requests in flight may last after an instance left the router. */
    drainTimeout: Milliseconds,
    /** Larger request bodies are refused with 413; no limit when absent. Bytes. */
    maxBody: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 50 })),
    /** Requests, WebSockets and TCP connections at the same time; more are refused with 503. */
    maxConnections: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    restart: Type.Union([Type.Literal("always"), Type.Literal("on-failure"), Type.Literal("never")]),
    securityProfile: Type.Union([Type.Literal("restricted"), Type.Literal("baseline"), Type.Literal("privileged")]),
    kubernetes: Type.Optional(Overlays),
  },
  { additionalProperties: false, $id: "ComponentSpec" },
);
export type ComponentSpec = Static<typeof ComponentSpec>;

/** What a component has when its author says nothing. */
export function defaultSpec(kind: ComponentKind): ComponentSpec {
  return {
    kind,
    env: {},
    secrets: {},
    domains: [],
    volumes: [],
    dependsOn: [],
    resources: {},
    probes: {},
    ports: kind === "web" ? [{ name: "http", protocol: "http" }] : [],
    strategy: { type: "rolling" },
    replicas: 1,
    gracePeriod: 10_000,
    drainTimeout: 30_000,
    restart: kind === "cron" ? "never" : "always",
    securityProfile: "restricted",
  };
}
