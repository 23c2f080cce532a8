// A stack definition written back as a Compose file (`berth export`). What Compose has a word for is said in Compose's words; reading the file again gives the same definition.
import { defaultSpec, type Command, type ComponentSpec, type Probe, type Strategy } from "@berth/contract/spec.ts";
import { Document } from "yaml";
import type { StackDefinition } from "./read.ts";
import { formatBytes, formatDuration } from "./units.ts";

/** Notes are not written; values of secrets are not part of a definition. */
export function writeCompose(definition: StackDefinition): string {
  const top = present({
    name: definition.name,
    "x-berth": filled(present({ runEnv: definition.runEnv, drift: definition.drift })),
    services: mapped(definition.components, writeService),
    volumes: filled(mapped(definition.volumes, (volume) => (volume.external ? { external: true } : {}))),
    configs: filled(mapped(definition.configs, (config) => ({ content: literal(config.content) }))),
    secrets: filled(
      mapped(definition.secrets, ({ source }) => {
        switch (source.type) {
          case "file":
            return { file: literal(source.path) };
          case "environment":
            return { environment: source.variable };
          case "external":
            return { external: true };
        }
      }),
    ),
  });
  return new Document(top, { version: "1.2" }).toString({ lineWidth: 0, singleQuote: false });
}

function writeService(spec: ComponentSpec): Record<string, unknown> {
  const command = writeCommand(spec.command);
  const entrypoint = writeCommand(spec.entrypoint);
  return present({
    build:
      spec.build === undefined
        ? undefined
        : present({
            context: literal(spec.build.context),
            dockerfile: literal(spec.build.dockerfile),
            target: literal(spec.build.target),
            args: spec.build.args === undefined ? undefined : mapped(spec.build.args, literal),
            secrets:
              spec.build.secrets === undefined
                ? undefined
                : Object.entries(spec.build.secrets).map(([id, secret]) =>
                    id === secret ? literal(secret) : { source: literal(secret), target: literal(id) },
                  ),
          }),
    image: spec.build === undefined ? literal(spec.image) : undefined,
    command: command.words,
    entrypoint: entrypoint.words,
    working_dir: literal(spec.workdir),
    environment: filled(mapped(spec.env, literal)),
    volumes:
      spec.volumes.length === 0
        ? undefined
        : spec.volumes.map((mount) =>
            present({ type: "volume", source: mount.volume, target: literal(mount.path), read_only: mount.readOnly }),
          ),
    depends_on: filled(
      Object.fromEntries(
        spec.dependsOn.map((dependency) => [
          dependency.component,
          {
            condition: { started: "service_started", ready: "service_healthy", completed: "service_completed_successfully" }[
              dependency.condition
            ],
          },
        ]),
      ),
    ),
    deploy: writeDeploy(spec),
    restart: { always: "always", "on-failure": "on-failure", never: "no" }[spec.restart],
    stop_grace_period: formatDuration(spec.gracePeriod),
    "x-berth": writeExtension(spec, command.extension, entrypoint.extension),
  });
}

function writeDeploy(spec: ComponentSpec): Record<string, unknown> {
  const { memory, cpu, processes } = spec.resources;
  const limits = filled(
    present({
      cpus: cpu === undefined ? undefined : decimal(cpu),
      memory: memory === undefined ? undefined : formatBytes(memory),
      pids: processes,
    }),
  );
  return present({ replicas: spec.replicas, resources: limits === undefined ? undefined : { limits } });
}

