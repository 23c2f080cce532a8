import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Refusal, startApi, type Answers, type TestApi } from "../testing/api.ts";
import { Cli, plain, type RunOptions } from "../testing/cli.ts";
import { aBuild, aComponent, aPlan, aRollout, aSource, anEvent, digest, ended } from "../testing/objects.ts";

let api: TestApi | undefined;
let cli: Cli;
let folder: string;
const asked: PlanRequest[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-up-"));
  asked.length = 0;
});
afterEach(async () => {
  vi.useRealTimers();
  await cli.remove();
  rmSync(folder, { recursive: true, force: true });
  const closing = api;
  api = undefined;
  await closing?.close();
});

function project(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/** A server whose plan needs `needs`, one after the other, and whose rollouts go through `phases`. */
interface Story {
  readonly needs?: readonly { files?: string[]; variables?: string[]; contexts?: string[] }[];
  readonly plan?: Partial<StackPlan>;
  readonly rollouts?: readonly { readonly component: string; readonly number: number; readonly phases: readonly Partial<Rollout>[] }[];
  readonly builds?: readonly number[];
  readonly more?: Answers;
}
async function serve(story: Story): Promise<void> {
  const rollouts = story.rollouts ?? [{ component: "web", number: 1, phases: [{ phase: "rolling" }, ended()] }];
  const looks = new Map<string, number>();
  let round = 0;
  api = await startApi(
    {
      createPlan: ({ body }) => {
        asked.push(body);
        const needs = story.needs?.[round];
        round += 1;
        return needs === undefined ? aPlan(story.plan) : { status: "needs", files: [], variables: [], contexts: [], ...needs };
      },
      uploadSource: ({ body }) => aSource({ digest: body.toString("latin1").includes("api.py") ? digest("b") : digest("a") }),
      applyPlan: () => ({
        stack: "shop",
        version: 4,
        rollouts: rollouts.map(({ component, number }) => ({ component, number })),
        builds: (story.builds ?? []).map((number) => ({ number, context: ".", components: ["web"] })),
        unchanged: ["db"],
        removed: [],
      }),
      showRollout: ({ params }) => {
        const own = rollouts.find((rollout) => rollout.component === params.component);
        const key = `${params.component}/${params.rollout}`;
        const look = looks.get(key) ?? 0;
        looks.set(key, look + 1);
        return aRollout({ ...own?.phases[Math.min(look, own.phases.length - 1)], component: params.component, number: params.rollout });
      },
      showBuild: ({ params }) => aBuild({ number: params.build, phase: (looks.get("web/1") ?? 0) > 1 ? "succeeded" : "running" }),
      async *readBuildLogs() {
        yield { at: "2026-03-01T12:00:00.000Z", stream: "stdout", step: "install", text: "added 3 packages", cursor: "1" };
      },
      async *watch({ signal }) {
        for (let number = 1; !signal.aborted; number += 1) {
          yield anEvent({ id: String(number) });
          await new Promise((resolve) => {
            setTimeout(resolve, 20);
          });
        }
      },
      listComponents: () => ({
        items: [...rollouts.map(({ component }) => aComponent({ name: component })), aComponent({ name: "db", urls: [] })],
      }),
      ...story.more,
    },
    { token: "t" },
  );
  cli = await Cli.create(api.url);
}
/** One object a line. */
const objects = (out: string): unknown[] =>
  out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
const up = (args = "up", options: RunOptions = {}) => cli.run(args, { cwd: folder, ...options });

describe("berth up", () => {
  it("says where a new stack is to be, and shows where it will be", async () => {
    project({ "compose.yaml": "services:\n  web: { image: nginx }\n" });
    await serve({ plan: { createsStack: true, cluster: "fra1" } });
    const ran = await up("up --cluster fra1 --team second");
    expect(asked.at(-1)).toMatchObject({ cluster: "fra1", team: "second" });
    expect(ran.err).toContain("Plan for stack shop (new, on fra1)");
  });

  it("sends what the plan needs, shows it, applies it, follows it, and ends with the verified URL", async () => {
    project({
      "compose.yaml": "services:\n  web: { build: ., environment: [TITLE=${TITLE}] }\n  api: { build: ./api, env_file: api/.env }\n",
      ".env": "A=1",
      "api/.env": "B=2",
      "api/api.py": "",
      "web.js": "",
    });
    // The build goes on until its log was read, and the rollout until it was seen.
    let said = "";
    const has = (text: string): boolean => said.includes(text);
    await serve({
      needs: [{ files: ["api/.env", "missing.env"], variables: ["TITLE"] }, { contexts: [".", "api"] }],
      builds: [1],
      more: {
        showBuild: () => aBuild({ phase: has("added 3 packages") ? "succeeded" : "running" }),
        showRollout: () =>
          has("web: rolling") ? ended() : aRollout(has("added 3 packages") ? { phase: "rolling" } : { phase: "building", build: 1 }),
      },
    });
    const ran = await up("up", { env: { TITLE: "Hello" }, onErr: (text) => (said = text) });
    expect(ran.err).toContain("Plan for stack shop");
    expect(ran).toMatchObject({ code: 0 });
    expect(asked.at(-1)).toMatchObject({
      files: { "compose.yaml": expect.stringContaining("services") as string, ".env": "A=1", "api/.env": "B=2" },
      variables: { TITLE: "Hello" },
      sources: { ".": digest("b"), api: digest("b") },
      composeFiles: [],
    });
    expect(asked.at(-1)?.absent).toEqual(expect.arrayContaining(["missing.env", "compose.override.yaml"]));
    expect(ran.out).toMatch(/web +released +healthy +1\/1 +v4/);
    expect(ran.out).toMatch(/db +unchanged/);
    expect(ran.out).toContain("http://web.shop.localhost:8080/ answered 200 in 12ms");
    expect(ran.err).toMatch(/web: building[^]*build 1 \| added 3 packages[^]*web: rolling, 0 of 1 ready\n[^]*web: live, v5, 1 of 1 ready/);
    expect(ran.err).toContain("berth logs -f -s shop");
  });

  it("without a Compose file deploys the folder as one component, called after it", async () => {
    project({ Procfile: "web: node a.js", "a.js": "" });
    await serve({ needs: [{ contexts: ["."] }] });
    const ran = await up("up --kind worker --start node_a.js --replicas 2", { env: { BERTH_STACK: "" } });
    expect(ran.code).toBe(0);
    expect(asked.at(-1)).toMatchObject({
      files: {},
      sources: { ".": digest("a") },
      overrides: { kind: "worker", command: { shell: "node_a.js" }, replicas: 2 },
    });
    expect(api?.requests.some((request) => /^POST \/stacks\/berth-up-[a-z0-9-]+\/plans$/.test(request))).toBe(true);
  });

  it("takes the stack's name from -s, then .berth.json, then the Compose file", async () => {
    project({ "compose.yaml": "name: 'My Shop'\nservices: {}\n" });
    await serve({});
    const stackOf = (): string | undefined =>
      /stacks\/([^/]+)\/plans/.exec(api?.requests.filter((request) => request.endsWith("/plans")).at(-1) ?? "")?.[1];
    await up("up", { env: { BERTH_STACK: "" } });
    expect(stackOf()).toBe("my-shop");
    project({ ".berth.json": '{"stack": "from-file"}' });
    await up("up", { env: { BERTH_STACK: "" } });
    expect(stackOf()).toBe("from-file");
    await up("up -s named");
    expect(stackOf()).toBe("named");
  });

  it.each([
    ["a file above the project", { files: ["../secrets.env"] }, "../secrets.env lies outside"],
    ["an absolute path", { files: ["/etc/passwd"] }, "/etc/passwd lies outside"],
    ["a link that leads out", { files: ["link"] }, "link lies outside"],
    ["a build context above the project", { contexts: ["../other"] }, "../other lies outside"],
    ["a build context through a link", { contexts: ["outdir"] }, "outdir lies outside"],
    [
      "a variable that no file names",
      { variables: ["AWS_SECRET_ACCESS_KEY"] },
      "AWS_SECRET_ACCESS_KEY, which no file of the project names",
    ],
  ])("refuses to send %s, whatever the server asks for", async (_, needs, message) => {
    project({ "compose.yaml": "services: {}" });
    symlinkSync("/etc/passwd", join(folder, "link"));
    symlinkSync("/etc", join(folder, "outdir"));
    await serve({ needs: [needs] });
    const ran = await up("up", { env: { AWS_SECRET_ACCESS_KEY: "x" } });
    expect(ran).toMatchObject({ code: 1 });
    expect(ran.err).toContain(message);
    expect(asked).toHaveLength(1);
  });

  it("sends the workspace that the folder belongs to, as far as its git work tree reaches", async () => {
    project({
      ".git/HEAD": "ref: refs/heads/main\n",
      "package.json": '{"workspaces": ["apps/*"]}',
      "api.py": "",
      "apps/web/package.json": "{}",
    });
    await serve({
      needs: [{ files: ["../../package.json", "../../go.work", "package.json", "../../../package.json"] }, { contexts: ["../.."] }],
    });
    const ran = await up("up apps/web");
    expect(ran).toMatchObject({
      code: 0,
      err: expect.stringContaining(`Uploading all of ${realpathSync(folder)}, the repository that it belongs to`) as string,
    });
    expect(asked.map((request) => request.within)).toEqual(["apps/web", "apps/web", "apps/web"]);
    expect(asked[1]?.files).toMatchObject({ "../../package.json": '{"workspaces": ["apps/*"]}', "package.json": "{}" });
    expect(asked[1]?.absent).toEqual(expect.arrayContaining(["../../go.work", "../../../package.json"]));
    expect(asked[2]?.sources).toEqual({ "../..": digest("b") });
  });

  it.each([
    ["a file that says nothing of a workspace", { files: ["../../secrets.env"] }],
    ["a folder above the work tree", { contexts: ["../../.."] }],
  ])("sends nothing else from above the folder: %s", async (_, needs) => {
    project({ ".git/HEAD": "ref: refs/heads/main\n", "secrets.env": "x", "apps/web/package.json": "{}" });
    await serve({ needs: [needs] });
    const ran = await up("up apps/web");
    expect(ran).toMatchObject({ code: 1, err: expect.stringContaining("lies outside of") as string });
    expect(asked).toHaveLength(1);
  });

  it("gives up when the server keeps asking for what it has", async () => {
    project({ "compose.yaml": "services: {}" });
    await serve({ needs: [{ files: ["compose.yaml"] }, { files: ["compose.yaml"] }] });
    expect(await up()).toMatchObject({ code: 1, err: expect.stringContaining("sent already") as string });
    expect(asked).toHaveLength(1);
  });

  it("tells what is wrong with the Compose file, and what to do", async () => {
    project({ "compose.yaml": "services: {}" });
    await serve({
      more: {
        createPlan: () => {
          throw new Refusal("compose_refused", {
            file: "compose.yaml",
            at: ":4",
            key: "privileged",
            component: "web",
            reason: "it would own the machine",
            hint: "Remove it.",
          });
        },
      },
    });
    const ran = await up();
    expect(ran).toEqual({
      code: 1,
      out: "",
      err: "Error: compose.yaml:4: privileged of web is refused: it would own the machine.\nNext: Remove it.\n",
    });
  });

  it("with --json prints the deployment, then how it ended, and with --no-wait does not follow it", async () => {
    project({ "compose.yaml": "services: {}" });
    await serve({});
    const ran = await up("up --json");
    expect(objects(ran.out)).toMatchObject([
      { stack: "shop", version: 4, rollouts: [{ component: "web", number: 1 }] },
      { stack: "shop", outcome: "released", rollouts: [{ component: "web", number: 1, phase: "succeeded" }], failures: [] },
    ]);
    expect(objects((await up("up --json --no-wait")).out)).toMatchObject([{ version: 4 }]);
    const quick = await up("up --no-wait --quiet");
    expect(quick).toEqual({ code: 0, out: "rollout #1 of web was accepted\n", err: "" });
  });
});

describe("a plan that removes something", () => {
  const removing = {
    changes: [{ component: "old", action: "delete" as const, kind: "worker", fields: [], config: [], secrets: [], urls: [] }],
  };
  beforeEach(() => {
    project({ "compose.yaml": "services: {}" });
  });

  it("needs --yes where nobody can be asked", async () => {
    await serve({ plan: removing });
    const ran = await up("up --prune");
    expect(ran).toMatchObject({ code: 2 });
    expect(ran.err).toContain("--yes");
    expect(api?.requests.some((request) => request.includes("/apply"))).toBe(false);
    expect((await up("up --prune --yes")).code).toBe(0);
  });

  it.each([
    ["y\n", 0],
    ["n\n", 1],
    ["\n", 1],
  ])("asks on a terminal, and obeys the answer %j", async (stdin, code) => {
    await serve({ plan: removing });
    const ran = await up("up --prune", { terminal: 80, stdin });
    expect(ran.err).toContain("Remove old from stack shop?");
    expect(ran.code).toBe(code);
    expect(api?.requests.some((request) => request.includes("/apply"))).toBe(code === 0);
  });
});

describe("on a terminal", () => {
  it("draws a block that is redrawn in place and stays within the width", async () => {
    project({ "compose.yaml": "services: {}" });
    await serve({ rollouts: [{ component: "web", number: 1, phases: [{ phase: "rolling" }, { phase: "rolling", ready: 0 }, ended()] }] });
    const ran = await up("up", { terminal: 60 });
    expect(ran.code).toBe(0);
    expect(ran.err).toMatch(/\x1b\[1A\x1b\[2K/);
    expect(plain(ran.err)).toMatch(/✓ web +live/);
    for (const line of plain(ran.err.slice(ran.err.indexOf("rolling") - 30))
      .split("\n")
      .filter((text) => /^[✓⠋-⠿]/.test(text)))
      expect(line.length).toBeLessThanOrEqual(60);
  });
});

describe("a deployment that fails", () => {
  const why = {
    code: "exited_at_start",
    params: { exitCode: 3, after: "80ms", said: "" },
    evidence: [{ kind: "log" as const, text: "Error: no database here" }],
  };
  beforeEach(() => {
    project({ "compose.yaml": "services: {}" });
  });

  it("ends with exit code 4, the cause, its evidence and the next step", async () => {
    await serve({ rollouts: [{ component: "web", number: 1, phases: [{ phase: "rolling" }, ended({ phase: "failed", cause: why })] }] });
    const ran = await up();
    expect(ran.code).toBe(4);
    expect(ran.out).toBe("");
    expect(ran.err).toMatch(/Error: web: The process ended with exit code 3[^]*\| Error: no database here\n[^]*Next: Mend what ends it/);
  });

  it("with --json ends stdout with the outcome: cause, evidence and next step", async () => {
    await serve({ rollouts: [{ component: "web", number: 1, phases: [{ phase: "rolling" }, ended({ phase: "failed", cause: why })] }] });
    const ran = await up("up --json");
    expect(ran.code).toBe(4);
    const [, last, ...more] = objects(ran.out);
    expect(more).toEqual([]);
    expect(last).toMatchObject({
      stack: "shop",
      outcome: "failed",
      rollouts: [{ component: "web", number: 1, phase: "failed", cause: why }],
      failures: [
        {
          names: ["web"],
          phase: "failed",
          cause: why,
          sentence: expect.stringMatching(/^The process ended with exit code 3/) as string,
          next: expect.stringMatching(/^Mend what ends it/) as string,
        },
      ],
    });
  });

  it("tells one cause of several components once, and consequences last", async () => {
    const consequence = { code: "dependency_failed", params: { component: "api" }, evidence: [] };
    await serve({
      rollouts: [
        { component: "web", number: 1, phases: [ended({ phase: "failed", cause: consequence })] },
        { component: "api", number: 1, phases: [ended({ phase: "failed", cause: why })] },
        { component: "jobs", number: 1, phases: [ended({ phase: "failed", cause: why })] },
        { component: "db", number: 1, phases: [ended()] },
      ],
    });
    const ran = await up();
    expect(ran.code).toBe(4);
    expect(ran.err).toMatch(/3 of 4 did not come up[^]*api, jobs: The process ended[^]*web: Component api/);
    expect(ran.err.match(/no database here/g)).toHaveLength(1);
  });
});

describe("waiting", () => {
  beforeEach(() => {
    project({ "compose.yaml": "services: {}" });
  });
  const forever = { rollouts: [{ component: "web", number: 1, phases: [{ phase: "rolling" as const }] }] };

  it("ends with 5 after --timeout, and says how to go on watching", async () => {
    // The time is over once it is followed, however long it took until then.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    await serve({
      ...forever,
      more: {
        showRollout: () => {
          vi.advanceTimersByTime(700);
          return aRollout();
        },
      },
    });
    const ran = await up("up --timeout 700ms");
    expect(ran.code).toBe(5);
    expect(ran.err).toContain("Gave up waiting after 700ms");
    expect(ran.err).toContain("berth rollouts watch -s shop");
    expect(objects((await up("up --timeout 700ms --json")).out).at(-1)).toMatchObject({ stack: "shop", outcome: "gave up", failures: [] });
  });

  it("ends with 130 on Ctrl-C, changes nothing in the server, and says how to go on watching", async () => {
    let interrupt: () => void = () => undefined;
    let looks = 0;
    await serve({
      ...forever,
      more: {
        showRollout: () => {
          looks += 1;
          if (looks === 2) interrupt();
          return aRollout();
        },
      },
    });
    const ran = await up("up", {
      onStart: (call) => {
        interrupt = call;
      },
    });
    expect(ran.code).toBe(130);
    expect(ran.err).toMatch(/Interrupted\.\nNext: The work goes on in the server\. Watch it with `berth rollouts watch -s shop`/);
    expect(api?.requests.some((request) => request.includes("abort"))).toBe(false);
  });

  it("outlives a server that restarts in the middle", async () => {
    let looks = 0;
    await serve({
      ...forever,
      more: {
        showRollout: () => {
          looks += 1;
          if (looks === 2) throw new Refusal("shutting_down");
          return looks > 3 ? ended() : aRollout();
        },
        async *watch() {
          yield anEvent();
          throw new Refusal("shutting_down");
        },
      },
    });
    expect((await up()).code).toBe(0);
  });
});
