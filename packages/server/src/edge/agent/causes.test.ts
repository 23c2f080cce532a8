// Each failure of an instance is provoked for real, and the cause that is told names what a person needs to know (promise 6).
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Cause } from "@berth/contract/causes.ts";
import type { Instance, Ref, Workload } from "../../engines/engine.ts";
import { exitCause } from "../../engines/exitcause.ts";
import { portOwner, provenListeningFault } from "./diagnose.ts";
import { freshState } from "./record.ts";
import { Lab, until } from "./testing/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.open();
});
afterAll(async () => {
  await lab[Symbol.asyncDispose]();
});

const node = { command: { exec: ["node", "main.mjs"] }, tools: [{ name: "node", wanted: "*" }] };
const http = { ports: [{ name: "http", protocol: "http" as const }] };
let counter = 0;

/** Runs it and waits for a cause with this code. */
async function failing(
  code: string,
  files: Readonly<Record<string, string>>,
  over: Partial<Workload>,
  timeout = 60_000,
  enough: (why: Cause, instance: Instance) => boolean = () => true,
): Promise<{ instance: Instance; why: Cause; ref: Ref }> {
  const ref = { stack: "shop", component: `fail-${(counter += 1)}` };
  await lab.run(await lab.workload(files, { ref, kind: "web", ...over }));
  const instance = await lab.instance(
    (one) => one.cause?.code === code && one.cause.evidence.length > 0 && enough(one.cause, one),
    `cause ${code}`,
    timeout,
    ref,
  );
  await lab.engine.stop(ref, [instance.id], 0, lab.fence(), new AbortController().signal);
  if (instance.cause === undefined) throw new Error("no cause");
  return { instance, why: instance.cause, ref };
}
const text = (why: Cause): string => why.evidence.map((one) => `${one.kind}: ${one.text}`).join("\n");