function writeExtension(spec: ComponentSpec, command: Command | undefined, entrypoint: Command | undefined): Record<string, unknown> {
  const { schedule } = spec;
  return present({
    kind: spec.kind,
    process: spec.process,
    follow: spec.follow,
    autoscale: spec.autoscale,
    placement: spec.placement === undefined ? undefined : present({ ...spec.placement, pause: duration(spec.placement.pause) }),
    command: command === undefined ? undefined : literalCommand(command),
    entrypoint: entrypoint === undefined ? undefined : literalCommand(entrypoint),
    ports: spec.ports,
    domains:
      spec.domains.length === 0
        ? undefined
        : spec.domains.map((domain) => present({ host: domain.host, path: literal(domain.path), https: domain.https })),
    secrets: filled(spec.secrets),
    schedule:
      schedule === undefined
        ? undefined
        : present({
            ...schedule,
            cron: literal(schedule.cron),
            timeZone: literal(schedule.timeZone),
            deadline: duration(schedule.deadline),
            startingDeadline: duration(schedule.startingDeadline),
          }),
    strategy: writeStrategy(spec.strategy),
    probes: filled(
      present({
        startup: writeProbe(spec.probes.startup),
        readiness: writeProbe(spec.probes.readiness),
        liveness: writeProbe(spec.probes.liveness),
      }),
    ),
    drainTimeout: spec.drainTimeout === defaultSpec(spec.kind).drainTimeout ? undefined : formatDuration(spec.drainTimeout),
    maxBody: spec.maxBody === undefined ? undefined : formatBytes(spec.maxBody),
    maxConnections: spec.maxConnections,
    securityProfile: spec.securityProfile,
    kubernetes: spec.kubernetes === undefined ? undefined : mapped(spec.kubernetes, literals),
  });
}

function writeStrategy(strategy: Strategy): Record<string, unknown> {
  return present({ ...strategy, minReady: duration(strategy.minReady), progressDeadline: duration(strategy.progressDeadline) });
}

function writeProbe(probe: Probe | undefined): Record<string, unknown> | undefined {
  if (probe === undefined) return undefined;
  return present({
    ...probe,
    check: writeCheck(probe.check),
    initialDelay: duration(probe.initialDelay),
    period: duration(probe.period),
    timeout: duration(probe.timeout),
  });
}

function writeCheck(check: Probe["check"]): Record<string, unknown> {
  switch (check.type) {
    case "http":
      return present({
        ...check,
        path: literal(check.path),
        headers: check.headers === undefined ? undefined : mapped(check.headers, literal),
      });
    case "tcp":
      return { ...check };
    case "exec":
      return { ...check, command: literalCommand(check.command) };
  }
}

/** As a list; only what reading would take for a shell line is said in `x-berth`. */
function writeCommand(command: Command | undefined): { words: string[] | undefined; extension: Command | undefined } {
  if (command === undefined) return { words: undefined, extension: undefined };
  if ("shell" in command) return { words: ["/bin/sh", "-c", literal(command.shell)], extension: undefined };
  const isShellLine = command.exec.length === 3 && command.exec[0] === "/bin/sh" && command.exec[1] === "-c";
  return isShellLine
    ? { words: undefined, extension: command }
    : { words: command.exec.map((word) => literal(word)), extension: undefined };
}

function literalCommand(command: Command): Command {
  return "exec" in command ? { exec: command.exec.map((word) => literal(word)) } : { shell: literal(command.shell) };
}

/** `$` is doubled, so that reading does not take it for a variable. */
function literal(text: string): string;
function literal(text: string | undefined): string | undefined;
function literal(text: string | undefined): string | undefined {
  return text?.replaceAll("$", "$$$$");
}

/** The same in whatever a value consists of. */
function literals(value: unknown): unknown {
  if (typeof value === "string") return literal(value);
  if (Array.isArray(value)) return value.map(literals);
  return value === null || typeof value !== "object" ? value : mapped(value as Record<string, unknown>, literals);
}

function duration(value: number | undefined): string | undefined {
  return value === undefined ? undefined : formatDuration(value);
}

/** Without an exponent, which no Compose file has. */
function decimal(value: number): string {
  const text = String(value);
  return text.includes("e") ? value.toFixed(20).replace(/0+$/, "") : text;
}

function mapped<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

function filled<T extends object>(record: T): T | undefined {
  return Object.keys(record).length === 0 ? undefined : record;
}

function present(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
