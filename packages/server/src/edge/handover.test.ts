// Nobody is refused or cut off when the edge's primary is replaced by another build of it, or dies: one primary after the other, with requests all the time.
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent, request, type RequestListener } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { edgeProgram } from "./testing/programs.ts";
import { runEdgeStandIn } from "./testing/standin.ts";
import { lockHolder } from "./primary/lock.ts";
import { livingRouters } from "./registry.ts";
import {
  draining,
  endpoint,
  fence,
  fetchRaw,
  freePort,
  host,
  never,
  ref,
  TestEdge,
  testEntry,
  until,
  webEntry,
  type TestEndpoint,
} from "./testing/harness.ts";

const own = { node: process.execPath, entry: testEntry };
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function edgeOf(overrides: Record<string, unknown> = {}): Promise<TestEdge> {
  const edge = await TestEdge.start({ succession: true, ...overrides });
  cleanups.push(async () => {
    await edge[Symbol.asyncDispose]();
  });
  return edge;
}

async function instance(
  id: string,
  listener: RequestListener = (req, res) => {
    req.resume().on("end", () => {
      res.end(id);
    });
  },
): Promise<TestEndpoint> {
  const made = await endpoint(id, listener);
  cleanups.push(async () => {
    await made[Symbol.asyncDispose]();
  });
  return made;
}

/** Requests over kept connections until stopped; what went wrong. */
function load(port: number, connections = 6): { sent(): number; stop(): Promise<{ requests: number; failed: string[] }> } {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  let stopped = false;
  let requests = 0;
  const failed: string[] = [];
  const work = async (): Promise<void> => {
    while (!stopped) {
      requests += 1;
      await new Promise<void>((resolve) => {
        const asked = request(
          {
            host: "127.0.0.1",
            port,
            agent,
            method: requests % 3 === 0 ? "POST" : "GET",
            headers: { host, ...(requests % 3 === 0 ? { "content-length": 1 } : {}) },
          },
          (res) => {
            if (res.statusCode !== 200) failed.push(String(res.statusCode));
            res
              .resume()
              .on("end", resolve)
              .on("error", (error) => {
                failed.push(error.message);
                resolve();
              });
          },
        );
        asked.on("error", (error) => {
          failed.push(error.message);
          resolve();
        });
        asked.end(requests % 3 === 0 ? "x" : undefined);
      });
      await sleep(2);
    }
  };
  const all = Promise.all(Array.from({ length: connections }, work));
  return {
    sent: () => requests,
    async stop() {
      stopped = true;
      await all;
      agent.destroy();
      return { requests, failed };
    },
  };
}

/** The process of the primary is another one, and answers. */
async function successor(edge: TestEdge, before: number): Promise<number> {
  let pid = before;
  await until(
    async () =>
      edge.traffic.hello(never).then(
        (hello) => {
          pid = hello.pid;
          return hello.pid !== before && hello.agent !== null;
        },
        () => false,
      ),
    60_000,
    "the next primary",
  );
  return pid;
}

async function raw(port: number, text: string): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(text);
  return socket;
}

