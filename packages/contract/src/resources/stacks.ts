// Stacks: one complete environment each, and their immutable versions.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { ClusterName, Instant, Name, RunEnv, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { InStack, Number_, UnknownSince } from "./common.ts";
import { StackDrift } from "./drift.ts";

/** `empty`: no components; `progressing`: a rollout runs; `degraded`: something wanted is not ready. */
export const StackState = Type.Union([
  Type.Literal("empty"),
  Type.Literal("healthy"),
  Type.Literal("progressing"),
  Type.Literal("degraded"),
  Type.Literal("stopped"),
  Type.Literal("deleting"),
]);
export const Stack = Type.Object(
  {
    name: Name,
    team: Type.String(),
    cluster: ClusterName,
    runEnv: Type.String({ description: "Injected as RUN_ENV." }),
    drift: StackDrift,
    state: StackState,
    unknownSince: Type.Optional(UnknownSince),
    components: Type.Integer(),
    version: Type.Integer({ description: "Number of the newest stack version; 0 before the first." }),
    urls: Type.Array(Type.String()),
    createdAt: Instant,
    updatedAt: Instant,
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Stack" },
);
export type Stack = Static<typeof Stack>;

export const StackVersion = Type.Object(
  {
    number: Number_,
    createdAt: Instant,
    createdBy: Type.String(),
    reason: Type.String(),
    releases: Type.Record(Name, Type.Integer({ description: "release number; 0 while its build runs" })),
  },
  { additionalProperties: false, $id: "StackVersion" },
);
export type StackVersion = Static<typeof StackVersion>;

/** What is not named has no limit. */
export const Quota = Type.Object(
  {
    instances: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    cpu: Type.Optional(Type.Number({ minimum: 0, maximum: 1_000_000, description: "cores" })),
    memory: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 50, description: "bytes" })),
  },
  { additionalProperties: false },
);
export type Quota = Static<typeof Quota>;

const QuotaUse = Type.Object(
  { instances: Type.Integer(), cpu: Type.Number({ description: "cores" }), memory: Type.Integer({ description: "bytes" }) },
  { additionalProperties: false },
);
/** As much as is wanted: so many instances, each with its limits. */
export type QuotaUse = Static<typeof QuotaUse>;

export const StackQuota = Type.Object({ limits: Quota, used: QuotaUse }, { additionalProperties: false });
export type StackQuota = Static<typeof StackQuota>;

export const Manifests = Type.Object(
  {
    stack: Name,
    cluster: ClusterName,
    engine: Type.Union([Type.Literal("local"), Type.Literal("docker"), Type.Literal("kubernetes")]),
    objects: Type.Array(
      Type.Object(
        {
          component: Name,
          cluster: Type.Optional({ ...ClusterName, description: "Where the component runs in several." }),
          name: Type.String({ description: "Kind and name." }),
          body: Type.Unknown({ description: "As it is applied; on Kubernetes an object that `kubectl` reads." }),
          hidden: Type.Array(Type.String(), { description: "Where in the body values of secrets were left out." }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false, $id: "Manifests" },
);
export type Manifests = Static<typeof Manifests>;

export const stackRoutes = {
  listStacks: {
    method: "GET",
    path: "/stacks",
    summary: "List stacks",
    kind: "json",
    access: "signed-in",
    list: lists.stacks,
    query: ListQuery(lists.stacks, {
      state: Type.Optional(StackState),
      team: Type.Optional(Text(100)),
      cluster: Type.Optional(ClusterName),
    }),
    response: Page(Stack),
  },
  createStack: {
    method: "POST",
    path: "/stacks",
    summary: "Create a stack",
    kind: "json",
    access: "signed-in",
    verbs: ["Me.createStack"],
    idempotent: true,
    status: 201,
    body: Type.Object(
      { name: Name, team: Type.Optional(Text(100)), cluster: Type.Optional(ClusterName), runEnv: Type.Optional(RunEnv) },
      { additionalProperties: false },
    ),
    response: Stack,
  },
  showStack: {
    method: "GET",
    path: "/stacks/:stack",
    summary: "Show a stack",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    versioned: true,
    response: Stack,
  },
  updateStack: {
    method: "PATCH",
    path: "/stacks/:stack",
    summary: "Change a stack",
    kind: "json",
    access: { permission: "stacks.write", at: "stack" },
    verbs: ["Stack.update"],
    params: InStack,
    versioned: true,
    body: Type.Object({ runEnv: Type.Optional(RunEnv), drift: Type.Optional(StackDrift) }, { additionalProperties: false }),
    response: Stack,
  },
  deleteStack: {
    method: "DELETE",
    path: "/stacks/:stack",
    summary: "Remove a stack and everything it runs; volumes stay unless asked for",
    kind: "json",
    access: { permission: "stacks.write", at: "stack" },
    verbs: ["Stack.delete"],
    params: InStack,
    versioned: true,
    query: Type.Object({ volumes: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
    response: Empty,
    status: 202,
  },
  showQuota: {
    method: "GET",
    path: "/stacks/:stack/quota",
    summary: "Show what a stack may use in all, and what it asks for",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    response: StackQuota,
  },
  setQuota: {
    method: "PUT",
    path: "/stacks/:stack/quota",
    summary: "Limit what a stack may use in all; what runs already goes on",
    kind: "json",
    access: { permission: "installation.manage", at: "stack" },
    verbs: ["Stack.setQuota"],
    params: InStack,
    body: Quota,
    response: StackQuota,
  },
  listStackVersions: {
    method: "GET",
    path: "/stacks/:stack/versions",
    summary: "List a stack's versions, newest first",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    list: lists.versions,
    query: ListQuery(lists.versions, {}),
    response: Page(StackVersion),
  },
  showManifests: {
    method: "GET",
    path: "/stacks/:stack/manifests",
    summary: "The objects that a stack's releases are in its clusters, without the values of secrets",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    query: Type.Object(
      {
        component: Type.Optional(Name),
        cluster: Type.Optional({ ...ClusterName, description: "Absent: all in which something of it runs." }),
      },
      { additionalProperties: false },
    ),
    response: Manifests,
  },
  exportStack: {
    method: "GET",
    path: "/stacks/:stack/export",
    summary: "The stack as a Compose file",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    response: Type.Object({ compose: Type.String() }, { additionalProperties: false }),
  },
} as const satisfies Record<string, Route>;
