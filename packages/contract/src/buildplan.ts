// How a source becomes an artifact, as data. Made by the detector in core, executed by a builder; shown by `berth plan`.
import { Type, type Static } from "typebox";
import { Command } from "./spec.ts";

const Why = Type.String({ description: "Which file said so, in a short phrase." });
export const BuildTool = Type.Object(
  {
    name: Type.String({
      description: "node, npm, pnpm, yarn, python, pip, poetry, uv, go, java, maven, gradle, php, composer, ruby, bundler, rust",
    }),
    /** A semver range or `*`. */
    wanted: Type.String(),
    why: Why,
    phase: Type.Union([Type.Literal("build"), Type.Literal("run"), Type.Literal("both")]),
  },
  { additionalProperties: false },
);
export type BuildTool = Static<typeof BuildTool>;

export const BuildStep = Type.Object(
  {
    name: Type.Union([Type.Literal("install"), Type.Literal("build"), Type.Literal("prune"), Type.Literal("release")]),
    /** Relative to the plan's root. */
    command: Command,
    why: Why,
    /** When these files are unchanged, the step's outcome may come from the cache; empty = always run. */
    inputs: Type.Array(Type.String()),
    /** Folders that the step fills from its inputs alone, e.g. `node_modules`. */
    outputs: Type.Array(Type.String()),
    network: Type.Boolean(),
  },
  { additionalProperties: false },
);
export type BuildStep = Static<typeof BuildStep>;

export const ProcessType = Type.Object({ command: Command, why: Why }, { additionalProperties: false });

export const BuildPlan = Type.Object(
  {
    kind: Type.Union([
      Type.Literal("node"),
      Type.Literal("python"),
      Type.Literal("go"),
      Type.Literal("java"),
      Type.Literal("php"),
      Type.Literal("ruby"),
      Type.Literal("rust"),
      Type.Literal("static"),
      Type.Literal("dockerfile"),
      Type.Literal("procfile"),
    ]),
    /** A framework or sub-kind for people: `express`, `next`, `django`, `gradle`, ... */
    flavour: Type.Optional(Type.String()),
    /** The folder inside the source that is built and run, `.` for all of it. */
    root: Type.String(),
    tools: Type.Array(BuildTool),
    steps: Type.Array(BuildStep),
    /** Process type -> how it starts. May be empty: then a start command has to come from the component. */
    processes: Type.Record(Type.String(), ProcessType),
    /** Environment for build steps and instances, e.g. NODE_ENV. `$ROOT` stands for the plan's root at that time. */
    env: Type.Record(Type.String(), Type.String()),
    /** Folders kept between builds of one stack, by name; `env` points tools at them. */
    caches: Type.Array(
      Type.Object(
        { name: Type.String(), env: Type.Record(Type.String(), Type.String({ description: "`$CACHE` stands for the cache folder" })) },
        { additionalProperties: false },
      ),
    ),
    /** Paths below root that are left out of the artifact (build tools, caches). */
    exclude: Type.Array(Type.String()),
    staticSite: Type.Optional(Type.Object({ dir: Type.String(), spa: Type.Boolean() }, { additionalProperties: false })),
    /** The repository's own, relative to `root`; what it says is done instead of tools, steps and caches. */
    dockerfile: Type.Optional(Type.String()),
    /** The stage of it that becomes the image; its last one when absent. */
    target: Type.Optional(Type.String()),
    /** Names of the build secrets that its `RUN --mount=type=secret` ask for. */
    secrets: Type.Optional(Type.Array(Type.String())),
    /** What app.json declares beside the build; its values are in `env` already. */
    app: Type.Optional(
      Type.Object(
        {
          env: Type.Record(
            Type.String(),
            Type.Object(
              {
                value: Type.Optional(Type.String()),
                /** Without a value somebody has to set it before the first release. */
                required: Type.Boolean(),
                /** A random secret is to be made when it is not set. */
                generate: Type.Boolean(),
                description: Type.Optional(Type.String()),
              },
              { additionalProperties: false },
            ),
          ),
          formation: Type.Record(Type.String(), Type.Object({ quantity: Type.Integer({ minimum: 0 }) }, { additionalProperties: false })),
          /** Runs once, after the first release of the stack. */
          postdeploy: Type.Optional(Command),
        },
        { additionalProperties: false },
      ),
    ),
    /** What was found and why, in the order it was decided; what was looked at and not taken, too. */
    findings: Type.Array(Type.Object({ file: Type.String(), says: Type.String() }, { additionalProperties: false })),
    warnings: Type.Array(
      Type.Object({ code: Type.String(), params: Type.Record(Type.String(), Type.String()) }, { additionalProperties: false }),
    ),
  },
  { additionalProperties: false, $id: "BuildPlan" },
);
export type BuildPlan = Static<typeof BuildPlan>;
