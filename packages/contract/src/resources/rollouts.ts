// Rollouts: putting a release live, step by step. Each phase and step is a durable row that another process could take over.
import { Type, type Static } from "typebox";
import { Cause } from "../causes.ts";
import { lists } from "../lists.ts";
import { ClusterName, facts, Instant, Name } from "../names.ts";
import { Allowed, ListQuery, Page, type Route } from "../route.ts";
import { InComponent, InStack, Number_ } from "./common.ts";

export const RolloutPhase = Type.Union([
  Type.Literal("building"),
  Type.Literal("waiting"),
  Type.Literal("releasing"),
  Type.Literal("preparing"),
  Type.Literal("rolling"),
  Type.Literal("verifying"),
  Type.Literal("reverting"),
  Type.Literal("succeeded"),
  Type.Literal("failed"),
  Type.Literal("aborted"),
  Type.Literal("superseded"),
]);
export type RolloutPhase = Static<typeof RolloutPhase>;
export const RolloutStep = Type.Object(
  { code: Type.String(), params: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]), facts) },
  { additionalProperties: false },
);
export type RolloutStep = Static<typeof RolloutStep>;
export const Rollout = Type.Object(
  {
    stack: Name,
    component: Name,
    cluster: Type.Optional({ ...ClusterName, description: "Where the component runs in several clusters: each has a rollout of its own." }),
    number: Number_,
    phase: RolloutPhase,
    reason: Type.String(),
    strategy: Type.String(),
    build: Type.Optional(Type.Integer()),
    release: Type.Optional(Type.Integer()),
    from: Type.Optional(Type.Integer({ description: "The release that served before." })),
    wanted: Type.Integer(),
    updated: Type.Integer({ description: "Instances of the new release." }),
    ready: Type.Integer(),
    waitsFor: Type.Array(Name),
    step: Type.Optional(RolloutStep),
    verified: Type.Optional(
      Type.Array(Type.Object({ url: Type.String(), status: Type.Integer(), took: Type.Number() }, { additionalProperties: false })),
    ),
    cause: Type.Optional(Cause),
    createdAt: Instant,
    startedAt: Type.Optional(Instant),
    endedAt: Type.Optional(Instant),
    createdBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Rollout" },
);
export type Rollout = Static<typeof Rollout>;
const One = Type.Object({ stack: Name, component: Name, rollout: Number_ }, { additionalProperties: false });
const read = { permission: "stacks.read", at: "stack" } as const;
const deploy = { permission: "releases.deploy", at: "stack" } as const;

export const rolloutRoutes = {
  listStackRollouts: {
    method: "GET",
    path: "/stacks/:stack/rollouts",
    summary: "List a stack's rollouts, newest first",
    kind: "json",
    access: read,
    params: InStack,
    list: lists.stackRollouts,
    query: ListQuery(lists.stackRollouts, {
      phase: Type.Optional(RolloutPhase),
      version: Type.Optional(Number_),
      component: Type.Optional(Name),
    }),
    response: Page(Rollout),
  },
  listRollouts: {
    method: "GET",
    path: "/stacks/:stack/components/:component/rollouts",
    summary: "List a component's rollouts, newest first",
    kind: "json",
    access: read,
    params: InComponent,
    list: lists.rollouts,
    query: ListQuery(lists.rollouts, { phase: Type.Optional(RolloutPhase) }),
    response: Page(Rollout),
  },
  showRollout: {
    method: "GET",
    path: "/stacks/:stack/components/:component/rollouts/:rollout",
    summary: "Show a rollout",
    kind: "json",
    access: read,
    params: One,
    response: Rollout,
  },
  abortRollout: {
    method: "POST",
    path: "/stacks/:stack/components/:component/rollouts/:rollout/abort",
    summary: "Stop a rollout; the release that served before keeps serving",
    kind: "json",
    access: deploy,
    verbs: ["Rollout.abort"],
    params: One,
    response: Rollout,
    status: 202,
  },
  retryRollout: {
    method: "POST",
    path: "/stacks/:stack/components/:component/rollouts/:rollout/retry",
    summary: "Try a rollout that ended badly again, as a new rollout",
    kind: "json",
    access: deploy,
    verbs: ["Rollout.retry"],
    params: One,
    response: Rollout,
    status: 202,
  },
} as const satisfies Record<string, Route>;
