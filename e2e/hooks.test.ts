// What a source asks for around a release: required and generated variables, a release command that has to succeed first, a postdeploy command that runs
// once; and what a plan says of config and secrets that wait for the next release.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StackPlan } from "@berth/contract/resources/plans.ts";
import type { Task } from "@berth/contract/resources/tasks.ts";
import { TestBerth, until, webApp, type Files } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
}, 120_000);
afterAll(async () => {
  await berth?.stop();
}, 120_000);

const worker = "setInterval(() => {}, 1000); process.on('SIGTERM', () => process.exit(0));";
const services = "services:\n  work:\n    build: .\n    x-berth: { kind: worker }\n  web:\n    build: .\n    x-berth: { kind: web }\n";
/** A web and a worker component of one source, with a release line. */
const project = (version: string, release: string, more: Files = {}): Files => ({
  ...webApp(version),
  "worker.js": worker,
  "compose.yaml": services,
  Procfile: `web: node server.js\nwork: node worker.js\nrelease: ${release}\n`,
  ...more,
});

/** The plan that `up` would apply. */
async function planOf(stack: string, files: Files): Promise<StackPlan> {
  const digest = await berth.upload(stack, files);
  const variables: Record<string, string | null> = {};
  const absent: string[] = [];
  for (;;) {
    const answer = await berth.client.createPlan({
      params: { stack },
      body: {
        files: "compose.yaml" in files ? { "compose.yaml": files["compose.yaml"] ?? "" } : {},
        absent,
        composeFiles: [],
        variables,
        profiles: [],
        sources: { ".": digest },
      },
    });
    if (answer.status === "ready") return answer;
    absent.push(...answer.files);
    for (const name of answer.variables) variables[name] = null;
  }
}
const tasksOf = async (stack: string, trigger: Task["trigger"]): Promise<Task[]> =>
  (await berth.client.listTasks({ params: { stack }, query: {} })).items.filter((task) => task.trigger === trigger);
async function taskText(stack: string, task: number): Promise<string> {
  let text = "";
  for await (const { data } of berth.client.readTaskLogs({ params: { stack, task }, query: {} })) text += `${data.text}\n`;
  return text;
}
const envOf = async (stack: string): Promise<Record<string, string>> =>
  JSON.parse((await berth.get(`web.${stack}.localhost`, "/env")).body) as Record<string, string>;
/** Deploys and answers with how the rollouts ended, by component. */
async function tried(stack: string, files: Files): Promise<Map<string, Awaited<ReturnType<TestBerth["ended"]>>>> {
  const made = await berth.up(stack, files);
  return new Map(
    await Promise.all(
      made.rollouts.map(async ({ component, number }) => [component, await berth.ended(stack, component, number)] as const),
    ),
  );
}

