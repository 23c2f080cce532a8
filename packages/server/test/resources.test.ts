// Resources over a real database: what services accept, refuse and record, before any loop acts on it.
import { Readable } from "node:stream";
import type { PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import tar from "tar-stream";
import { describe, expect, test } from "vitest";
import { BerthError } from "../src/core/errors.ts";
import type { Call } from "../src/resources/call.ts";
import { useServices } from "./services.ts";

const services = useServices();

async function archive(files: Record<string, string>): Promise<Readable> {
  const pack = tar.pack();
  for (const [name, text] of Object.entries(files)) pack.entry({ name }, text);
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Readable.from(chunks);
}

async function upload(stack: string, files: Record<string, string>): Promise<string> {
  const { handlers, call } = services();
  return (
    await handlers.uploadSource({ params: { stack }, query: { revision: "abc", message: "first" }, body: await archive(files) }, call())
  ).digest;
}

const hello = {
  "package.json": JSON.stringify({ name: "hello", scripts: { start: "node server.js" } }),
  "server.js": "require('http').createServer((q, r) => r.end('hi')).listen(process.env.PORT)",
};
/** A folder without a Compose file, by a caller who has looked for everything that is asked for. */
const noCompose = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const nothing = [
  ".env",
  ...noCompose,
  "compose.override.yaml",
  "compose.override.yml",
  "docker-compose.override.yaml",
  "docker-compose.override.yml",
];
const request = { files: {}, absent: nothing, composeFiles: [], variables: { COMPOSE_FILE: null }, profiles: [], sources: {} };

/** Answers what a plan asks for as a caller does who has no such file or variable. */
async function planFor(stack: string, body: PlanRequest): Promise<StackPlan> {
  const { handlers, call } = services();
  const answer = await handlers.createPlan({ params: { stack }, body }, call());
  if (answer.status === "ready") return answer;
  if (answer.contexts.length > 0) throw new Error(`no source for ${answer.contexts.join(", ")}`);
  return planFor(stack, {
    ...body,
    absent: [...body.absent, ...answer.files],
    variables: { ...body.variables, ...Object.fromEntries(answer.variables.map((name) => [name, null])) },
  });
}

async function deploy(stack: string, files: Record<string, string> = hello): Promise<void> {
  const { handlers, call } = services();
  const digest = await upload(stack, files);
  const plan = await planFor(stack, { ...request, sources: { ".": digest } });
  await handlers.applyPlan({ params: { stack, plan: plan.id }, body: {} }, call());
}

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "no error";
  } catch (error) {
    if (error instanceof BerthError) return error.code;
    throw error;
  }
}

/** A user of another team. */
async function stranger(): Promise<Call> {
  const { database, call } = services();
  const user = await database.db
    .insertInto("users")
    .values({ name: `stranger-${Math.random().toString(36).slice(2)}` })
    .returning("id")
    .executeTakeFirstOrThrow();
  const team = await database.db
    .insertInto("teams")
    .values({ name: `team-${user.id.slice(0, 8)}` })
    .returning("id")
    .executeTakeFirstOrThrow();
  await database.db.insertInto("role_bindings").values({ user_id: user.id, role: "developer", team_id: team.id, stack_id: null }).execute();
  return call({ principal: { kind: "user", id: user.id, scopes: ["*"] }, by: "stranger" });
}

