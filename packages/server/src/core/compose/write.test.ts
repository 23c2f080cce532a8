import fc from "fast-check";
import { defaultSpec, ComponentSpec, type Command, type Probe } from "@berth/contract/spec.ts";
import { Value } from "typebox/value";
import { expect, test } from "vitest";
import { definitionOf, readProject, yaml } from "./project.testkit.ts";
import type { StackDefinition } from "./read.ts";
import { writeCompose } from "./write.ts";

const again = (definition: StackDefinition, shell: Record<string, string> = {}, files: Record<string, string> = {}) =>
  readProject({ files: { "compose.yaml": writeCompose(definition), ...files }, shell });

test("what was read is written so that reading it gives the same, without a note", () => {
  const first = definitionOf(
    yaml(`name: shop
x-berth: {runEnv: staging, drift: report}
services:
  web:
    build: {context: web, args: {A: "$$1"}}
    command: migrate && serve -p $$PORT
    ports: ["8080:3000"]
    environment: {PRICE: "$$5", YES: "yes", NUMBER: "1e3", EMPTY: "", LINES: "a\\nb"}
    depends_on: {db: {condition: service_healthy}, init: {condition: service_completed_successfully}}
    healthcheck: {test: curl -f http://localhost:3000/health, interval: 30s, start_period: 10s}
    deploy: {replicas: 3, resources: {limits: {memory: 64m, cpus: "0.25"}}, update_config: {parallelism: 2, delay: 1500ms}}
    x-berth: {domains: [shop.test/x], drainTimeout: 90s, secrets: {TOKEN: token}, kubernetes: {Deployment: {metadata: {annotations: {price: "$$5", on: "yes"}}, spec: {minReadySeconds: 3, template: {spec: {affinity: {$patch: delete}, tolerations: [{key: a}]}}}}}}
  init: {build: ., entrypoint: [/bin/sh, -c, "echo $$HOME"], command: ["", "a b"]}
  nightly: {build: ., x-berth: {schedule: {cron: "0 3 * * *", timeZone: Europe/Berlin, deadline: 1h}}}
  db: {image: "postgres:17", volumes: ["data:/var/lib/postgresql:ro"], ports: ["5432:5432"], stop_grace_period: 1m}
volumes: {data: , kept: {external: true}}
secrets: {token: {external: true}}
configs: {greeting: {content: "$$hi"}}
`),
  );
  const second = again(first);
  expect(second.ok && second.definition).toEqual({ ...first, notes: [] });
  expect(writeCompose(first)).not.toMatch(/null|undefined/);
});

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?$/);
const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: "grapheme", maxLength: 10 }),
  fc.constantFrom(
    "$",
    "$A",
    "${A:-b}",
    "$$",
    "yes",
    "no",
    "null",
    "~",
    "1",
    "1.10",
    "0x1",
    "true",
    "",
    " a ",
    "a: b",
    "# a",
    "- a",
    "<<",
    "!x",
    "&a",
    "*a",
    "a\nb\n",
    "\t",
    "\\",
    "'",
    '"',
    "|",
    "2020-01-01",
    "=",
    "%",
  ),
);
const milliseconds = (min: number, max: number) => fc.integer({ min, max });
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ exec: fc.array(text, { minLength: 1, maxLength: 4 }) }),
  fc.record({ shell: text.filter((line) => line !== "") }),
  fc.constant<Command>({ exec: ["/bin/sh", "-c", "x"] }),
);
const path = text.map((part) => `/${part.replace(/[\s\0]/g, "")}`);
const optional = <T extends Record<string, fc.Arbitrary<unknown>>>(model: T) => fc.record(model, { requiredKeys: [] });
const probe = fc
  .tuple(
    fc.oneof(
      fc
        .tuple(
          path,
          optional({ port: fc.integer({ min: 1, max: 65_535 }), headers: fc.dictionary(fc.constantFrom("x-a", "timeout", "port"), text) }),
        )
        .map(([at, more]) => ({ type: "http", path: at, ...more })),
      optional({ port: fc.integer({ min: 1, max: 65_535 }) }).map((more) => ({ type: "tcp", ...more })),
      command.map((line) => ({ type: "exec", command: line })),
    ),
    optional({
      initialDelay: milliseconds(0, 100_000),
      period: milliseconds(100, 3_600_000),
      timeout: milliseconds(50, 600_000),
      successThreshold: fc.integer({ min: 1, max: 100 }),
      failureThreshold: fc.integer({ min: 1, max: 1000 }),
    }),
  )
  .map(([check, more]) => ({ check, ...more }) as Probe);
const variable = fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,8}$/).filter((key) => key !== "PORT");
const volumes = ["data", "cache-1"];