describe("a release command", () => {
  test("runs once for all components of its source, before anything of the release is started", async () => {
    const ended = await tried("once", project("one", "node -e \"setTimeout(() => console.log('migrated', process.env.RUN_ENV), 1500)\""));
    expect([...ended.values()].map(({ phase }) => phase)).toEqual(["succeeded", "succeeded"]);
    const tasks = await tasksOf("once", "release");
    expect(tasks).toMatchObject([{ component: "web", phase: "succeeded", exitCode: 0 }]);
    expect(await taskText("once", tasks[0]?.number ?? 0)).toContain("migrated production");
    const { items } = await berth.client.listEvents({ query: { stack: "once", limit: 200 } });
    const codes = items
      .toReversed()
      .filter(({ code }) => ["task_ended", "rollout_progress"].includes(code))
      .map(({ code }) => code);
    expect(codes.indexOf("task_ended")).toBe(0);
  });

  test("that fails leaves what serves as it is, and says why; the next one goes on from there", async () => {
    await berth.deployed("fails", project("one", "true"));
    const before = await berth.get("web.fails.localhost");
    const ended = await tried("fails", project("two", "echo cannot reach the database; exit 3"));
    for (const rollout of ended.values())
      expect(rollout).toMatchObject({
        phase: "failed",
        cause: { code: "release_command_failed", params: { how: "ended with exit code 3" } },
      });
    expect(
      ended
        .get("web")
        ?.cause?.evidence.map(({ text }) => text)
        .join("\n"),
    ).toContain("cannot reach the database");
    expect((await berth.get("web.fails.localhost")).body).toBe(before.body);
    expect((await planOf("fails", project("two", "echo cannot reach the database; exit 3"))).notes).toContainEqual({
      code: "release_command",
      params: { command: "echo cannot reach the database; exit 3", components: "work, web" },
    });
    await berth.deployed("fails", project("three", "true"));
    expect((await berth.get("web.fails.localhost")).body).toContain("three");
    expect((await tasksOf("fails", "release")).map(({ phase }) => phase)).toEqual(["succeeded", "failed", "succeeded"]);
  });

  test("is ended by an abort, and nothing of the release was started", async () => {
    await berth.deployed("aborts", project("one", "true"));
    const made = await berth.up("aborts", project("two", "sleep 600"));
    const web = made.rollouts.find(({ component }) => component === "web")?.number ?? 0;
    const task = await until(
      async () => (await tasksOf("aborts", "release")).find(({ phase }) => phase === "running"),
      "the release command to run",
    );
    expect(await berth.client.showRollout({ params: { stack: "aborts", component: "web", rollout: web } })).toMatchObject({
      phase: "releasing",
      updated: 0,
    });
    await berth.client.abortRollout({ params: { stack: "aborts", component: "web", rollout: web } });
    expect((await berth.ended("aborts", "web", web)).phase).toBe("aborted");
    await until(
      async () =>
        (await berth.client.showTask({ params: { stack: "aborts", task: task.number } })).phase === "cancelled" ? true : undefined,
      "the command to be ended",
    );
    const work = made.rollouts.find(({ component }) => component === "work")?.number ?? 0;
    expect(await berth.ended("aborts", "work", work)).toMatchObject({ phase: "failed", cause: { code: "release_command_failed" } });
    expect((await berth.get("web.aborts.localhost")).body).toContain("one");
  });

  test("does not run for a restart or a scaling, but for a rollback, which is a release", async () => {
    await berth.deployed("again", project("one", "echo first"));
    await berth.deployed("again", project("two", "echo second"));
    const restarted = await berth.client.restartComponent({ params: { stack: "again", component: "web" } });
    await berth.ended("again", "web", restarted.rollout ?? 0);
    await berth.client.scaleComponent({ params: { stack: "again", component: "web" }, body: { replicas: 2 } });
    expect(await tasksOf("again", "release")).toHaveLength(2);
    const back = await berth.client.rollbackComponent({ params: { stack: "again", component: "web" }, body: {} });
    expect((await berth.ended("again", "web", back.rollouts[0]?.number ?? 0)).phase).toBe("succeeded");
    const tasks = await tasksOf("again", "release");
    expect(tasks).toHaveLength(3);
    expect(await taskText("again", tasks[0]?.number ?? 0)).toContain("first");
  });
});

