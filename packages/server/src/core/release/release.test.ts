import { describe, expect, it } from "vitest";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { ComponentSpec, defaultSpec, type Command } from "@berth/contract/spec.ts";
import type { TSchema } from "typebox";
import { Value } from "typebox/value";
import { chooseCommand, releaseHash, resolveConfig, siblingEnv, type ReleaseContent } from "./release.ts";

/** Every field of the spec, with a value; the test below fails when one is missing. */
const fullSpec: Required<ComponentSpec> = {
  kind: "web",
  build: { context: "." },
  image: "nginx:1.27",
  follow: true,
  process: "web",
  command: { exec: ["node", "a.js"] },
  entrypoint: { exec: ["tini"] },
  workdir: "app",
  env: { A: "1" },
  secrets: { TOKEN: "token" },
  ports: [{ name: "http", protocol: "http" }],
  domains: [{ host: "example.org" }],
  volumes: [{ volume: "data", path: "/data" }],
  dependsOn: [{ component: "db", condition: "ready" }],
  resources: { memory: 64 * 1_048_576 },
  probes: { readiness: { check: { type: "http", path: "/" } } },
  strategy: { type: "rolling" },
  schedule: { cron: "* * * * *" },
  replicas: 2,
  autoscale: { min: 1, max: 4, cpu: 70 },
  placement: { clusters: [{ name: "east" }, { name: "west", share: 2 }], pause: 1000 },
  gracePeriod: 1_000,
  maxBody: 1_000,
  maxConnections: 10,
  drainTimeout: 2_000,
  restart: "always",
  securityProfile: "restricted",
  kubernetes: { Deployment: { metadata: { annotations: { "example.com/a": "1" } } } },
};
const otherSpec: Required<ComponentSpec> = {
  kind: "worker",
  build: { context: "api" },
  image: "nginx:1.28",
  follow: false,
  process: "api",
  command: { shell: "node a.js" },
  entrypoint: { exec: ["dumb-init"] },
  workdir: "src",
  env: { A: "2" },
  secrets: { TOKEN: "other" },
  ports: [{ name: "http", protocol: "tcp" }],
  domains: [],
  volumes: [{ volume: "data", path: "/data", readOnly: true }],
  dependsOn: [{ component: "db", condition: "started" }],
  resources: { memory: 65 * 1_048_576 },
  probes: { readiness: { check: { type: "http", path: "/healthz" } } },
  strategy: { type: "recreate" },
  schedule: { cron: "* * * * *", overlap: "allow" },
  replicas: 3,
  autoscale: { min: 1, max: 5, cpu: 70 },
  placement: { clusters: [{ name: "east", replicas: 2 }] },
  gracePeriod: 1_001,
  maxBody: 1_001,
  maxConnections: 11,
  drainTimeout: 2_001,
  restart: "on-failure",
  securityProfile: "baseline",
  kubernetes: { Deployment: { metadata: { annotations: { "example.com/a": "2" } } } },
};
const content: ReleaseContent = {
  artifactDigest: `sha256:${"a".repeat(64)}`,
  config: { A: "1", B: "2" },
  secretRefs: { TOKEN: { secret: "token", version: 1 } },
  spec: fullSpec,
  runtime: { command: { exec: ["node", "a.js"] }, workdir: ".", env: { NODE_ENV: "production" }, tools: [{ name: "node", wanted: "24" }] },
};
const fields = Object.keys((ComponentSpec as TSchema & { properties: Record<string, TSchema> }).properties) as (keyof ComponentSpec)[];

