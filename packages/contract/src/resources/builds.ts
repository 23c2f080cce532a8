// Builds: a source revision becoming an artifact.
import { Type, type Static } from "typebox";
import { BuildPlan } from "../buildplan.ts";
import { Cause } from "../causes.ts";
import { Digest, Instant, Name } from "../names.ts";
import { lists } from "../lists.ts";
import { Allowed, ListQuery, Page, type Route } from "../route.ts";
import { InStack, Number_ } from "./common.ts";

export const BuildPhase = Type.Union([
  Type.Literal("queued"),
  Type.Literal("running"),
  Type.Literal("succeeded"),
  Type.Literal("failed"),
  Type.Literal("cancelled"),
]);
export const Build = Type.Object(
  {
    stack: Name,
    number: Number_,
    phase: BuildPhase,
    context: Type.String(),
    root: Type.Optional(Type.String({ description: "The folder inside the source that is built; all of it when absent." })),
    source: Digest,
    revision: Type.Optional(Type.String()),
    message: Type.Optional(Type.String()),
    plan: Type.Optional(BuildPlan),
    artifact: Type.Optional(Digest),
    artifactSize: Type.Optional(Type.Integer()),
    attestations: Type.Optional(
      Type.Object(
        {
          /** Of what `sbom` and `provenance` give. */
          sbom: Digest,
          provenance: Digest,
        },
        { additionalProperties: false },
      ),
    ),
    processes: Type.Optional(Type.Array(Type.String())),
    steps: Type.Array(
      Type.Object({ name: Type.String(), state: Type.String(), took: Type.Optional(Type.Number()) }, { additionalProperties: false }),
    ),
    cause: Type.Optional(Cause),
    queuedAt: Instant,
    startedAt: Type.Optional(Instant),
    endedAt: Type.Optional(Instant),
    createdBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Build" },
);
export type Build = Static<typeof Build>;
export const BuildLogLine = Type.Object(
  {
    at: Instant,
    stream: Type.Union([Type.Literal("stdout"), Type.Literal("stderr"), Type.Literal("berth")]),
    step: Type.Optional(Type.String()),
    text: Type.String(),
    cursor: Type.String(),
  },
  { additionalProperties: false, $id: "BuildLogLine" },
);
const Document = (description: string) => Type.Record(Type.String(), Type.Unknown(), { description });
const One = Type.Object({ stack: Name, build: Number_ }, { additionalProperties: false });
const read = { permission: "stacks.read", at: "stack" } as const;
const deploy = { permission: "releases.deploy", at: "stack" } as const;

export const buildRoutes = {
  listBuilds: {
    method: "GET",
    path: "/stacks/:stack/builds",
    summary: "List builds, newest first",
    kind: "json",
    access: read,
    params: InStack,
    list: lists.builds,
    query: ListQuery(lists.builds, { phase: Type.Optional(BuildPhase) }),
    response: Page(Build),
  },
  showBuild: {
    method: "GET",
    path: "/stacks/:stack/builds/:build",
    summary: "Show a build",
    kind: "json",
    access: read,
    params: One,
    response: Build,
  },
  cancelBuild: {
    method: "POST",
    path: "/stacks/:stack/builds/:build/cancel",
    summary: "Cancel a build",
    kind: "json",
    access: deploy,
    verbs: ["Build.cancel"],
    params: One,
    response: Build,
    status: 202,
  },
  retryBuild: {
    method: "POST",
    path: "/stacks/:stack/builds/:build/retry",
    summary: "Run a build again, with the rollouts that waited for it",
    kind: "json",
    access: deploy,
    verbs: ["Build.retry"],
    params: One,
    response: Build,
    status: 202,
  },
  readBuildSbom: {
    method: "GET",
    path: "/stacks/:stack/builds/:build/sbom",
    summary: "Read what is in a build's artifact",
    kind: "json",
    access: read,
    params: One,
    response: Document("A software bill of materials: SPDX 2.3."),
  },
  readBuildProvenance: {
    method: "GET",
    path: "/stacks/:stack/builds/:build/provenance",
    summary: "Read where a build's artifact comes from",
    kind: "json",
    access: read,
    params: One,
    response: Document("An in-toto statement with a SLSA v1 provenance predicate."),
  },
  readBuildLogs: {
    method: "GET",
    path: "/stacks/:stack/builds/:build/logs",
    summary: "Read or follow a build's log",
    kind: "events",
    access: read,
    params: One,
    query: Type.Object({ follow: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
    response: BuildLogLine,
  },
} as const satisfies Record<string, Route>;
