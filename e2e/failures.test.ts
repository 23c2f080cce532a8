// Failure with its cause: each is provoked for real, and must be told as one sentence with evidence and a next step, long before any deadline (promise 6).
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderCause, type Cause } from "@berth/contract/causes.ts";
import type { ApiError } from "@berth/contract/client-errors.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import { freePort } from "../packages/server/src/edge/testing/harness.ts";
import { TestBerth, until, webApp, type Files } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
}, 120_000);
afterAll(async () => {
  await berth?.stop();
}, 120_000);

/** ms from the end of the build, which takes what tools and machine take, to the told cause: what is known within three seconds must never wait for the two minutes of the progress deadline. Wide, for machines that do much else. */
const soon = 60_000;
const host = (stack: string, component = "web"): string => `${component}.${stack}.localhost`;

/** A Node.js program without dependencies. */
const program = (code: string, more: Files = {}): Files => ({
  "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js" } }),
  "server.js": code,
  ...more,
});
const compose = (service: Readonly<Record<string, unknown>>): Files => ({
  "compose.yaml": JSON.stringify({ services: { web: { build: ".", ...service } } }),
});

/** Deploys what cannot come up, and answers with how its rollout ended. */
async function failed(stack: string, files: Files): Promise<Rollout & { cause: Cause; builtAt: string | undefined }> {
  const made = await berth.up(stack, files);
  const rollout = await berth.ended(stack, "web", made.rollouts[0]?.number ?? 0, 100_000);
  expect(rollout.phase).toBe("failed");
  if (rollout.cause === undefined) throw new Error("it failed without a cause");
  told(rollout.cause);
  const build = await berth.client.showBuild({ params: { stack, build: rollout.build ?? 0 } });
  return { ...rollout, cause: rollout.cause, builtAt: build.endedAt };
}