describe("stacks", () => {
  test("are listed with search, sort and pages, and a cursor goes on where the page ended", async () => {
    const { handlers, call } = services();
    for (const name of ["list-c", "list-a", "list-b"]) await handlers.createStack({ body: { name } }, call());
    const first = await handlers.listStacks({ query: { search: "LIST-", limit: 2 } }, call());
    expect(first.items.map((stack) => stack.name)).toEqual(["list-a", "list-b"]);
    const second = await handlers.listStacks({ query: { search: "list-", limit: 2, cursor: first.cursor ?? "" } }, call());
    expect(second.items.map((stack) => stack.name)).toEqual(["list-c"]);
    expect(second.cursor).toBeUndefined();
    const newest = await handlers.listStacks({ query: { search: "list-", sort: "-createdAt", limit: 1 } }, call());
    expect(newest.items[0]?.name).toBe("list-b");
    expect(await code(handlers.listStacks({ query: { sort: "colour" } }, call()))).toBe("invalid_request");
    expect(await code(handlers.listStacks({ query: { cursor: "garbage" } }, call()))).toBe("invalid_request");
  });

  test("look the same to a stranger whether they exist or not", async () => {
    const { handlers, call } = services();
    await handlers.createStack({ body: { name: "hidden" } }, call());
    const other = await stranger();
    const problem = async (name: string): Promise<unknown> =>
      handlers
        .showStack({ params: { stack: name } }, other)
        .catch((error: unknown) => (error instanceof BerthError ? { code: error.code, params: { ...error.params, name: "" } } : error));
    expect(await problem("hidden")).toEqual(await problem("never-was"));
    expect((await handlers.listStacks({ query: {} }, other)).items).toEqual([]);
    expect((await handlers.listEvents({ query: { stack: "hidden" } }, other)).items).toEqual([]);
  });

  test("are changed only on the revision that the caller saw", async () => {
    const { handlers, call } = services();
    await handlers.createStack({ body: { name: "etag" } }, call());
    const seen = await handlers.showStack({ params: { stack: "etag" } }, call());
    await handlers.updateStack({ params: { stack: "etag" }, body: { runEnv: "staging" } }, call({ ifMatch: seen.revision }));
    expect(await code(handlers.updateStack({ params: { stack: "etag" }, body: { runEnv: "dev" } }, call({ ifMatch: seen.revision })))).toBe(
      "precondition_failed",
    );
    expect((await handlers.showStack({ params: { stack: "etag" } }, call())).body.runEnv).toBe("staging");
  });

  test("say which name was probably meant", async () => {
    const { handlers, call } = services();
    await handlers.createStack({ body: { name: "guestbook" } }, call());
    const error = await handlers.showStack({ params: { stack: "gestbook" } }, call()).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BerthError);
    expect((error as BerthError).params["hint"]).toContain("guestbook");
  });
});

describe("a plan", () => {
  test("asks for the folder, shows what it would make, and is applied once as shown", async () => {
    const { handlers, call } = services();
    expect(await handlers.createPlan({ params: { stack: "planned" }, body: { ...request, absent: [] } }, call())).toMatchObject({
      status: "needs",
      files: expect.arrayContaining(noCompose) as unknown,
    });
    expect(await handlers.createPlan({ params: { stack: "planned" }, body: request }, call())).toMatchObject({
      status: "needs",
      contexts: ["."],
    });
    const digest = await upload("planned", hello);
    const plan = await handlers.createPlan({ params: { stack: "planned" }, body: { ...request, sources: { ".": digest } } }, call());
    expect(plan).toMatchObject({
      status: "ready",
      createsStack: true,
      changes: [{ component: "web", action: "create", urls: ["http://web.planned.localhost:8080/"] }],
    });
    expect(await code(handlers.showStack({ params: { stack: "planned" } }, call()))).toBe("not_found");
    if (plan.status !== "ready") return;
    const made = await handlers.applyPlan({ params: { stack: "planned", plan: plan.id }, body: {} }, call());
    expect(made).toMatchObject({
      stack: "planned",
      version: 1,
      rollouts: [{ component: "web", number: 1 }],
      builds: [{ number: 1, context: ".", components: ["web"] }],
    });
    expect((await handlers.showRollout({ params: { stack: "planned", component: "web", rollout: 1 } }, call())).phase).toBe("building");
    expect(await code(handlers.applyPlan({ params: { stack: "planned", plan: plan.id }, body: {} }, call()))).toBe("plan_stale");
  });

  test("shares one build among components with the same context, and a newer deployment supersedes the older rollout", async () => {
    const { handlers, call } = services();
    const compose =
      "services:\n  one:\n    build: .\n    command: node server.js\n    x-berth: { kind: worker }\n  two:\n    build: .\n    command: node server.js\n    depends_on: [one]\n    x-berth: { kind: worker }\n";
    const digest = await upload("shared", { ...hello, "compose.yaml": compose });
    const body = { ...request, files: { "compose.yaml": compose }, absent: [], sources: { ".": digest } };
    const apply = async () => {
      const plan = await planFor("shared", body);
      return handlers.applyPlan({ params: { stack: "shared", plan: plan.id }, body: {} }, call());
    };
    const first = await apply();
    expect(first.builds).toEqual([{ number: 1, context: ".", components: ["one", "two"] }]);
    expect(first.rollouts.map((rollout) => rollout.component)).toEqual(["one", "two"]);
    expect((await handlers.showRollout({ params: { stack: "shared", component: "two", rollout: 1 } }, call())).waitsFor).toEqual(["one"]);
    await apply();
    expect(await handlers.showRollout({ params: { stack: "shared", component: "one", rollout: 1 } }, call())).toMatchObject({
      phase: "superseded",
      cause: { code: "superseded", params: { rollout: 2 } },
    });
    expect((await handlers.listBuilds({ params: { stack: "shared" }, query: {} }, call())).items).toHaveLength(1);
  });

  test("refuses what the source cannot be, with what to do", async () => {
    const { handlers, call } = services();
    const digest = await upload("odd", { "README.txt": "nothing to run" });
    const error = await handlers
      .createPlan({ params: { stack: "odd" }, body: { ...request, sources: { ".": digest } } }, call())
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "plan_not_possible" });
  });

  test("takes no source that somebody else uploaded, known by its digest alone", async () => {
    const { handlers } = services();
    const digest = await upload("mine", hello);
    expect(await code(handlers.explainSource({ body: { source: digest } }, await stranger()))).toBe("not_found");
  });
});