const component = fc
  .record({
    kind: fc.constantFrom("web", "worker", "stateful", "cron" as const),
    source: fc.oneof(
      optional({
        dockerfile: fc.constant("D$x"),
        target: text.filter((part) => part !== ""),
        args: fc.dictionary(variable, text, { minKeys: 1 }),
      }).map((more) => ({ build: { context: "src", ...more } })),
      fc.constant({ image: "registry.test/a$b:1" }),
    ),
    some: optional({ process: name, command, entrypoint: command, workdir: fc.constantFrom("sub/dir", "/srv/$x") }),
    env: fc.dictionary(
      variable,
      text.map((value) => value.replaceAll("\0", "")),
      { maxKeys: 4 },
    ),
    secrets: fc.dictionary(fc.stringMatching(/^S_[A-Z]{1,4}$/), name, { maxKeys: 2 }),
    ports: fc.uniqueArray(fc.record({ name, protocol: fc.constantFrom("http", "tcp"), port: fc.integer({ min: 1, max: 65_535 }) }), {
      maxLength: 3,
      selector: (port) => port.name,
    }),
    domains: fc.array(
      fc.record(
        { host: fc.constantFrom("a.test", "*.b.test"), path: path, https: fc.constant("redirect" as const) },
        { requiredKeys: ["host"] },
      ),
      { maxLength: 2 },
    ),
    mounts: fc.uniqueArray(
      fc.record(
        { volume: fc.constantFrom(...volumes), path: fc.constantFrom("/a", "/b/c", "/d$e"), readOnly: fc.constant(true) },
        { requiredKeys: ["volume", "path"] },
      ),
      { maxLength: 2, selector: (mount) => mount.path },
    ),
    resources: optional({
      memory: fc.integer({ min: 1_048_576, max: 2 ** 40 }),
      cpu: fc.double({ min: 0.01, max: 100, noNaN: true }),
      processes: fc.integer({ min: 1, max: 10_000 }),
    }),
    probes: optional({ startup: probe, readiness: probe, liveness: probe }),
    strategy: fc
      .tuple(
        fc.constantFrom("rolling", "recreate"),
        optional({
          maxSurge: fc.nat(9),
          maxUnavailable: fc.nat(9),
          minReady: milliseconds(0, 100_000),
          progressDeadline: milliseconds(1000, 900_000),
        }),
      )
      .map(([type, more]) => ({ type, ...more })),
    schedule: optional({
      timeZone: fc.constantFrom("Europe/Berlin", "UTC"),
      overlap: fc.constantFrom("forbid", "allow", "replace"),
      deadline: milliseconds(1000, 9_999_999),
      startingDeadline: milliseconds(1000, 9_999_999),
    }),
    bounds: optional({ maxBody: fc.nat(2 ** 40), maxConnections: fc.integer({ min: 1, max: 9999 }) }),
    plain: fc.record({
      replicas: fc.nat(1000),
      gracePeriod: milliseconds(0, 604_800_000),
      drainTimeout: milliseconds(0, 604_800_000),
      restart: fc.constantFrom("always", "on-failure", "never"),
      securityProfile: fc.constantFrom("restricted", "baseline", "privileged"),
    }),
  })
  .map(
    ({ kind, source, some, mounts, domains, ports, schedule, plain, bounds, ...rest }) =>
      ({
        ...defaultSpec(kind as ComponentSpec["kind"]),
        ...source,
        ...some,
        ...rest,
        ports,
        volumes: mounts,
        domains: (kind === "web" || kind === "stateful") && ports.some((port) => port.protocol === "http") ? domains : [],
        ...(kind === "cron" ? { schedule: { cron: "*/5 * * * *", ...schedule } } : {}),
        ...plain,
        ...bounds,
      }) as ComponentSpec,
  );

const definitions: fc.Arbitrary<StackDefinition> = fc
  .record({
    top: optional({ name, runEnv: fc.stringMatching(/^[A-Za-z0-9_.-]{1,10}$/) }),
    components: fc.dictionary(name, component, { minKeys: 1, maxKeys: 3 }),
    configs: fc.dictionary(name, fc.record({ content: text }), { maxKeys: 2 }),
    secrets: fc.dictionary(
      name,
      fc.record({
        source: fc.constantFrom(
          { type: "external" as const },
          { type: "environment" as const, variable: "SECRET_VALUE" },
          { type: "file" as const, path: "pw$1.txt" },
        ),
      }),
      { maxKeys: 2 },
    ),
  })
  .map(({ top, components, configs, secrets }) => {
    const names = Object.keys(components).sort();
    const chained = Object.fromEntries(
      names.map((key, index) => [
        key,
        {
          ...components[key],
          dependsOn: names
            .slice(0, index)
            .map((other) => ({ component: other, condition: (["started", "ready", "completed"] as const)[index % 3] ?? "started" })),
        },
      ]),
    );
    return {
      ...top,
      components: chained,
      volumes: Object.fromEntries(volumes.map((volume, index) => [volume, { external: index === 1 }])),
      configs,
      secrets,
      notes: [],
    } as StackDefinition;
  });

test("any definition survives being written and read", () => {
  fc.assert(
    fc.property(definitions, (definition) => {
      for (const spec of Object.values(definition.components)) expect(Value.Check(ComponentSpec, spec)).toBe(true);
      const result = again(definition, { SECRET_VALUE: "v" }, { "pw$1.txt": "w" });
      expect(result.ok ? result.definition : result.problems).toEqual(definition);
    }),
    { numRuns: 300 },
  );
}, 60_000);