/** One sentence and a next step, with every hole filled. */
function told(why: Cause): void {
  const { sentence, next } = renderCause(why);
  expect(sentence).not.toBe(why.code);
  expect(`${sentence} ${next}`).not.toMatch(/\{\w+\}|NaN|\[object/);
  expect(sentence.length).toBeGreaterThan(20);
  expect(next).toMatch(/[.`]$/);
}

function took({ builtAt, endedAt }: { readonly builtAt: string | undefined; readonly endedAt?: string }): number {
  return Date.parse(endedAt ?? "") - Date.parse(builtAt ?? "");
}

const evidence = (why: Cause, kind?: string): string =>
  why.evidence
    .filter((one) => kind === undefined || one.kind === kind)
    .map((one) => one.text)
    .join("\n");

/** A port of this machine that is taken as long as the server runs. */
async function takePort(address: string): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, address, resolve);
  });
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("no port");
  return { server, port: bound.port };
}

describe.concurrent("a program", () => {
  test("that listens on another port than it was told: both are named", async () => {
    // One that is free, whichever that is: it says so itself.
    const { cause, ...rollout } = await failed(
      "wrong-port",
      program(
        `const server = require("http").createServer((q, r) => r.end("hi")).listen(0, () => console.log("listens on " + server.address().port))`,
      ),
    );
    let said = "";
    for await (const { data } of berth.client.readLogs({ params: { stack: "wrong-port", component: "web" }, query: {} }))
      said += `${data.text}\n`;
    const other = Number([...said.matchAll(/listens on (\d+)/g)].at(-1)?.[1]);
    expect(cause).toMatchObject({ code: "wrong_port", params: { actual: other } });
    expect(evidence(cause, "ports")).toContain(String(other));
    expect(evidence(cause, "probe")).toMatch(/refused/i);
    expect(took(rollout)).toBeLessThan(soon);
  });

  test("that listens on no port: said with what it printed", async () => {
    const { cause } = await failed("silent", {
      ...program("console.log('waiting for a sign'); setInterval(() => {}, 1000)"),
      ...compose({ ports: ["3000"], "x-berth": { strategy: { type: "rolling", progressDeadline: "15s" } } }),
    });
    expect(cause.code).toBe("not_listening");
    expect(evidence(cause, "log")).toContain("waiting for a sign");
  });

  test("that crashes at the start: exit code and last lines", async () => {
    const { cause, ...rollout } = await failed("crash", program("console.log('one'); throw new TypeError('DATABASE_URL is not set')"));
    expect(cause).toMatchObject({ code: "exited_at_start", params: { exitCode: 1 } });
    expect(evidence(cause, "log")).toContain("TypeError: DATABASE_URL is not set");
    expect(renderCause(cause).sentence).toMatch(/exit code 1, [\d.]+ m?s after it started: TypeError: DATABASE_URL is not set\.$/);
    expect(evidence(cause, "exit")).toMatch(/exit code 1 after /);
    expect(took(rollout)).toBeLessThan(soon);
  });

  test("that is ended by a signal at the start: its name", async () => {
    const { cause, ...rollout } = await failed("signal", program("console.log('about to abort'); process.kill(process.pid, 'SIGSEGV')"));
    expect(cause).toMatchObject({ code: "killed_by_signal", params: { signal: "SIGSEGV" } });
    expect(evidence(cause, "log")).toContain("about to abort");
    expect(took(rollout)).toBeLessThan(soon);
  });

  test("that ends at once as if all were well: told at its first end", async () => {
    const { cause, ...rollout } = await failed("ends", program("console.log('all done')"));
    expect(cause).toMatchObject({ code: "exited_zero", params: { kind: "web" } });
    expect(evidence(cause, "log")).toContain("all done");
    expect(took(rollout)).toBeLessThan(soon);
  });

  test("that never becomes ready: what the probe asked, what it got, and when", async () => {
    const { cause } = await failed("unready", {
      ...program("require('http').createServer((q, r) => { r.statusCode = 503; r.end() }).listen(process.env.PORT)"),
      ...compose({
        ports: ["3000"],
        "x-berth": {
          strategy: { type: "rolling", progressDeadline: "15s" },
          probes: { readiness: { check: { type: "http", path: "/health" }, period: "300ms", timeout: "10s" } },
        },
      }),
    });
    expect(cause.code).toBe("never_ready");
    expect(renderCause(cause).sentence).toMatch(/GET \/health .*503/);
    expect(evidence(cause, "probe").split("\n").length).toBeGreaterThan(3);
  });

  test("whose command is not there: its name, at its first end", async () => {
    const { cause, ...rollout } = await failed("no-command", {
      ...program(""),
      ...compose({ ports: ["3000"], command: ["gunicornn", "app:app"] }),
    });
    expect(cause).toMatchObject({ code: "command_not_found", params: { command: "gunicornn" } });
    expect(took(rollout)).toBeLessThan(soon);
  });

  test("that wants a port of its own that another program has: port and owner", async () => {
    const { server, port } = await takePort("0.0.0.0");
    try {
      const { cause, ...rollout } = await failed("own-port", program(`require("http").createServer(() => {}).listen(${port})`));
      expect(cause).toMatchObject({ code: "port_taken", params: { port } });
      expect(String(cause.params["owner"])).toContain(String(process.pid));
      expect(evidence(cause, "log")).toContain("Error: listen EADDRINUSE: address already in use");
      expect(took(rollout)).toBeLessThan(soon);
    } finally {
      server.close();
    }
  });

  test("that answers with its own error through the router: URL and status, and the release before serves on", async () => {
    await berth.deployed("broken", webApp("one"));
    const { cause, ...rollout } = await failed(
      "broken",
      program(
        "console.error('Error: no such table: users'); require('http').createServer((q, r) => { r.statusCode = 500; r.end('oops') }).listen(process.env.PORT)",
      ),
    );
    expect(cause).toMatchObject({ code: "verify_failed", params: { status: 500 } });
    expect(String(cause.params["url"])).toContain(host("broken"));
    expect(evidence(cause, "log")).toContain("no such table: users");
    expect(took(rollout)).toBeLessThan(soon);
    expect((await berth.get(host("broken"))).body).toMatch(/^one /);
  });
});

describe.concurrent("a public port", () => {
  test("that another program has: port and owner, and the instances leave again", async () => {
    const { server, port } = await takePort("0.0.0.0");
    try {
      const { cause, ...rollout } = await failed("public-port", {
        ...program("require('net').createServer((s) => s.on('error', () => {}).end('hi')).listen(process.env.PORT)"),
        ...compose({ ports: [`${port}:7000/tcp`] }),
      });
      expect(cause).toMatchObject({ code: "port_taken", params: { port } });
      expect(String(cause.params["owner"])).toContain(String(process.pid));
      expect(took(rollout)).toBeLessThan(soon);
      expect((await berth.client.listInstances({ params: { stack: "public-port", component: "web" } })).items).toEqual([]);
    } finally {
      server.close();
    }
  });

  test("or host that another component has is refused before anything is made", async () => {
    const port = await freePort();
    const owner = { ...webApp("one"), ...compose({ ports: [`${port}:7000/tcp`, "3000"], "x-berth": { domains: ["shop.test"] } }) };
    await berth.deployed("owner", owner);
    await expect(
      berth.up("guest", { ...webApp("two"), ...compose({ ports: ["3000"], "x-berth": { domains: ["shop.test"] } }) }),
    ).rejects.toMatchObject({ code: "host_taken", message: expect.stringContaining("owner/web") });
    await expect(berth.up("guest", { ...webApp("two"), ...compose({ ports: [`${port}:7000/tcp`] }) })).rejects.toMatchObject({
      code: "port_taken",
      message: expect.stringContaining(String(port)),
    });
    await expect(berth.client.showStack({ params: { stack: "guest" } })).rejects.toMatchObject({ code: "not_found" });
  });
});

describe.concurrent("a build", () => {
  test("that fails in Node.js: the first real error line", async () => {
    const { cause, ...rollout } = await failed("node-build", {
      "package.json": JSON.stringify({ name: "web", scripts: { start: "node server.js", build: "node build.js" } }),
      "build.js": "console.log('compiling 3 files');\nconst { version } = undefined;\n",
      "server.js": "",
    });
    expect(cause).toMatchObject({ code: "build_failed", params: { step: "build", exitCode: 1 } });
    expect(cause.params["line"]).toMatch(/^TypeError: Cannot destructure property 'version'/);
    expect(evidence(cause, "log")).toContain("build.js:2");
    expect(took(rollout)).toBeLessThan(soon);
    const build = await berth.client.showBuild({ params: { stack: "node-build", build: rollout.build ?? 0 } });
    expect(build).toMatchObject({ phase: "failed", cause: { code: "build_failed" } });
  });

  test("that fails in Python: the first real error line", async () => {
    const { cause, ...rollout } = await failed("python-build", {
      "requirements.txt": "./broken\n",
      "app.py": "print('hi')\n",
      Procfile: "web: python app.py\n",
      "broken/setup.py": "import setuptools_that_is_not_there\n",
    });
    expect(cause.code).toBe("build_failed");
    expect(cause.params["line"]).toBe("ModuleNotFoundError: No module named 'setuptools_that_is_not_there'");
    expect(took(rollout)).toBeLessThan(soon);
  });

  test("that somebody cancels ends at once, and its rollout with it", async () => {
    const made = await berth.up("cancel", {
      "package.json": JSON.stringify({ name: "web", scripts: { start: "node .", build: "sleep 300" } }),
      "index.js": "",
    });
    const params = { stack: "cancel", build: made.builds[0]?.number ?? 0 };
    await until<Build>(async () => {
      const build = await berth.client.showBuild({ params });
      return build.steps.some((step) => step.name === "build") ? build : undefined;
    }, "the build step to begin");
    await berth.client.cancelBuild({ params });
    // Long before the step would have ended by itself.
    const rollout = await berth.ended("cancel", "web", made.rollouts[0]?.number ?? 0, soon);
    expect(rollout).toMatchObject({ cause: { code: "build_cancelled" } });
    told(rollout.cause ?? { code: "", params: {}, evidence: [] });
    expect((await berth.client.showBuild({ params })).phase).toBe("cancelled");
  });
});

describe.concurrent("before anything is built it is said", () => {
  const refusal = (files: Files) =>
    berth.up("nothing", files).then(
      () => {
        throw new Error("it was accepted");
      },
      (error: unknown) => error as ApiError,
    );

  test("that nothing tells what kind of project this is", async () => {
    const error = await refusal({ "notes.txt": "hello" });
    expect(error).toMatchObject({ code: "plan_not_possible", detail: expect.stringMatching(/what kind of project/) });
    expect(error.hint).toMatch(/Procfile/);
  });

  test("that nothing says how to start it", async () => {
    const error = await refusal({ "package.json": JSON.stringify({ name: "lib" }), "lib.js": "" });
    expect(error).toMatchObject({
      code: "plan_not_possible",
      detail: expect.stringMatching(/how to start web/),
      hint: expect.stringMatching(/Procfile line `web: /),
    });
  });

  test("that the machine's Node.js is too old, and how to get another", async () => {
    const error = await refusal({
      "package.json": JSON.stringify({ name: "web", engines: { node: ">=99" }, scripts: { start: "node ." } }),
      "index.js": "",
    });
    expect(error).toMatchObject({
      code: "plan_not_possible",
      detail: expect.stringMatching(/has node \d.*asks for >=99/),
      hint: expect.stringMatching(/nodejs\.org/),
    });
  });

  test("that a secret is not set", async () => {
    const error = await refusal({ ...webApp("one"), ...compose({ ports: ["3000"], "x-berth": { secrets: { TOKEN: "api-token" } } }) });
    expect(error).toMatchObject({ code: "secret_not_found", hint: expect.stringContaining("berth secrets set api-token") });
  });
});