describe("hosts", () => {
  test("belong to one component; the second is told whose it is", async () => {
    const { handlers, call } = services();
    const compose = (name: string) => `services:\n  ${name}:\n    build: .\n    x-berth: { kind: web, domains: [shop.example.com] }\n`;
    const digest = await upload("hosts-a", hello);
    const plan = (stack: string, name: string) =>
      planFor(stack, {
        ...request,
        files: { "compose.yaml": compose(name) },
        composeFiles: ["compose.yaml"],
        absent: [],
        sources: { ".": digest },
      });
    const first = await plan("hosts-a", "web");
    await handlers.applyPlan({ params: { stack: "hosts-a", plan: first.id }, body: {} }, call());
    const second = await plan("hosts-b", "api");
    expect(await code(handlers.applyPlan({ params: { stack: "hosts-b", plan: second.id }, body: {} }, call()))).toBe("host_taken");
    expect(await code(handlers.showStack({ params: { stack: "hosts-b" } }, call()))).toBe("not_found");
  });
});

test("a schedule that cannot be used is refused before anything is made", async () => {
  const compose = "services:\n  nightly:\n    build: .\n    command: node server.js\n    x-berth: { schedule: { cron: '0 0 30 2 *' } }\n";
  const digest = await upload("never-due", hello);
  const plan = await planFor("never-due", { ...request, files: { "compose.yaml": compose }, absent: [], sources: { ".": digest } });
  const { handlers, call } = services();
  expect(await code(handlers.applyPlan({ params: { stack: "never-due", plan: plan.id }, body: {} }, call()))).toBe("invalid_request");
  expect(await code(handlers.showStack({ params: { stack: "never-due" } }, call()))).toBe("not_found");
});

describe("config and secrets", () => {
  test("are versioned, and a secret's value is in no answer, event or audit entry", async () => {
    const { handlers, call, database } = services();
    await deploy("vault");
    const before = await handlers.showConfig({ params: { stack: "vault", component: "web" } }, call());
    expect(before.body.version).toBe(0);
    await handlers.updateConfig({ params: { stack: "vault", component: "web" }, body: { values: { A: "1", B: "2" } } }, call());
    const after = await handlers.updateConfig({ params: { stack: "vault", component: "web" }, body: { values: { B: null } } }, call());
    expect(after.body).toMatchObject({ version: 2, values: { A: "1" } });
    expect(
      await code(
        handlers.updateConfig({ params: { stack: "vault", component: "web" }, body: { values: { C: "3" } } }, call({ ifMatch: "1" })),
      ),
    ).toBe("precondition_failed");
    const value = "correct-horse-battery";
    expect(await handlers.setSecret({ params: { stack: "vault", secret: "db-password" }, body: { value } }, call())).toMatchObject({
      name: "db-password",
      version: 1,
    });
    for (const table of ["secrets", "events", "audit", "config_versions"] as const)
      expect(JSON.stringify(await database.db.selectFrom(table).selectAll().execute())).not.toContain(value);
    await handlers.deleteSecret({ params: { stack: "vault", secret: "db-password" } }, call());
    expect((await handlers.listSecrets({ params: { stack: "vault" }, query: {} }, call())).items).toEqual([]);
  });
});

describe("verbs", () => {
  test("are recorded with event and audit entry, and refused with the reason when they make no sense", async () => {
    const { handlers, call } = services();
    await deploy("verbs");
    const at = { stack: "verbs", component: "web" };
    await handlers.scaleComponent({ params: at, body: { replicas: 3 } }, call());
    const { body } = await handlers.showComponent({ params: at }, call());
    expect(body).toMatchObject({
      replicas: 3,
      allowed: { start: { ok: false, reason: { code: "not_stopped" } }, restart: { ok: false, reason: { code: "never_released" } } },
    });
    expect(await code(handlers.restartComponent({ params: at }, call()))).toBe("wrong_state");
    expect(await code(handlers.rollbackComponent({ params: at, body: {} }, call()))).toBe("wrong_state");
    expect(
      (await handlers.listEvents({ query: { component: "web", stack: "verbs", code: "component_scaled" } }, call())).items[0]?.params,
    ).toMatchObject({ from: 1, to: 3 });
    expect((await handlers.listAudit({ query: { object: "component:verbs/web" } }, call())).items.map((entry) => entry.action)).toContain(
      "components.scale",
    );
  });

  test("a queued build is cancelled at once", async () => {
    const { handlers, call } = services();
    await deploy("cancel");
    expect(await handlers.cancelBuild({ params: { stack: "cancel", build: 1 } }, call())).toMatchObject({
      phase: "cancelled",
      cause: { code: "build_cancelled" },
    });
    expect(await code(handlers.cancelBuild({ params: { stack: "cancel", build: 1 } }, call()))).toBe("wrong_state");
    expect(await handlers.retryBuild({ params: { stack: "cancel", build: 1 } }, call())).toMatchObject({ number: 2, phase: "queued" });
  });
});