describe("an upgrade", () => {
  it("refuses and breaks nothing: requests go on, long ones end well, and their instances count as busy until then", async () => {
    const edge = await edgeOf();
    let finish: () => void = () => undefined;
    const a = await instance("a", (req, res) => {
      if (req.url === "/long") {
        res.write("begun ");
        finish = () => res.end("done");
      } else
        req.resume().on("end", () => {
          res.end("a");
        });
    });
    const b = await instance("b");
    await edge.traffic.apply(await webEntry([a.endpoint]), fence(1), never);
    await edge.ready({ a: true, b: true });
    const running = load(edge.port);
    const long = fetchRaw(edge.port, { path: "/long", headers: { host } });
    await until(async () => ((await edge.traffic.applied(ref, never)).endpoints[0]?.inFlight ?? 0) > 0);
    const before = await edge.traffic.hello(never);
    const workers = new Set(before.workers);
    await edge.traffic.upgrade(own, never);
    const pid = await successor(edge, before.pid);
    await until(async () => (await edge.traffic.hello(never)).workers.filter((worker) => !workers.has(worker)).length === 2);
    // The old routers finish what they have, obey the new primary, and their requests count.
    await edge.traffic.apply(await webEntry([draining(a.endpoint), b.endpoint]), fence(2), never);
    for (let index = 0; index < 20; index += 1)
      expect((await fetchRaw(edge.port, { path: "/", headers: { host } })).body.toString()).toBe("b");
    await until(async () => (await edge.traffic.applied(ref, never)).endpoints.find((one) => one.instance === "a")?.inFlight === 1);
    finish();
    expect((await long).body.toString()).toBe("begun done");
    await until(async () => (await edge.traffic.applied(ref, never)).endpoints.find((one) => one.instance === "a")?.inFlight === 0);
    await until(() => running.sent() > 100, 60_000, "enough requests to tell by");
    const { failed } = await running.stop();
    expect(failed).toEqual([]);
    // Nothing of the old one is left once its connections are closed.
    await until(
      () => livingRouters(join(edge.home, "run")).every(({ pid: router }) => !workers.has(router)),
      60_000,
      "the end of the old routers",
    );
    expect((await edge.traffic.hello(never)).pid).toBe(pid);
    expect(lockHolder(join(edge.home, "run", "edge.lock"))).toBe(pid);
  }, 240_000);

  it("keeps what was counted, and may be repeated", async () => {
    const edge = await edgeOf();
    const a = await instance("a");
    await edge.traffic.apply(await webEntry([a.endpoint]), fence(1), never);
    await edge.ready({ a: true });
    for (let index = 0; index < 5; index += 1) await fetchRaw(edge.port, { path: "/", headers: { host } });
    for (let round = 0; round < 3; round += 1) {
      const { pid } = await edge.traffic.hello(never);
      await edge.traffic.upgrade(own, never);
      await successor(edge, pid);
    }
    expect(await edge.traffic.metrics(never)).toMatch(/berth_edge_requests_total\{[^}]*component="web"[^}]*status="2xx"\} 5\n/);
    expect((await fetchRaw(edge.port, { path: "/", headers: { host } })).status).toBe(200);
  }, 240_000);

  it("keeps a port open that was first asked for while it was under way", async () => {
    const edge = await edgeOf();
    const a = await instance("a");
    await edge.traffic.apply(await webEntry([a.endpoint]), fence(1), never);
    await edge.ready({ a: true });
    const { pid } = await edge.traffic.hello(never);
    const published = await freePort();
    const entryWithPort = await webEntry([a.endpoint], {}, { published });
    const upgrading = edge.traffic.upgrade(own, never);
    upgrading.catch(() => undefined);
    // Refused while nobody decides; as the control plane does, it is asked for again.
    await until(
      () =>
        edge.traffic.apply(entryWithPort, fence(2), never).then(
          () => true,
          () => false,
        ),
      60_000,
      "the change",
    );
    const running = load(published, 2);
    await upgrading;
    await successor(edge, pid);
    await until(async () => (await edge.traffic.hello(never)).workers.length === 2, 60_000, "the end of the old routers");
    const { requests, failed } = await running.stop();
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(0);
  }, 240_000);

  it("to a program that does not come up changes nothing", async () => {
    const folder = await mkdtemp(join(tmpdir(), "berth-handover-"));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const edge = await edgeOf();
    const a = await instance("a");
    await edge.traffic.apply(await webEntry([a.endpoint]), fence(1), never);
    await edge.ready({ a: true });
    const running = load(edge.port);
    const before = await edge.traffic.hello(never);
    const standIn = join(folder, "standin.mjs");
    for (const text of ["process.exit(7);", runEdgeStandIn("ends when it is to take over")]) {
      await writeFile(standIn, text);
      await expect(edge.traffic.upgrade({ node: process.execPath, entry: standIn }, never)).rejects.toThrow();
      await until(
        async () =>
          edge.traffic.hello(never).then(
            ({ agent }) => agent !== null,
            () => false,
          ),
        60_000,
        "the edge to be itself again",
      );
      expect((await edge.traffic.hello(never)).pid).toBe(before.pid);
      // It decides again, its agent reports again, and its routers obey.
      await until(
        () =>
          edge.ready({ a: true }).then(
            () => true,
            () => false,
          ),
        60_000,
      );
    }
    expect((await edge.traffic.hello(never)).workers).toEqual(before.workers);
    await until(() => running.sent() > 50, 60_000, "enough requests to tell by");
    const { failed } = await running.stop();
    expect(failed).toEqual([]);
  }, 300_000);
});