describe.concurrent("a rollout", () => {
  test("of a component whose dependency did not come up names that one", async () => {
    // Without a probe a worker that runs is ready; on a busy machine its runtime takes a while to come to the line that ends it.
    const db = { build: "./db", "x-berth": { kind: "worker", strategy: { type: "rolling", minReady: "20s" } } };
    const services = { db, web: { build: "./web", ports: ["3000"], depends_on: ["db"] } };
    const made = await berth.up(
      "chain",
      { "compose.yaml": JSON.stringify({ services }) },
      { db: program("process.exit(7)"), web: webApp("one") },
    );
    const [first, web] = await Promise.all(
      ["db", "web"].map((component) =>
        berth.ended("chain", component, made.rollouts.find((rollout) => rollout.component === component)?.number ?? 0, 100_000),
      ),
    );
    expect(first).toMatchObject({ phase: "failed", cause: { code: "exited_at_start", params: { exitCode: 7 } } });
    expect(web).toMatchObject({ phase: "failed", cause: { code: "dependency_failed", params: { component: "db" } } });
    if (web?.cause !== undefined) told(web.cause);
    expect(JSON.stringify(web?.cause?.evidence)).toContain("exit code 7");
  });

  test("that somebody stops says who, and the release before serves on", async () => {
    await berth.deployed("abort", webApp("one"));
    const made = await berth.up("abort", program("setInterval(() => {}, 1000)"));
    const params = { stack: "abort", component: "web", rollout: made.rollouts[0]?.number ?? 0 };
    await until(async () => (await berth.client.showRollout({ params })).updated > 0 || undefined, "the new instance");
    await berth.client.abortRollout({ params });
    const rollout = await berth.ended("abort", "web", params.rollout);
    expect(rollout).toMatchObject({ phase: "aborted", cause: { code: "aborted" } });
    if (rollout.cause !== undefined) told(rollout.cause);
    expect((await berth.get(host("abort"))).body).toMatch(/^one /);
    expect((await berth.client.listInstances({ params: { stack: "abort", component: "web" } })).items).toHaveLength(1);
  });
});
