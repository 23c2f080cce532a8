// Releases: immutable, numbered snapshots of a component.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { Instant, Name } from "../names.ts";
import { Allowed, ListQuery, Page, type Route } from "../route.ts";
import { ComponentSpec } from "../spec.ts";
import { InComponent, Number_ } from "./common.ts";
import { FieldChange } from "./plans.ts";

export const Release = Type.Object(
  {
    stack: Name,
    component: Name,
    number: Number_,
    hash: Type.String(),
    artifact: Type.String(),
    artifactKind: Type.Union([Type.Literal("bundle"), Type.Literal("image")]),
    build: Type.Optional(Type.Integer()),
    revision: Type.Optional(Type.String()),
    message: Type.Optional(Type.String()),
    config: Type.Record(Type.String(), Type.String(), { description: "Resolved configuration; secrets are listed by name only." }),
    secrets: Type.Record(Type.String(), Type.Object({ secret: Name, version: Type.Integer() }, { additionalProperties: false })),
    spec: ComponentSpec,
    reason: Type.String(),
    current: Type.Boolean(),
    createdAt: Instant,
    createdBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Release" },
);
export type Release = Static<typeof Release>;
const One = Type.Object({ stack: Name, component: Name, release: Number_ }, { additionalProperties: false });
const read = { permission: "stacks.read", at: "stack" } as const;

export const releaseRoutes = {
  listReleases: {
    method: "GET",
    path: "/stacks/:stack/components/:component/releases",
    summary: "List releases, newest first",
    kind: "json",
    access: read,
    params: InComponent,
    list: lists.releases,
    query: ListQuery(lists.releases, { build: Type.Optional(Number_) }),
    response: Page(Release),
  },
  showRelease: {
    method: "GET",
    path: "/stacks/:stack/components/:component/releases/:release",
    summary: "Show a release",
    kind: "json",
    access: read,
    params: One,
    response: Release,
  },
  diffReleases: {
    method: "GET",
    path: "/stacks/:stack/components/:component/releases/:release/diff",
    summary: "What differs between a release and another (the one before it, unless told)",
    kind: "json",
    access: read,
    params: One,
    query: Type.Object({ to: Type.Optional(Number_) }, { additionalProperties: false }),
    response: Type.Object({ from: Type.Integer(), to: Type.Integer(), changes: Type.Array(FieldChange) }, { additionalProperties: false }),
  },
} as const satisfies Record<string, Route>;