describe("a primary that is killed", () => {
  it("costs no request: its routers serve on and bring up the next one, which they obey", async () => {
    const edge = await edgeOf({ limits: { idleTimeout: 300_000 } });
    const a = await instance("a");
    const b = await instance("b");
    const published = await freePort();
    await edge.traffic.apply(await webEntry([a.endpoint], {}, { published }), fence(1), never);
    await edge.ready({ a: true, b: true });
    const running = load(edge.port);
    const direct = load(published, 2);
    const socket = await raw(edge.port, `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    await once(socket, "data");
    let last = edge.process?.pid ?? 0;
    for (let round = 0; round < 3; round += 1) {
      process.kill(last, "SIGKILL");
      last = await successor(edge, last);
      await edge.traffic.apply(await webEntry([round % 2 === 0 ? b.endpoint : a.endpoint], {}, { published }), fence(2 + round), never);
      expect((await fetchRaw(edge.port, { path: "/", headers: { host } })).body.toString()).toBe(round % 2 === 0 ? "b" : "a");
    }
    // A connection from before the first death is told to go with its next answer, not cut.
    socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    expect(String(((await once(socket, "data")) as [Buffer])[0])).toMatch(/^HTTP\/1\.1 200 [^]*connection: close/i);
    for (const one of [running, direct]) {
      await until(() => one.sent() > 50, 60_000, "enough requests to tell by");
      expect((await one.stop()).failed).toEqual([]);
    }
    expect((await edge.traffic.hello(never)).router.port).toBe(edge.port);
  }, 300_000);

  it("together with all routers but one, and while somebody else starts an edge: there is one primary in the end", async () => {
    const edge = await edgeOf();
    const a = await instance("a");
    await edge.traffic.apply(await webEntry([a.endpoint]), fence(1), never);
    await edge.ready({ a: true });
    const { pid, workers } = await edge.traffic.hello(never);
    process.kill(pid, "SIGKILL");
    process.kill(workers[0] ?? 0, "SIGKILL");
    const refused = expect(TestEdge.again(edge)).rejects.toThrow("another edge");
    const next = await successor(edge, pid);
    await refused;
    expect((await fetchRaw(edge.port, { path: "/", headers: { host } })).status).toBe(200);
    expect(lockHolder(join(edge.home, "run", "edge.lock"))).toBe(next);
    await until(async () => (await edge.traffic.hello(never)).workers.length === 2);
  }, 240_000);

  it("is not succeeded when its configuration is gone: then the edge is not wanted", async () => {
    const edge = await edgeOf();
    const { pid } = await edge.traffic.hello(never);
    await rm(join(edge.home, "edge.json"));
    process.kill(pid, "SIGKILL");
    await until(() => livingRouters(join(edge.home, "run")).length === 0, 60_000, "the end of its routers");
    expect(lockHolder(join(edge.home, "run", "edge.lock"))).toBeUndefined();
  }, 120_000);
});

it.each(["agent", "collector", "router"] as const)(
  "a %s whose primary dies while it starts does not outlive it",
  async (child) => {
    const home = await mkdtemp(join(tmpdir(), "berth-early-"));
    cleanups.push(() => rm(home, { recursive: true, force: true }));
    const configFile = join(home, "edge.json");
    await writeFile(
      configFile,
      JSON.stringify({
        home,
        runDir: join(home, "run"),
        installation: "test",
        router: { host: "127.0.0.1", port: 0, portIsDefault: false },
      }),
    );
    const started = fork(edgeProgram(`edge-${child}`), [configFile], { execArgv: [], stdio: ["ignore", "ignore", "ignore", "ipc"] });
    cleanups.push(() => {
      started.kill("SIGKILL");
    });
    const gone = once(started, "exit");
    started.disconnect();
    await gone;
  },
  120_000,
);

describe("a process that stays", () => {
  it("stands in for the primaries after it, and takes them along when it is told to end", async () => {
    const edge = await edgeOf({ flags: ["--stay"] });
    const first = edge.process;
    const a = await instance("a");
    await edge.traffic.apply(await webEntry([a.endpoint]), fence(1), never);
    await edge.ready({ a: true });
    await edge.traffic.upgrade(own, never);
    const second = await successor(edge, first?.pid ?? 0);
    expect(first?.exitCode).toBeNull();
    process.kill(second, "SIGKILL");
    const third = await successor(edge, second);
    expect((await fetchRaw(edge.port, { path: "/", headers: { host } })).status).toBe(200);
    expect(first?.exitCode).toBeNull();
    await edge.down("SIGTERM");
    expect(lockHolder(join(edge.home, "run", "edge.lock"))).toBeUndefined();
    await until(
      () =>
        readFile(`/proc/${String(third)}/stat`, "utf8").then(
          (stat) => stat.includes(") Z "),
          () => true,
        ),
      60_000,
      "the end of the last primary",
    );
  }, 300_000);
});