describe.concurrent("causes", () => {
  it("exited_at_start: exit code, how long it ran, last lines", async () => {
    const { why, instance } = await failing(
      "exited_at_start",
      { "run.sh": "echo starting; sleep 0.2; echo 'cannot reach db' >&2; exit 4" },
      {},
      60_000,
      // The collector may not have read its lines yet when it is first asked.
      (seen) => text(seen).includes("cannot reach db"),
    );
    expect(why.params["exitCode"]).toBe(4);
    expect(String(why.params["after"])).toMatch(/^[\d.]+ m?s$/);
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

  // To provoke it, the memory of the whole machine would have to be used up: this is what the kernel would have counted.
  it("machine_out_of_memory: without a limit of its own, it is the machine that ran out", async () => {
    const workload = await lab.workload({}, { kind: "worker" });
    const spec = {
      id: "w-1",
      ref: workload.ref,
      track: "stable",
      restart: 0,
      workload,
      fence: lab.fence(),
      ports: {},
      createdAt: 0,
    } as const;
    const state = {
      ...freshState("boot"),
      lastExit: { at: new Date(0).toISOString(), ranFor: 90_000, signal: "SIGKILL", outOfMemory: true },
      lastEnd: { trouble: { memoryKills: 1, memoryPeak: 3 * 1024 ** 3, processesRefused: 0 } },
    };
    const why = exitCause({ ...spec, ownerOf: portOwner }, state, { signal: "SIGKILL" }, []);
    expect(why).toMatchObject({ code: "machine_out_of_memory", params: { used: "3 GiB" } });
    expect(text(why)).toMatch(/the kernel ended 1 of its processes[^]*SIGKILL after /);
  });

  it("disk_full: named by what the program printed, whatever stands after it", async () => {
    const { why } = await failing(
      "disk_full",
      {},
      { command: { shell: "echo starting; cat /etc/passwd > /dev/full; echo 'cannot go on' >&2; exit 3" } },
    );
    expect(why.params).toMatchObject({ who: "The process", line: expect.stringMatching(/No space left on device/) as string });
    expect(text(why)).toContain("exit: exit code 3");
  });

  it("volume_missing: a volume that was there and is gone is not made anew, until somebody brings it back", async () => {
    const ref = { stack: "shop", component: "kept" };
    const over = { ref, kind: "stateful" as const, volumes: [{ volume: "ledger", path: "/srv-of-berth-test/ledger" }] };
    const shell = {
      command: { shell: 'echo one > "$BERTH_VOLUME_LEDGER/file"; while [ -e "$BERTH_VOLUME_LEDGER/file" ]; do sleep 0.1; done; exit 5' },
    };
    await lab.run(await lab.workload({}, { ...over, ...shell }));
    const folder = join(lab.home, "stacks", "stack-1", "volumes", "ledger");
    await until(() => existsSync(join(folder, "file")), "it has written");
    rmSync(folder, { recursive: true });
    const { cause: why, id } = await lab.instance((one) => one.cause?.code === "volume_missing", "volume missing", 60_000, ref);
    expect(why?.params).toEqual({ volume: "ledger", folder });
    expect(existsSync(folder)).toBe(false);
    mkdirSync(folder);
    await until(() => existsSync(join(folder, "file")), "it runs again, in the folder that came back", 60_000);
    await lab.engine.stop(ref, [id], 0, lab.fence(), new AbortController().signal);
  });

  it("command_not_found: names the command", async () => {
    expect((await failing("command_not_found", {}, { command: { exec: ["gunicornn", "app:app"] } })).why.params["command"]).toBe(
      "gunicornn",
    );
    expect((await failing("command_not_found", {}, { command: { shell: "nodee server.js" } })).why.params["command"]).toBe("nodee");
  });

  it("start_failed: a program that may not be executed", async () => {
    const { why } = await failing("start_failed", { "app.txt": "no program" }, { command: { exec: ["./app.txt"] } });
    expect(String(why.params["reason"])).toContain("./app.txt");
  });

  it("wrong_port: names the port that it does listen on", async () => {
    const { why, instance } = await failing(
      "wrong_port",
      {
        "main.mjs":
          "import { createServer } from 'node:net'; const s = createServer().listen(0, '127.0.0.1', () => console.log('on', s.address().port));",
      },
      { ...node, ...http },
    );
    expect(why.params["expected"]).toBe(instance.addresses["http"]?.port);
    const actual = await until(
      async () =>
        (await lab.logs({ instance: instance.id }, { stack: "shop", component: instance.id.replace(/-[a-z2-7]{6}$/, "") }))
          .map((line) => /on (\d+)/.exec(line.text)?.[1])
          .find((port) => port !== undefined),
      "it says where it listens",
    );
    expect(String(why.params["actual"])).toBe(actual);
  });

  it.each([
    ["::1", "[::1]"],
    ["127.0.0.9", "127.0.0.9"],
  ])("wrong_address: listens at the right port of %s alone", async (host, told) => {
    const { why, instance } = await failing(
      "wrong_address",
      { "main.mjs": `import { createServer } from "node:http"; createServer().listen(process.env.PORT, "${host}");` },
      { ...node, ...http },
      60_000,
      // Its ports may be looked at before the first probe.
      (one) => text(one).includes("connection refused"),
    );
    const port = instance.addresses["http"]?.port;
    expect(why.params).toEqual({ address: `${told}:${port}`, expected: `127.0.0.1:${port}` });
    expect(text(why)).toContain(`it listens on ${told}:${port}`);
    expect(text(why)).toContain("connection refused");
  });

  it("wrong_address: listens at the right port for IPv6 alone", async () => {
    const { why, instance } = await failing(
      "wrong_address",
      {
        "main.mjs":
          "import { createServer } from 'node:http'; createServer().listen({ port: process.env.PORT, host: '::', ipv6Only: true });",
      },
      { ...node, ...http },
    );
    expect(why.params["address"]).toBe(`[::]:${instance.addresses["http"]?.port} (IPv6)`);
  });

  it("wrong_address: not of a slow program that opened its port for IPv6 and IPv4 after it was last refused", async () => {
    const workload = await lab.workload({}, { kind: "web", ...http });
    for (const ipv6Only of [false, true]) {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen({ port: 0, host: "::", ipv6Only }, resolve));
      try {
        const { port } = server.address() as AddressInfo;
        const fault = await provenListeningFault({ workload, ports: { http: port } }, () => [{ pid: process.pid }], true);
        expect(fault?.why.code).toBe(ipv6Only ? "wrong_address" : undefined);
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    }
  });

  it("tells where a program listens, not that it never became ready, when its startup probe ends it", async () => {
    const probes = { startup: { check: { type: "tcp" as const }, period: 200, failureThreshold: 5 } };
    const ref = { stack: "shop", component: "ended-for-it" };
    await lab.run(
      await lab.workload(
        { "main.mjs": "import { createServer } from 'node:net'; createServer().listen(0, '127.0.0.1');" },
        { ref, ...node, ...http, probes },
      ),
    );
    const { cause: why, id } = await lab.instance(
      (one) => one.phase === "backoff" && one.cause !== undefined,
      "the pause after its end",
      60_000,
      ref,
    );
    await lab.engine.stop(ref, [id], 0, lab.fence(), new AbortController().signal);
    expect(why?.code).toBe("wrong_port");
    expect(why?.evidence.map((one) => one.text).join()).toContain("it listens on 127.0.0.1:");
  });

  it("not_listening: runs and listens nowhere", async () => {
    const { why, instance } = await failing("not_listening", {}, { ...http, command: { shell: "echo thinking; sleep 60" } });
    expect(why.params["expected"]).toBe(instance.addresses["http"]?.port);
    expect(text(why)).toContain("connection refused");
  });

  it("port_taken: a hard-coded port that somebody else has, with its owner", async () => {
    const owner = createServer();
    await new Promise<void>((resolve) => {
      owner.listen(0, "127.0.0.1", resolve);
    });
    try {
      const { port } = owner.address() as AddressInfo;
      const { why } = await failing(
        "port_taken",
        { "main.mjs": `import { createServer } from "node:http"; createServer().listen(${port}, "127.0.0.1");` },
        { ...node, ...http },
      );
      expect(why.params["port"]).toBe(port);
      expect(String(why.params["owner"])).toContain(`process ${process.pid}`);
      expect(text(why)).toContain("EADDRINUSE");
    } finally {
      owner.close();
    }
  });

  it("port_taken: somebody else answers at its own port, and it never counts as ready", async () => {
    const ref = { stack: "shop", component: "intruded" };
    const script =
      "import { existsSync } from 'node:fs'; import { createServer } from 'node:http'; console.log('port', process.env.PORT); while (!existsSync('go')) await new Promise((r) => setTimeout(r, 20)); setTimeout(() => {}, 1e9);";
    await lab.run(await lab.workload({ "main.mjs": script }, { ref, ...node, ...http }));
    const port = (await lab.instance((one) => one.pid !== undefined, "runs", 60_000, ref)).addresses["http"]?.port ?? 0;
    const intruder = createServer();
    await new Promise<void>((resolve) => {
      intruder.listen(port, "127.0.0.1", resolve);
    });
    try {
      const instance = await lab.instance((one) => one.cause?.code === "port_taken", "port taken", 60_000, ref);
      expect(instance.ready).toBe(false);
      expect(instance.cause?.params["port"]).toBe(port);
      expect(String(instance.cause?.params["owner"])).toContain(`process ${process.pid}`);
    } finally {
      intruder.close();
    }
    await lab.engine.remove(ref, lab.fence(), new AbortController().signal);
  });

  it("never_ready: what the probe saw, how often, for how long", async () => {
    const { why } = await failing(
      "never_ready",
      {
        "main.mjs":
          "import { createServer } from 'node:http'; createServer((q, r) => { r.statusCode = 503; r.end(); }).listen(process.env.PORT, '127.0.0.1');",
      },
      { ...node, ...http, probes: { readiness: { check: { type: "http", path: "/health" } } } },
      60_000,
      (seen) => seen.params["last"] === "status 503",
    );
    expect(why.params).toMatchObject({ check: "GET /health", last: "status 503" });
    expect(Number(why.params["failures"])).toBeGreaterThanOrEqual(1);
    expect(text(why)).toContain("probe: readiness: status 503");
  });

  it("liveness_failed: it is started again, and says why", async () => {
    const { why, instance } = await failing(
      "liveness_failed",
      {
        "main.mjs":
          "import { createServer } from 'node:http'; let asked = 0; createServer((q, r) => { asked += 1; r.statusCode = asked > 5 ? 500 : 200; r.end(); }).listen(process.env.PORT, '127.0.0.1'); process.on('SIGTERM', () => process.exit(0));",
      },
      {
        ...node,
        ...http,
        probes: {
          startup: { check: { type: "http", path: "/" }, period: 100, failureThreshold: 300 },
          readiness: { check: { type: "http", path: "/" } },
          liveness: { check: { type: "http", path: "/" }, period: 200, failureThreshold: 2, timeout: 10_000 },
        },
      },
      60_000,
      (_why, seen) => seen.restarts > 0,
    );
    expect(instance.restarts).toBeGreaterThan(0);
    expect(why.params).toMatchObject({ failures: 2, last: "status 500" });
  });

  it("never_ready: a startup probe that gives up", async () => {
    const { why } = await failing(
      "never_ready",
      {},
      {
        kind: "worker",
        command: { shell: "sleep 60" },
        probes: {
          startup: { check: { type: "exec", command: { shell: "echo nope; exit 3" } }, period: 100, timeout: 30_000, failureThreshold: 3 },
        },
      },
    );
    expect(why.params).toMatchObject({ check: "the startup probe's command", last: "exit code 3: nope" });
  });

  it("crash_loop: was ready before, and keeps ending", async () => {
    const { why } = await failing(
      "crash_loop",
      {
        "main.mjs":
          // Not before somebody was there, however late he comes.
          "import { createServer } from 'node:http'; createServer().listen(process.env.PORT, '127.0.0.1').once('connection', () => setTimeout(() => process.exit(7), 600));",
      },
      { ...node, ...http },
      60_000,
    );
    expect(Number(why.params["restarts"])).toBeGreaterThanOrEqual(3);
    expect(why.params["last"]).toBe("exit code 7");
  });

  it("tool_missing and tool_version, before anything starts", async () => {
    const missing = await lab.workload({}, { ref: { stack: "shop", component: "tools" }, tools: [{ name: "poetry-x", wanted: "*" }] });
    await expect(lab.engine.prepare(missing, lab.fence(), new AbortController().signal)).rejects.toMatchObject({
      failure: { code: "tool_missing", params: { tool: "poetry-x" } },
      retryable: false,
    });
    const old = await lab.workload({}, { ref: { stack: "shop", component: "tools" }, tools: [{ name: "python", wanted: ">=99" }] });
    await expect(lab.engine.prepare(old, lab.fence(), new AbortController().signal)).rejects.toMatchObject({
      failure: { code: "tool_version", params: { tool: "python", wanted: ">=99" } },
    });
  });

  it("artifact_missing and image_needs_container_engine", async () => {
    const workload = await lab.workload({}, { ref: { stack: "shop", component: "nothing" } });
    await expect(
      lab.engine.prepare(
        { ...workload, artifact: { kind: "bundle", digest: `sha256:${"0".repeat(64)}` } },
        lab.fence(),
        new AbortController().signal,
      ),
    ).rejects.toMatchObject({ failure: { code: "artifact_missing" } });
    await expect(
      lab.engine.prepare({ ...workload, artifact: { kind: "image", reference: "nginx" } }, lab.fence(), new AbortController().signal),
    ).rejects.toMatchObject({ failure: { code: "image_needs_container_engine" } });
  });
});
