// Plans: what `berth up` would change, made from files that the caller sends by content, then applied exactly as shown.
import { Type, type Static } from "typebox";
import { BuildPlan } from "../buildplan.ts";
import { ClusterName, Digest, facts, Instant, Name, RunEnv, Text } from "../names.ts";
import { Allowed, type Route } from "../route.ts";
import { ComponentSpec } from "../spec.ts";
import { InStack } from "./common.ts";

/** A code of the notes catalogue with parameters; `file` and `line` say where it comes from. */
export const Note = Type.Object(
  { code: Type.String(), params: Type.Record(Type.String(), Type.String(), facts) },
  { additionalProperties: false },
);
export const FieldChange = Type.Object(
  { path: Type.String(), from: Type.Optional(Type.Unknown()), to: Type.Optional(Type.Unknown()) },
  { additionalProperties: false },
);
export type FieldChange = Static<typeof FieldChange>;
const Change = Type.Union([Type.Literal("added"), Type.Literal("changed"), Type.Literal("removed")]);
/** A variable whose value a config version changed since the release that serves; values are never part of a plan. */
export const PendingConfig = Type.Object({ name: Type.String(), change: Change }, { additionalProperties: false });
export type PendingConfig = Static<typeof PendingConfig>;
/** A variable that will be filled from another secret, or from a newer version of it. */
export const PendingSecret = Type.Object(
  {
    variable: Type.String(),
    secret: Name,
    change: Change,
    from: Type.Optional(Type.Integer({ description: "version" })),
    to: Type.Optional(Type.Integer({ description: "version" })),
  },
  { additionalProperties: false },
);
export type PendingSecret = Static<typeof PendingSecret>;
export const ComponentChange = Type.Object(
  {
    component: Name,
    action: Type.Union([Type.Literal("create"), Type.Literal("update"), Type.Literal("delete"), Type.Literal("unchanged")]),
    kind: Type.String(),
    fields: Type.Array(FieldChange),
    config: Type.Array(PendingConfig, { description: "What config set since the release that serves would bring." }),
    secrets: Type.Array(PendingSecret),
    build: Type.Optional(
      Type.Object(
        {
          context: Type.String(),
          source: Digest,
          known: Type.Boolean({ description: "The artifact exists already; nothing is built." }),
          summary: Type.Array(Type.String()),
        },
        { additionalProperties: false },
      ),
    ),
    urls: Type.Array(Type.String()),
  },
  { additionalProperties: false },
);
export type ComponentChange = Static<typeof ComponentChange>;
export const StackPlan = Type.Object(
  {
    status: Type.Literal("ready"),
    id: Type.String(),
    stack: Name,
    createsStack: Type.Boolean(),
    cluster: ClusterName,
    changes: Type.Array(ComponentChange),
    volumes: Type.Object({ create: Type.Array(Name), keep: Type.Array(Name) }, { additionalProperties: false }),
    secrets: Type.Object(
      { create: Type.Array(Name), change: Type.Array(Name), generate: Type.Array(Name) },
      {
        additionalProperties: false,
        description: "Secrets of the stack that applying sets: from the Compose file's values, or at random.",
      },
    ),
    notes: Type.Array(Note),
    warnings: Type.Array(Note),
    expiresAt: Instant,
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "StackPlan" },
);
export type StackPlan = Static<typeof StackPlan>;
/** What has to be sent along before the plan can be made: files by content, variables of the caller's environment, folders by upload. */
export const PlanNeeds = Type.Object(
  {
    status: Type.Literal("needs"),
    files: Type.Array(Type.String()),
    variables: Type.Array(Type.String()),
    contexts: Type.Array(Type.String()),
  },
  { additionalProperties: false, $id: "PlanNeeds" },
);