describe("app.json", () => {
  const app = (env: object, more: object = {}): Files => ({ ...project("one", "true"), "app.json": JSON.stringify({ env, ...more }) });

  test("a required variable that nobody set is told before anything is made", async () => {
    const files = app({ API_TOKEN: { description: "from the shop's provider" }, NICE: { required: false } });
    const refused = await planOf("needs", files).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "env_required",
      params: { names: "API_TOKEN", details: [{ name: "API_TOKEN", description: "from the shop's provider" }] },
    });
    expect((refused as { detail: string }).detail).toContain("API_TOKEN");
    await expect(berth.client.showStack({ params: { stack: "needs" } })).rejects.toMatchObject({ code: "not_found" });
    await berth.client.createStack({ body: { name: "needs" } });
    await berth.client.updateStackConfig({ params: { stack: "needs" }, body: { values: { API_TOKEN: "t" } } });
    await berth.deployed("needs", files);
    expect((await envOf("needs"))["API_TOKEN"]).toBe("t");
  });

  test("a generated secret is made once, is the same for all components and releases, and a value is a default", async () => {
    const env = {
      SESSION_KEY: { generator: "secret" },
      GREETING: { value: "hello" },
      PORT: { required: true },
      WORK_URL: { required: false },
    };
    expect(await planOf("random", app(env))).toMatchObject({ secrets: { generate: ["session-key"] } });
    await berth.deployed("random", app(env));
    const first = await envOf("random");
    expect(first["SESSION_KEY"]).toMatch(/^[0-9a-f]{64}$/);
    expect(first["GREETING"]).toBe("hello");
    await berth.client.updateStackConfig({ params: { stack: "random" }, body: { values: { GREETING: "hi" } } });
    await berth.deployed("random", { ...app(env), "more.txt": "x" });
    expect(await envOf("random")).toMatchObject({ SESSION_KEY: first["SESSION_KEY"], GREETING: "hi" });
    const { items } = await berth.client.listSecrets({ params: { stack: "random" }, query: {} });
    expect(items).toMatchObject([{ name: "session-key", version: 1, usedBy: ["web", "work"] }]);
    const again = await planOf("random", { ...app(env), "more.txt": "x" });
    expect(again.changes.map(({ action }) => action)).toEqual(["unchanged", "unchanged"]);
    expect(again.secrets.generate).toEqual([]);
  });

  test("its postdeploy command runs once in the stack's life, after the first release", async () => {
    const files = app({}, { scripts: { postdeploy: "echo seeded" } });
    expect((await planOf("seed", files)).notes.map(({ code }) => code)).toContain("postdeploy_command");
    await berth.deployed("seed", files);
    const [task] = await until(async () => {
      const tasks = await tasksOf("seed", "postdeploy");
      return tasks[0]?.endedAt === undefined ? undefined : tasks;
    }, "the postdeploy command to end");
    expect(task).toMatchObject({ component: "web", phase: "succeeded" });
    await berth.deployed("seed", { ...files, "more.txt": "x" });
    expect(await tasksOf("seed", "postdeploy")).toHaveLength(1);
  });
});

describe("a plan", () => {
  test("shows config and secrets that the next release would pick up, by name and never by value", async () => {
    const files: Files = {
      ...webApp("one"),
      "compose.yaml":
        "services:\n  web:\n    build: .\n    environment: { MODE: file }\n    x-berth: { kind: web, secrets: { TOKEN: token } }\n",
    };
    await berth.client.createStack({ body: { name: "pending" } });
    await berth.client.setSecret({ params: { stack: "pending", secret: "token" }, body: { value: "first-value" } });
    await berth.client.updateStackConfig({ params: { stack: "pending" }, body: { values: { OLD: "1", SAME: "1" } } });
    await berth.deployed("pending", files);
    expect((await planOf("pending", files)).changes).toMatchObject([{ action: "unchanged", config: [], secrets: [] }]);
    await berth.client.setSecret({ params: { stack: "pending", secret: "token" }, body: { value: "second-value" } });
    await berth.client.updateStackConfig({
      params: { stack: "pending" },
      body: { values: { OLD: null, NEW: "new-value", SAME: "other-value", MODE: "shadowed" } },
    });
    const plan = await planOf("pending", files);
    expect(plan.changes).toMatchObject([
      {
        action: "update",
        fields: [],
        config: [
          { name: "NEW", change: "added" },
          { name: "OLD", change: "removed" },
          { name: "SAME", change: "changed" },
        ],
        secrets: [{ variable: "TOKEN", secret: "token", change: "changed", from: 1, to: 2 }],
      },
    ]);
    for (const value of ["first-value", "second-value", "new-value", "other-value"]) expect(JSON.stringify(plan)).not.toContain(value);
    await berth.deployed("pending", files);
    expect((await planOf("pending", files)).changes).toMatchObject([{ action: "unchanged", config: [], secrets: [] }]);
  });
});
