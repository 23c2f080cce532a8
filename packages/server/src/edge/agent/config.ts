// The agent's part of the edge's config file. The agent reads nothing else: no environment variable, no database.
import { readFileSync } from "node:fs";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";

const AgentSettings = Type.Object({
  /** `own-user`: each stack runs under its own uid (needs root). `same-user`: everything runs as Berth's user. `auto`: own-user exactly when root. */
  isolation: Type.Union([Type.Literal("auto"), Type.Literal("own-user"), Type.Literal("same-user")], { default: "auto" }),
  /** `auto` uses bubblewrap where it works; `off` does without. */
  sandbox: Type.Union([Type.Literal("auto"), Type.Literal("off")], { default: "auto" }),
  /** `auto` uses control groups where they can be written; `off` limits nothing. */
  cgroups: Type.Union([Type.Literal("auto"), Type.Literal("off")], { default: "auto" }),
  /** `auto` tries whether a mount namespace really works; `env` gives volumes by variable only. */
  volumes: Type.Union([Type.Literal("auto"), Type.Literal("env")], { default: "auto" }),
  firstUid: Type.Integer({ minimum: 1000, default: 200_000 }),
  ports: Type.Object(
    { from: Type.Integer({ minimum: 1024, default: 20_000 }), to: Type.Integer({ maximum: 65_535, default: 29_999 }) },
    { default: {} },
  ),
  /** Instances that ran this long (ms) start again without delay after the next exit. */
  steadyAfter: Type.Integer({ minimum: 1, default: 60_000 }),
  /** Ended tasks are remembered this long (ms); their ids are remembered for ever. */
  keepTasks: Type.Integer({ minimum: 0, default: 7 * 24 * 3_600_000 }),
});

export const AgentConfig = Type.Object({
  home: Type.String({ pattern: "^/" }),
  runDir: Type.String({ pattern: "^/", maxLength: 90 }),
  installation: Type.Optional(Type.String({ minLength: 1 })),
  agent: Type.Object(AgentSettings.properties, { default: {} }),
});
export type AgentConfig = Static<typeof AgentConfig>;

/** Fills in defaults and checks; throws a TypeError that names what is wrong. */
export function parseAgentConfig(value: unknown): AgentConfig {
  const filled = Value.Default(AgentConfig, Value.Clone(value));
  if (Value.Check(AgentConfig, filled)) return filled;
  const first = Value.Errors(AgentConfig, filled)[0];
  throw new TypeError(`agent config${first?.instancePath ?? ""}: ${first?.message ?? "is not valid"}`);
}

export function readAgentConfig(file: string | undefined): AgentConfig {
  if (file === undefined) throw new TypeError("the path of the agent's config file is missing");
  return parseAgentConfig(JSON.parse(readFileSync(file, "utf8")));
}