/** The same value with its keys written in another order. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, item]) => [key, reordered(item)]),
  );
}

describe("the hash of a release", () => {
  it("knows every field that a spec can have", () => {
    expect(Object.keys(fullSpec).toSorted()).toEqual(fields.toSorted());
    expect([Value.Check(ComponentSpec, fullSpec), Value.Check(ComponentSpec, otherSpec)]).toEqual([true, true]);
  });
  it.each(fields.filter((field) => !["replicas", "follow", "autoscale", "placement"].includes(field)))(
    "changes with the spec's %s, and with its absence",
    (field) => {
      const changed = releaseHash({ ...content, spec: { ...fullSpec, [field]: otherSpec[field] } });
      const { [field]: _, ...without } = fullSpec;
      const absent = releaseHash({ ...content, spec: without as ComponentSpec });
      expect(new Set([releaseHash(content), changed, absent]).size).toBe(3);
    },
  );
  it("does not change with the number of instances: a rollback never un-scales", () => {
    expect(releaseHash({ ...content, spec: { ...fullSpec, replicas: 7 } })).toBe(releaseHash(content));
  });
  it("does not change with where it runs: another placement replaces no instance, and a rollback keeps it", () => {
    const { placement: _, ...without } = fullSpec;
    expect([{ ...fullSpec, placement: otherSpec.placement }, without].map((spec) => releaseHash({ ...content, spec }))).toEqual([
      releaseHash(content),
      releaseHash(content),
    ]);
  });
  it("does not change with the limits of an autoscaler: other ones replace no instance, and a rollback keeps them", () => {
    const { autoscale: _, ...without } = fullSpec;
    expect([{ ...fullSpec, autoscale: { min: 2, max: 9, memory: 50 } }, without].map((spec) => releaseHash({ ...content, spec }))).toEqual([
      releaseHash(content),
      releaseHash(content),
    ]);
  });
  it("does not change with what is followed: to begin with it replaces no instance", () => {
    const { follow: _, ...without } = fullSpec;
    expect([{ ...fullSpec, follow: false }, without].map((spec) => releaseHash({ ...content, spec }))).toEqual([
      releaseHash(content),
      releaseHash(content),
    ]);
  });
  it.each<[string, Partial<ReleaseContent>]>([
    ["artifact", { artifactDigest: `sha256:${"b".repeat(64)}` }],
    ["config", { config: { A: "1", B: "3" } }],
    ["a config key", { config: { A: "1" } }],
    ["secret", { secretRefs: { TOKEN: { secret: "other", version: 1 } } }],
    ["secret's version", { secretRefs: { TOKEN: { secret: "token", version: 2 } } }],
    ["command", { runtime: { ...content.runtime, command: { shell: "node a.js" } } }],
    ["folder", { runtime: { ...content.runtime, workdir: "app" } }],
    ["artifact's environment", { runtime: { ...content.runtime, env: {} } }],
    ["tools", { runtime: { ...content.runtime, tools: [] } }],
  ])("changes with the %s", (_, over) => {
    expect(releaseHash({ ...content, ...over })).not.toBe(releaseHash(content));
  });
  it("does not change with the order in which keys were written", () => {
    expect(releaseHash(reordered(content) as ReleaseContent)).toBe(releaseHash(content));
  });
  it("changes with the order of arguments", () => {
    expect(releaseHash({ ...content, runtime: { ...content.runtime, command: { exec: ["a.js", "node"] } } })).not.toBe(
      releaseHash(content),
    );
  });
});

describe("config", () => {
  it("comes from the stack, then the spec, then the component: the later wins", () => {
    expect(
      resolveConfig({ A: "stack", B: "stack", C: "stack" }, { env: { B: "spec", C: "spec" } }, { C: "component" }, "production"),
    ).toEqual({ RUN_ENV: "production", A: "stack", B: "spec", C: "component" });
  });
  it("may name another RUN_ENV", () => {
    expect(resolveConfig({}, { env: { RUN_ENV: "test" } }, {}, "production")).toEqual({ RUN_ENV: "test" });
  });
});

describe("addresses of siblings", () => {
  it("are host, port and URL under the component's name", () => {
    expect(
      siblingEnv([
        { component: "my-api", protocol: "http", host: "127.0.0.1", port: 20_001 },
        { component: "db", protocol: "tcp", host: "127.0.0.1", port: 20_002 },
      ]),
    ).toEqual({
      MY_API_HOST: "127.0.0.1",
      MY_API_PORT: "20001",
      MY_API_URL: "http://127.0.0.1:20001",
      DB_HOST: "127.0.0.1",
      DB_PORT: "20002",
      DB_URL: "tcp://127.0.0.1:20002",
    });
  });
  it("are those of the first port when there are several", () => {
    expect(
      siblingEnv([
        { component: "api", protocol: "http", host: "127.0.0.1", port: 1 },
        { component: "api", protocol: "tcp", host: "127.0.0.1", port: 2 },
      ])["API_PORT"],
    ).toBe("1");
  });
});

describe("the start command", () => {
  const plan = (processes: Record<string, string>, over: Partial<BuildPlan> = {}): BuildPlan => ({
    kind: "node",
    root: ".",
    tools: [
      { name: "node", wanted: "24", why: "engines", phase: "both" },
      { name: "npm", wanted: "*", why: "lock file", phase: "build" },
      { name: "ffmpeg", wanted: "*", why: "apt", phase: "run" },
    ],
    steps: [],
    processes: Object.fromEntries(Object.entries(processes).map(([name, shell]) => [name, { command: { shell }, why: "Procfile" }])),
    env: { NODE_ENV: "production" },
    caches: [],
    exclude: [],
    findings: [],
    warnings: [],
    ...over,
  });
  const commandOf = (component: string, over: Partial<ComponentSpec>, processes: Record<string, string>): Command | string => {
    const chosen = chooseCommand(component, { ...defaultSpec(over.kind ?? "web"), ...over }, plan(processes));
    return chosen.ok ? chosen.runtime.command : `${chosen.cause.code} ${String(chosen.cause.params["process"])}`;
  };
  it.each<[string, string, Partial<ComponentSpec>, Record<string, string>, Command | string]>([
    ["is the component's own", "site", { command: { exec: ["serve"] } }, { web: "npm start" }, { exec: ["serve"] }],
    ["is the process type it names", "site", { process: "api" }, { web: "npm start", api: "npm run api" }, { shell: "npm run api" }],
    ["is missing when the named process type is", "site", { process: "api" }, { web: "npm start" }, "start_command_missing api"],
    ["of a web component is `web`", "site", {}, { web: "npm start", site: "other", worker: "w" }, { shell: "npm start" }],
    ["of a web component is else its own name", "site", {}, { site: "other", worker: "w" }, { shell: "other" }],
    ["of a worker is its own name", "mails", { kind: "worker" }, { web: "npm start", worker: "w", mails: "m" }, { shell: "m" }],
    ["of a worker is else `worker`", "mails", { kind: "worker" }, { web: "npm start", worker: "w" }, { shell: "w" }],
    [
      "of a worker that its siblings reach by HTTP is `web` before `worker`",
      "api",
      { kind: "worker", ports: [{ name: "http", protocol: "http" }] },
      { web: "npm start", worker: "w" },
      { shell: "npm start" },
    ],
    [
      "of a worker that its siblings reach by HTTP is its own name before `web`",
      "api",
      { kind: "worker", ports: [{ name: "http", protocol: "http" }] },
      { web: "npm start", api: "a" },
      { shell: "a" },
    ],
    [
      "of a worker with a TCP port only is not `web`",
      "api",
      { kind: "worker", ports: [{ name: "tcp", protocol: "tcp" }] },
      { web: "npm start", worker: "w" },
      { shell: "w" },
    ],
    [
      "of a cron component is its own name before `cron` and `worker`",
      "nightly",
      { kind: "cron" },
      { nightly: "n", cron: "c", worker: "w" },
      { shell: "n" },
    ],
    ["is the only one there is, whatever its name", "mails", { kind: "worker" }, { web: "npm start" }, { shell: "npm start" }],
    ["is never the release step", "mails", { kind: "worker" }, { release: "migrate", web: "npm start" }, { shell: "npm start" }],
    ["is missing when there is only a release step", "mails", { kind: "worker" }, { release: "migrate" }, "start_command_missing mails"],
    ["is missing when several fit alike", "mails", { kind: "worker" }, { web: "npm start", api: "a" }, "start_command_missing mails"],
    ["is missing when there is none", "site", {}, {}, "start_command_missing web"],
    ["does not come from an object's own prototype", "constructor", { kind: "worker" }, { web: "npm start" }, { shell: "npm start" }],
    [
      "follows an entrypoint as its arguments",
      "site",
      { entrypoint: { exec: ["tini", "--"] }, command: { exec: ["node", "a.js"] } },
      {},
      { exec: ["tini", "--", "node", "a.js"] },
    ],
    [
      "that is a shell line follows an entrypoint through the shell",
      "site",
      { entrypoint: { exec: ["tini", "--"] }, command: { shell: "node a.js" } },
      {},
      { exec: ["tini", "--", "/bin/sh", "-c", "node a.js"] },
    ],
    [
      "is the entrypoint alone when the component has no command of its own, as in Compose",
      "site",
      { entrypoint: { exec: ["./run"] } },
      { web: "npm start" },
      { exec: ["./run"] },
    ],
    [
      "is an entrypoint's shell line, which takes no arguments",
      "site",
      { entrypoint: { shell: "exec ./run" }, command: { exec: ["x"] } },
      {},
      { shell: "exec ./run" },
    ],
  ])("%s", (_, component, over, processes, wanted) => {
    expect(commandOf(component, over, processes)).toEqual(wanted);
  });
  it("is the image's own where its Dockerfile says it and nobody else, also by the name of its process", () => {
    const own = { ...plan({}), kind: "dockerfile" as const };
    for (const spec of [defaultSpec("web"), { ...defaultSpec("web"), process: "web" }])
      expect(chooseCommand("site", spec, own)).toMatchObject({ ok: true });
    expect(chooseCommand("site", { ...defaultSpec("web"), process: "worker" }, own)).toMatchObject({
      cause: { code: "start_command_missing" },
    });
  });
  it("comes with the folder, the artifact's environment and the tools that it runs with, not those that only built it", () => {
    expect(chooseCommand("site", { ...defaultSpec("web"), workdir: "app" }, plan({ web: "npm start" }))).toEqual({
      ok: true,
      runtime: {
        command: { shell: "npm start" },
        workdir: "app",
        env: { NODE_ENV: "production" },
        tools: [
          { name: "node", wanted: "24" },
          { name: "ffmpeg", wanted: "*" },
        ],
      },
    });
  });
  it("that is missing is told with the process types that there are", () => {
    const chosen = chooseCommand("mails", defaultSpec("worker"), plan({ web: "a", api: "b" }));
    expect(chosen).toMatchObject({
      ok: false,
      cause: { code: "start_command_missing", evidence: [{ kind: "file", text: "The build has these process types: web, api" }] },
    });
  });
});
