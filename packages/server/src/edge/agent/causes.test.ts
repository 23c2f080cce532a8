// Each failure of an instance is provoked for real, and the cause that is told names what a person needs to know (promise 6).
import { createServer, type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Cause } from "@berth/contract/causes.ts";
import type { Instance, Ref, Workload } from "../../engines/engine.ts";
import { Lab } from "./testing/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let lab: Lab;
beforeAll(async () => { lab = await Lab.open(); });
afterAll(async () => { await lab[Symbol.asyncDispose](); });

const node = { command: { exec: ["node", "main.mjs"] }, tools: [{ name: "node", wanted: "*" }] };
const http = { ports: [{ name: "http", protocol: "http" as const }] };
let counter = 0;

/** Runs it and waits for a cause with this code. */
async function failing(code: string, files: Readonly<Record<string, string>>, over: Partial<Workload>, timeout = 40_000, enough: (why: Cause) => boolean = () => true): Promise<{ instance: Instance; why: Cause; ref: Ref }> {
  const ref = { stack: "shop", component: `fail-${(counter += 1)}` };
  await lab.run(await lab.workload(files, { ref, kind: "web", ...over }));
  const instance = await lab.instance((one) => one.cause?.code === code && one.cause.evidence.length > 0 && enough(one.cause), `cause ${code}`, timeout, ref);
  await lab.engine.stop(ref, [instance.id], 0, lab.fence(), new AbortController().signal);
  if (instance.cause === undefined) throw new Error("no cause");
  return { instance, why: instance.cause, ref };
}
const text = (why: Cause): string => why.evidence.map((one) => `${one.kind}: ${one.text}`).join("\n");

