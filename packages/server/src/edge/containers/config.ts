// The settings of the agent of containers, a part of the edge's config file. It reads nothing else: no environment variable, no database.
import { readFileSync } from "node:fs";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import { parseEndpoint, type DockerEndpoint } from "../../docker/endpoint.ts";
import { DaemonTls } from "../collector/config.ts";
import { isPool } from "../../core/pool.ts";

const Settings = Type.Object({
  /** As in DOCKER_HOST. */
  docker: Type.String({ default: "unix:///var/run/docker.sock" }),
  /** PEM texts for a daemon that is reached by TCP. */
  tls: Type.Optional(DaemonTls),
  /** Where the networks of stacks come from: 1,024 of 1,024 addresses. */
  networks: Type.Object(
    { base: Type.String({ default: "10.208.0.0/12" }), size: Type.Integer({ minimum: 16, maximum: 26, default: 22 }) },
    { default: {} },
  ),
  /** Whether instances are services of the daemon's Swarm, which it has to be a manager of. */
  swarm: Type.Boolean({ default: false }),
  /** Ended tasks are remembered this long (ms); their ids are remembered for ever. */
  keepTasks: Type.Integer({ minimum: 0, default: 7 * 24 * 3_600_000 }),
});

const Config = Type.Object({
  home: Type.String({ pattern: "^/" }),
  runDir: Type.String({ pattern: "^/", maxLength: 90 }),
  installation: Type.String({ minLength: 1 }),
  agent: Type.Object(Settings.properties, { default: {} }),
});

export interface ContainersConfig extends Omit<Static<typeof Config>, "agent"> {
  readonly agent: Omit<Static<typeof Settings>, "docker" | "tls"> & { readonly endpoint: DockerEndpoint };
}

/** Fills in defaults and checks; throws a TypeError that names what is wrong. */
export function parseContainersConfig(value: unknown): ContainersConfig {
  const filled = Value.Default(Config, Value.Clone(value));
  if (!Value.Check(Config, filled)) {
    const first = Value.Errors(Config, filled)[0];
    throw new TypeError(`agent config${first?.instancePath ?? ""}: ${first?.message ?? "is not valid"}`);
  }
  const { docker, tls, ...agent } = filled.agent;
  if (!isPool(agent.networks))
    throw new TypeError(`agent config/networks: ${agent.networks.base} cannot be cut into networks of /${String(agent.networks.size)}`);
  return { ...filled, agent: { ...agent, endpoint: parseEndpoint(docker, tls) } };
}

export function readContainersConfig(file: string | undefined): ContainersConfig {
  if (file === undefined) throw new TypeError("the path of the agent's config file is missing");
  return parseContainersConfig(JSON.parse(readFileSync(file, "utf8")));
}