const Path = Text(1024);
export const PlanRequest = Type.Object(
  {
    files: Type.Record(Path, Text(2_097_152), { maxProperties: 2000, description: "Path in the project -> text." }),
    absent: Type.Array(Path, { maxItems: 10_000, description: "Paths that were looked for and are not there." }),
    composeFiles: Type.Array(Path, { maxItems: 100 }),
    variables: Type.Record(Type.String(), Type.Union([Text(1_048_576), Type.Null()]), { maxProperties: 10_000 }),
    profiles: Type.Array(Text(200), { maxItems: 1000 }),
    sources: Type.Record(Path, Digest, { maxProperties: 1000, description: "Build context -> digest of its upload." }),
    within: Type.Optional(
      Text(1024, {
        description:
          "Where the project's folder lies in its git work tree, e.g. `apps/web`; files and contexts may then be asked for above it, as `../package.json`.",
      }),
    ),
    component: Type.Optional(Name),
    overrides: Type.Optional(
      Type.Partial(Type.Pick(ComponentSpec, ["kind", "command", "process", "replicas", "image", "follow", "ports"])),
    ),
    prune: Type.Optional(Type.Boolean({ description: "Remove components that the file no longer has." })),
    runEnv: Type.Optional(RunEnv),
    cluster: Type.Optional(ClusterName),
    team: Type.Optional(Name),
  },
  {
    additionalProperties: false,
    $id: "PlanRequest",
    description: "`cluster` and `team` say where a stack is made that is not there yet; one that is there and elsewhere is refused.",
  },
);
export type PlanRequest = Static<typeof PlanRequest>;

export const Deployment = Type.Object(
  {
    stack: Name,
    version: Type.Integer(),
    rollouts: Type.Array(Type.Object({ component: Name, number: Type.Integer() }, { additionalProperties: false })),
    builds: Type.Array(
      Type.Object({ number: Type.Integer(), context: Type.String(), components: Type.Array(Name) }, { additionalProperties: false }),
    ),
    unchanged: Type.Array(Name),
    removed: Type.Array(Name),
  },
  { additionalProperties: false, $id: "Deployment" },
);
export type Deployment = Static<typeof Deployment>;

export const planRoutes = {
  createPlan: {
    method: "POST",
    path: "/stacks/:stack/plans",
    summary: "Plan a stack from a Compose file or one folder (the stack need not exist yet)",
    kind: "json",
    access: "signed-in",
    verbs: ["Stack.deploy"],
    params: InStack,
    body: PlanRequest,
    response: Type.Union([StackPlan, PlanNeeds]),
  },
  applyPlan: {
    method: "POST",
    path: "/stacks/:stack/plans/:plan/apply",
    summary: "Apply a plan as it was shown",
    kind: "json",
    access: "signed-in",
    verbs: ["StackPlan.apply", "Stack.deploy"],
    idempotent: true,
    params: Type.Object({ stack: Name, plan: Text(100) }, { additionalProperties: false }),
    body: Type.Object({ restartUnchanged: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
    response: Deployment,
    status: 202,
  },
  explainSource: {
    method: "POST",
    path: "/build-plans",
    summary: "What kind of project an uploaded folder is and how it would be built",
    kind: "json",
    access: "signed-in",
    body: Type.Object(
      {
        source: Digest,
        root: Type.Optional(Text(1024)),
        prefer: Type.Optional(Type.Union([Type.Literal("process"), Type.Literal("image")])),
        files: Type.Optional(
          Type.Boolean({
            description: "Answer with the files by which the repository owns its image: a Dockerfile, a .dockerignore and a Compose file.",
          }),
        ),
      },
      { additionalProperties: false },
    ),
    response: Type.Object(
      {
        plan: BuildPlan,
        lines: Type.Array(Type.String()),
        files: Type.Optional(
          Type.Array(
            Type.Object(
              { path: Type.String({ description: "Relative to the source's top." }), text: Type.String() },
              { additionalProperties: false },
            ),
          ),
        ),
        missing: Type.Optional(
          Type.Object(
            {
              code: Type.String(),
              params: Type.Record(Type.String(), Type.Unknown(), facts),
              sentence: Type.String(),
              next: Type.String(),
            },
            { additionalProperties: false },
          ),
        ),
      },
      { additionalProperties: false },
    ),
  },
} as const satisfies Record<string, Route>;