describe.concurrent("causes", () => {
  it("exited_at_start: exit code, how long it ran, last lines", async () => {
    const { why, instance } = await failing("exited_at_start", { "run.sh": "echo starting; sleep 0.2; echo 'cannot reach db' >&2; exit 4" }, {});
    expect(why.params["exitCode"]).toBe(4);
    expect(String(why.params["after"])).toMatch(/ms$/);
    expect(text(why)).toContain("log: cannot reach db");
    expect(text(why)).toContain("exit: exit code 4");
    expect(instance.lastExit?.exitCode).toBe(4);
  });

  it("exited_zero: a web component has to keep running", async () => {
    const { why } = await failing("exited_zero", {}, { command: { shell: "echo done" } });
    expect(why.params["kind"]).toBe("web");
  });

  it("killed_by_signal: names the signal", async () => {
    const { why, instance } = await failing("killed_by_signal", {}, { command: { shell: "kill -SEGV $$" } });
    expect(why.params["signal"]).toBe("SIGSEGV");
    expect(instance.lastExit).toMatchObject({ signal: "SIGSEGV" });
    expect(instance.lastExit?.exitCode).toBeUndefined();
  });

  it("an exit code above 128 that the program chose is not taken for a signal", async () => {
    const { why } = await failing("exited_at_start", {}, { command: { shell: "exit 143" } });
    expect(why.params["exitCode"]).toBe(143);
  });

  it("command_not_found: names the command", async () => {
    expect((await failing("command_not_found", {}, { command: { exec: ["gunicornn", "app:app"] } })).why.params["command"]).toBe("gunicornn");
    expect((await failing("command_not_found", {}, { command: { shell: "nodee server.js" } })).why.params["command"]).toBe("nodee");
  });

  it("start_failed: a program that may not be executed", async () => {
    const { why } = await failing("start_failed", { "app.txt": "no program" }, { command: { exec: ["./app.txt"] } });
    expect(String(why.params["reason"])).toContain("./app.txt");
  });

  it("wrong_port: names the port that it does listen on", async () => {
    const { why, instance } = await failing("wrong_port", { "main.mjs": "import { createServer } from 'node:net'; const s = createServer().listen(0, '127.0.0.1', () => console.log('on', s.address().port));" }, { ...node, ...http });
    expect(why.params["expected"]).toBe(instance.addresses["http"]?.port);
    const actual = (await lab.logs({ instance: instance.id }, { stack: "shop", component: instance.id.replace(/-[a-z2-7]{6}$/, "") })).map((line) => /on (\d+)/.exec(line.text)?.[1]).find((port) => port !== undefined);
    expect(String(why.params["actual"])).toBe(actual);
  });

  it("not_listening: runs and listens nowhere", async () => {
    const { why, instance } = await failing("not_listening", {}, { ...http, command: { shell: "echo thinking; sleep 60" } });
    expect(why.params["expected"]).toBe(instance.addresses["http"]?.port);
    expect(text(why)).toContain("connection refused");
  });

  it("port_taken: a hard-coded port that somebody else has, with its owner", async () => {
    const owner = createServer();
    await new Promise<void>((resolve) => { owner.listen(0, "127.0.0.1", resolve); });
    try {
      const { port } = owner.address() as AddressInfo;
      const { why } = await failing("port_taken", { "main.mjs": `import { createServer } from "node:http"; createServer().listen(${port}, "127.0.0.1");` }, { ...node, ...http });
      expect(why.params["port"]).toBe(port);
      expect(String(why.params["owner"])).toContain(`process ${process.pid}`);
      expect(text(why)).toContain("EADDRINUSE");
    } finally {
      owner.close();
    }
  });

  it("port_taken: somebody else answers at its own port, and it never counts as ready", async () => {
    const ref = { stack: "shop", component: "intruded" };
    const script = "import { existsSync } from 'node:fs'; import { createServer } from 'node:http'; console.log('port', process.env.PORT); while (!existsSync('go')) await new Promise((r) => setTimeout(r, 20)); setTimeout(() => {}, 1e9);";
    await lab.run(await lab.workload({ "main.mjs": script }, { ref, ...node, ...http }));
    const port = (await lab.instance((one) => one.pid !== undefined, "runs", 30_000, ref)).addresses["http"]?.port ?? 0;
    const intruder = createServer();
    await new Promise<void>((resolve) => { intruder.listen(port, "127.0.0.1", resolve); });
    try {
      const instance = await lab.instance((one) => one.cause?.code === "port_taken", "port taken", 30_000, ref);
      expect(instance.ready).toBe(false);
      expect(instance.cause?.params["port"]).toBe(port);
      expect(String(instance.cause?.params["owner"])).toContain(`process ${process.pid}`);
    } finally {
      intruder.close();
    }
    await lab.engine.remove(ref, lab.fence(), new AbortController().signal);
  });

  it("never_ready: what the probe saw, how often, for how long", async () => {
    const { why } = await failing("never_ready", { "main.mjs": "import { createServer } from 'node:http'; createServer((q, r) => { r.statusCode = 503; r.end(); }).listen(process.env.PORT, '127.0.0.1');" }, { ...node, ...http, probes: { readiness: { check: { type: "http", path: "/health" } } } }, 40_000, (seen) => seen.params["last"] === "status 503");
    expect(why.params).toMatchObject({ check: "GET /health", last: "status 503" });
    expect(Number(why.params["failures"])).toBeGreaterThanOrEqual(1);
    expect(text(why)).toContain("probe: readiness: status 503");
  });

  it("liveness_failed: it is started again, and says why", async () => {
    const { why, instance } = await failing("liveness_failed", { "main.mjs": "import { createServer } from 'node:http'; const at = Date.now(); createServer((q, r) => { r.statusCode = Date.now() - at > 500 ? 500 : 200; r.end(); }).listen(process.env.PORT, '127.0.0.1'); process.on('SIGTERM', () => process.exit(0));" }, {
      ...node, ...http, probes: { readiness: { check: { type: "http", path: "/" } }, liveness: { check: { type: "http", path: "/" }, period: 200, failureThreshold: 2 } },
    });
    expect(instance.restarts).toBeGreaterThan(0);
    expect(why.params).toMatchObject({ failures: 2, last: "status 500" });
  });

  it("never_ready: a startup probe that gives up", async () => {
    const { why } = await failing("never_ready", {}, { kind: "worker", command: { shell: "sleep 60" }, probes: { startup: { check: { type: "exec", command: { shell: "echo nope; exit 3" } }, period: 100, failureThreshold: 3 } } });
    expect(why.params).toMatchObject({ check: "the startup probe's command", last: "exit code 3: nope" });
  });

  it("crash_loop: was ready before, and keeps ending", async () => {
    const { why } = await failing("crash_loop", { "main.mjs": "import { createServer } from 'node:http'; createServer().listen(process.env.PORT, '127.0.0.1'); setTimeout(() => process.exit(7), 600);" }, { ...node, ...http }, 40_000);
    expect(Number(why.params["restarts"])).toBeGreaterThanOrEqual(3);
    expect(why.params["last"]).toBe("exit code 7");
  });

  it("tool_missing and tool_version, before anything starts", async () => {
    const missing = await lab.workload({}, { ref: { stack: "shop", component: "tools" }, tools: [{ name: "poetry-x", wanted: "*" }] });
    await expect(lab.engine.prepare(missing, lab.fence(), new AbortController().signal)).rejects.toMatchObject({ failure: { code: "tool_missing", params: { tool: "poetry-x" } }, retryable: false });
    const old = await lab.workload({}, { ref: { stack: "shop", component: "tools" }, tools: [{ name: "python", wanted: ">=99" }] });
    await expect(lab.engine.prepare(old, lab.fence(), new AbortController().signal)).rejects.toMatchObject({ failure: { code: "tool_version", params: { tool: "python", wanted: ">=99" } } });
  });

  it("artifact_missing and image_needs_container_engine", async () => {
    const workload = await lab.workload({}, { ref: { stack: "shop", component: "nothing" } });
    await expect(lab.engine.prepare({ ...workload, artifact: { kind: "bundle", digest: `sha256:${"0".repeat(64)}` } }, lab.fence(), new AbortController().signal)).rejects.toMatchObject({ failure: { code: "artifact_missing" } });
    await expect(lab.engine.prepare({ ...workload, artifact: { kind: "image", reference: "nginx" } }, lab.fence(), new AbortController().signal)).rejects.toMatchObject({ failure: { code: "image_needs_container_engine" } });
  });
});