test("every list answers for a stack that has something in it", async () => {
  const { handlers, call } = services();
  await deploy("lists");
  const params = { stack: "lists" };
  const query = { limit: 10, search: "x" };
  const component = { stack: "lists", component: "web" };
  expect((await handlers.listComponents({ params, query: { sort: "-updatedAt" } }, call())).items).toHaveLength(1);
  expect((await handlers.listStackVersions({ params, query: {} }, call())).items[0]).toMatchObject({ number: 1, releases: { web: 0 } });
  expect((await handlers.listSources({ params, query: {} }, call())).items[0]).toMatchObject({ revision: "abc", message: "first" });
  expect((await handlers.listStackRollouts({ params, query: {} }, call())).items).toHaveLength(1);
  expect((await handlers.listReleases({ params: component, query: {} }, call())).items).toEqual([]);
  expect((await handlers.listTasks({ params, query: {} }, call())).items).toEqual([]);
  expect((await handlers.listVolumes({ params, query }, call())).items).toEqual([]);
  expect((await handlers.listTokens({ query }, call())).items).toEqual([]);
  expect((await handlers.listUsers({ query: {} }, call())).items.length).toBeGreaterThan(0);
  expect((await handlers.listTeams({ query: {} }, call())).items.map((team) => team.name)).toContain("default");
  expect((await handlers.listRoles({ query: {} }, call())).items.map((role) => role.name)).toContain("administrator");
  expect((await handlers.listInstances({ params: component, query: {} }, call())).items).toEqual([]);
  expect((await handlers.exportStack({ params }, call())).compose).toContain("web:");
  expect((await handlers.listCredentials({ params, query: {} }, call())).items).toEqual([]);
});

test("a plan that changes what a component is takes the right to define it, one that only releases does not", async () => {
  const { handlers, call } = services();
  const limited = (...scopes: string[]): Call => ({ ...call(), principal: { ...call().principal, scopes } });
  const releaser = limited("stacks.read", "releases.deploy");
  const compose = (replicas: number, secret: string): PlanRequest => ({
    ...request,
    files: {
      "compose.yaml": `services: {web: {build: ., ports: ["8080"], secrets: [key], deploy: {replicas: ${String(replicas)}}}}\nsecrets: {key: {environment: KEY}}\n`,
    },
    composeFiles: ["compose.yaml"],
    variables: { ...request.variables, COMPOSE_PROFILES: null, KEY: secret },
  });
  const digest = await upload("divided", hello);
  const plan = async (by: Call, replicas: number, secret = "first-value", source = digest): Promise<StackPlan> => {
    const answer = await handlers.createPlan(
      { params: { stack: "divided" }, body: { ...compose(replicas, secret), sources: { ".": source } } },
      by,
    );
    if (answer.status !== "ready") throw new Error(JSON.stringify(answer));
    return answer;
  };
  const apply = (by: Call, { id }: StackPlan): Promise<unknown> =>
    handlers.applyPlan({ params: { stack: "divided", plan: id }, body: {} }, by);
  await apply(call(), await plan(call(), 1));

  const more = await plan(releaser, 2);
  expect(more.allowed["apply"]).toEqual({ ok: false, reason: { code: "no_permission", params: { permission: "stacks.write" } } });
  expect(await code(apply(releaser, more))).toBe("forbidden");
  const secret = await plan(releaser, 1, "second-value");
  expect(secret.allowed["apply"]).toEqual({ ok: false, reason: { code: "no_permission", params: { permission: "secrets.write" } } });
  expect(await code(apply(releaser, secret))).toBe("forbidden");
  const { body: web } = await handlers.showComponent({ params: { stack: "divided", component: "web" } }, call());
  expect(web.replicas, "nothing of a refused plan stays").toBe(1);

  const source = (
    await handlers.uploadSource({ params: { stack: "divided" }, query: {}, body: await archive({ ...hello, "new.txt": "new" }) }, releaser)
  ).digest;
  const only = await plan(releaser, 1, "first-value", source);
  expect(only.allowed["apply"]).toEqual({ ok: true });
  expect(await code(apply(releaser, only))).toBe("no error");
});
