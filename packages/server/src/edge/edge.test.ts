// Guarantees of the whole edge towards the control plane and towards users while things change: real processes, real sockets, real load.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { Pool } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { contentHash } from "../core/canonical.ts";
import { BerthError } from "../core/errors.ts";
import type { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { TrafficEndpoint, TrafficEntry, TrafficPort } from "../engines/traffic.ts";
import {
  endpoint,
  fence,
  fetchRaw,
  freePort,
  host,
  listening,
  never,
  realEntry,
  ref,
  TestEdge,
  until,
  webEntry,
  type TestEndpoint,
} from "./testing/harness.ts";

let edge: TestEdge;
let generation = 0;
const made: TestEndpoint[] = [];

beforeAll(async () => {
  edge = await TestEdge.start();
}, 120_000);
afterEach(async () => {
  await Promise.all(made.splice(0).map((one) => one[Symbol.asyncDispose]()));
});
afterAll(() => edge[Symbol.asyncDispose]());

async function instance(
  name: string,
  listener: RequestListener = (_req, res) => {
    res.end(name);
  },
  options: { releaseHash?: string; port?: number } = {},
): Promise<TrafficEndpoint> {
  const one = await endpoint(name, listener, options);
  made.push(one);
  return one.endpoint;
}

async function apply(
  endpoints: readonly TrafficEndpoint[],
  changes: Partial<TrafficEntry> = {},
  port: Partial<TrafficPort> = {},
): Promise<void> {
  generation += 1;
  await edge.traffic.apply(await webEntry(endpoints, changes, port), fence(generation), never);
}

const draining = (one: TrafficEndpoint): TrafficEndpoint => ({ ...one, state: "draining" });
/** How many requests of the component were held so far. */
const holds = async (): Promise<number> =>
  [...(await edge.traffic.metrics(never)).matchAll(/^berth_edge_holds_total\{stack="shop",component="web"[^}]*\} (\d+)/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
const get = (path = "/", headers: Record<string, string> = {}): ReturnType<typeof fetchRaw> =>
  fetchRaw(edge.port, { path, headers: { host, ...headers } });

/** Keeps sending GETs over keep-alive connections until told to stop; what failed is reported, nothing is hidden. */
function load(connections: number): { stop: () => Promise<{ sent: number; failures: string[] }>; sent: () => number } {
  const pool = new Pool(`http://127.0.0.1:${String(edge.port)}`, { connections, pipelining: 1 });
  const failures: string[] = [];
  let sent = 0;
  let stopping = false;
  const clients = Array.from({ length: connections }, async () => {
    while (!stopping) {
      sent += 1;
      await pool.request({ method: "GET", path: "/load", headers: { host } }).then(
        async (answer) => {
          const text = await answer.body.text();
          if (answer.statusCode !== 200) failures.push(`${String(answer.statusCode)} ${text}`);
        },
        (error: unknown) => {
          failures.push(String(error));
        },
      );
    }
  });
  return {
    sent: () => sent,
    stop: async () => {
      stopping = true;
      await Promise.all(clients);
      await pool.close();
      return { sent, failures };
    },
  };
}

describe("fences", () => {
  it("tell by its hash which entry is in force, so that an order whose answer was lost is neither missed nor believed", async () => {
    const own = { stack: "hashed", component: "web" };
    const entry = await webEntry([], { ref: own, ports: [] });
    expect((await edge.traffic.applied(own, never)).digest).toBe("");
    await edge.traffic.apply(entry, fence(5), never);
    expect((await edge.traffic.applied(own, never)).digest).toBe(contentHash(entry));
    const other = { ...entry, drainTimeout: entry.drainTimeout + 1 };
    await edge.traffic.apply(other, fence(5), never);
    expect(await edge.traffic.applied(own, never)).toMatchObject({ generation: 5, digest: contentHash(other) });
    await edge.traffic.remove(own, fence(6), never);
    expect((await edge.traffic.applied(own, never)).digest).toBe("");
  });

  it("refuse an older generation, an older epoch and another installation; a removal is remembered", async () => {
    const own = { stack: "fenced", component: "web" };
    const entry = await webEntry([], { ref: own, ports: [] });
    const refused = (code: string): unknown => expect.objectContaining({ code });
    await edge.traffic.apply(entry, fence(5), never);
    await edge.traffic.apply(entry, fence(5), never);
    await expect(edge.traffic.apply(entry, fence(4), never)).rejects.toEqual(refused("stale_generation"));
    await edge.traffic.remove(own, fence(6), never);
    expect((await edge.traffic.applied(own, never)).generation).toBe(0);
    await expect(edge.traffic.apply(entry, fence(5), never)).rejects.toEqual(refused("stale_generation"));
    await edge.traffic.apply(entry, fence(7), never);
    expect((await edge.traffic.applied(own, never)).generation).toBe(7);
    expect(await edge.traffic.list(never)).toContainEqual({ ref: own, generation: 7 });
    await expect(edge.traffic.apply(entry, { ...fence(8), installation: "other" }, never)).rejects.toEqual(refused("wrong_state"));
    await expect(edge.traffic.apply(entry, fence(9, 0), never)).rejects.toEqual(refused("stale_generation"));
  });

  it("are not the only check: an entry that is not one is refused before it reaches the disk", async () => {
    const entry = await webEntry([], { ref: { stack: "..", component: "x" } });
    await expect(edge.traffic.apply(entry, fence(1), never)).rejects.toBeInstanceOf(BerthError);
    const bad = { ...(await webEntry([], { ref: { stack: "bad", component: "x" } })), holdFor: "long" };
    await expect(edge.traffic.apply(bad as unknown as TrafficEntry, fence(1), never)).rejects.toMatchObject({ code: "invalid_request" });
    expect((await readdir(join(edge.home, "edge", "entries"))).filter((name) => name.includes("bad") || name.includes("..x"))).toEqual([]);
  });
});

describe("readiness", () => {
  it("sends nothing to an instance that is not ready, and holds requests until one is", async () => {
    const a = await instance("h1");
    await edge.ready({ h1: false });
    await apply([a], { holdFor: 60_000 });
    const before = await holds();
    const waiting = get();
    await until(async () => (await holds()) > before);
    await edge.ready({ h1: true });
    expect((await waiting).body.toString()).toBe("h1");
  });

  it("answers 503 when none comes in time, and at once when the component is stopped", async () => {
    const a = await instance("n1");
    await apply([a], { holdFor: 100 });
    const started = performance.now();
    expect((await get()).status).toBe(503);
    expect(performance.now() - started).toBeGreaterThan(95);
    await apply([a], { holdFor: 60_000, stopped: true });
    const stopped = await get("/", { accept: "application/json" });
    expect([stopped.status, JSON.parse(stopped.body.toString())]).toEqual([
      503,
      expect.objectContaining({ code: "stopped", requestId: stopped.headers["x-request-id"] }),
    ]);
  });

  it("stays as it was while the agent restarts", async () => {
    const a = await instance("k1");
    await apply([a]);
    await edge.ready({ k1: true });
    const { agent } = await edge.traffic.hello(never);
    process.kill(agent ?? 0, "SIGKILL");
    await until(async () => {
      const now = (await edge.traffic.hello(never)).agent;
      return now !== null && now !== agent;
    });
    expect((await get()).status).toBe(200);
    await until(() =>
      edge.ready({ k1: false }, true).then(
        () => true,
        () => false,
      ),
    );
    expect((await edge.traffic.applied(ref, never)).endpoints[0]?.ready).toBe(false);
  });
});

describe("retries", () => {
  it("go to another endpoint when one refuses connections, whatever the method", async () => {
    const dead: TrafficEndpoint = { instance: "d1", releaseHash: "sha256:a", host: "127.0.0.1", port: await freePort(), state: "active" };
    const bodies: string[] = [];
    const a = await instance("l1", (req, res) => {
      req
        .setEncoding("utf8")
        .on("data", (text: string) => bodies.push(text))
        .on("end", () => {
          res.end("l1");
        });
    });
    await apply([dead, a]);
    await edge.ready({ d1: true, l1: true });
    for (let index = 0; index < 20; index += 1) {
      const answer = await fetchRaw(edge.port, { method: "POST", path: "/", headers: { host, "content-length": "4" } }, "once");
      expect([answer.status, answer.body.toString()]).toEqual([200, "l1"]);
    }
    expect(bodies).toEqual(Array.from({ length: 20 }, () => "once"));
  });

  it("happen for a GET on a connection that the endpoint closed, never for a POST: that one takes a connection whose end is not near", async () => {
    let connections = 0;
    let promise = "";
    const posts: string[] = [];
    // Answers the first request of each connection and closes it on the second without a byte.
    const server = createTcpServer((socket) => {
      connections += 1;
      let requests = 0;
      socket
        .on("error", () => undefined)
        .on("data", (chunk: Buffer) => {
          requests += 1;
          if (chunk.toString().startsWith("POST")) posts.push(chunk.toString());
          if (requests > 1) socket.destroy();
          else socket.write(`HTTP/1.1 200 OK\r\n${promise}content-length: 2\r\n\r\nok`);
        });
    });
    const port = await listening(server);
    try {
      await apply([{ instance: "c1", releaseHash: "sha256:a", host: "127.0.0.1", port, state: "active" }]);
      await edge.ready({ c1: true });
      for (let index = 0; index < 12; index += 1) expect((await get()).status).toBe(200);
      expect(connections).toBeGreaterThanOrEqual(12);
      const post = async (): Promise<number[]> => {
        const statuses: number[] = [];
        for (let index = 0; index < 8; index += 1)
          statuses.push((await fetchRaw(edge.port, { method: "POST", path: "/", headers: { host, "content-length": "1" } }, "x")).status);
        return statuses;
      };
      expect(await post()).toEqual(Array.from({ length: 8 }, () => 200));
      // An endpoint that promises to keep idle connections and does not: its POSTs are interrupted, and no other is tried.
      promise = "keep-alive: timeout=5\r\n";
      expect(await post()).toContain(502);
      expect(posts.length).toBe(16);
      expect(await edge.traffic.metrics(never)).toMatch(/berth_edge_interrupted_total\{[^}]*component="web"[^}]*\} [1-9]/);
    } finally {
      server.close();
    }
  });

  it("of what may be repeated go to another endpoint when the first one ends in the middle; a POST is reported as interrupted", async () => {
    let ended = 0;
    const dying = await instance("e1", (req) => {
      ended += 1;
      req.socket.destroy();
    });
    const a = await instance("e2", (req, res) => {
      req.resume().on("end", () => {
        res.end("e2");
      });
    });
    await apply([dying, a]);
    await edge.ready({ e1: true, e2: true });
    const answers = await Promise.all(Array.from({ length: 20 }, () => get()));
    // Two in a row that end are as many as one request may meet.
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(10);
    expect(ended).toBeGreaterThan(0);
    await apply([dying]);
    ended = 0;
    const post = await fetchRaw(
      edge.port,
      { method: "POST", path: "/", headers: { host, "content-length": "1", accept: "application/json" } },
      "x",
    );
    expect([post.status, JSON.parse(post.body.toString())]).toEqual([502, expect.objectContaining({ code: "interrupted" })]);
    expect(ended).toBe(1);
    expect((await get()).status).toBe(502);
    expect(ended).toBe(4);
  });

  it("end with 502 and the request id when the endpoint breaks off, 504 when it says nothing", async () => {
    const a = await instance("b1", (req) => {
      req.socket.destroy();
    });
    await apply([a]);
    await edge.ready({ b1: true });
    const answer = await get("/", { "x-request-id": "my-request-id" });
    expect([answer.status, answer.headers["x-request-id"]]).toEqual([502, "my-request-id"]);
    expect((await edge.traffic.applied(ref, never)).endpoints[0]).toMatchObject({ errors: 1, inFlight: 0 });
    // Impatient by itself: what is silent for a second may as well be a machine that is busy.
    await using impatient = await TestEdge.start({ responseTimeout: 1_000 });
    const silent = await instance("b2", () => undefined);
    await impatient.traffic.apply(await webEntry([silent], {}, { internal: await freePort() }), fence(1), never);
    await impatient.ready({ b2: true });
    expect((await fetchRaw(impatient.port, { path: "/", headers: { host } })).status).toBe(504);
  });
});

describe("draining", () => {
  it("gives a draining endpoint nothing new, counts what is in flight, and lets it finish", async () => {
    let finish: () => void = () => undefined;
    const a = await instance("o1", (_req, res) => {
      res.write("begun ");
      finish = () => res.end("done");
    });
    const b = await instance("o2");
    await apply([a]);
    await edge.ready({ o1: true, o2: true });
    const slow = get("/slow");
    await until(async () => (await edge.traffic.applied(ref, never)).endpoints[0]?.inFlight === 1);
    await apply([draining(a), b]);
    for (let index = 0; index < 20; index += 1) expect((await get()).body.toString()).toBe("o2");
    expect((await edge.traffic.applied(ref, never)).endpoints.find((one) => one.instance === "o1")).toMatchObject({
      inFlight: 1,
      requests: 1,
    });
    finish();
    expect((await slow).body.toString()).toBe("begun done");
    await until(async () => (await edge.traffic.applied(ref, never)).endpoints.find((one) => one.instance === "o1")?.inFlight === 0);
  });
});

describe("probes", () => {
  it("reach only the release they are pinned to and read it back; the component never sees the header", async () => {
    const seen: string[] = [];
    const listener =
      (name: string): RequestListener =>
      (req, res) => {
        seen.push(...Object.keys(req.headers).filter((one) => one.startsWith("x-berth")));
        res.end(name);
      };
    const a = await instance("p1", listener("old"), { releaseHash: "sha256:old" });
    const b = await instance("p2", listener("new"), { releaseHash: "sha256:new" });
    await apply(
      [],
      {},
      {
        tracks: [
          { name: "stable", weight: 100, endpoints: [a] },
          { name: "candidate", weight: 0, endpoints: [b] },
        ],
      },
    );
    await edge.ready({ p1: true, p2: true });
    const probe = (releaseHash: string): ReturnType<EdgeTraffic["probe"]> =>
      edge.traffic.probe({ ref, port: "http", host, path: "/", releaseHash }, never);
    for (const releaseHash of ["sha256:new", "sha256:old", "sha256:new"])
      expect(await probe(releaseHash)).toMatchObject({ status: 200, releaseHash, url: `http://${host}:${String(edge.port)}/` });
    await apply([a], { holdFor: 50 });
    const missing = await probe("sha256:new");
    expect([missing.status, missing.releaseHash]).toEqual([503, undefined]);
    const plain = await get("/", { "x-berth-probe": "shop/web;sha256:new;9999999999999;00" });
    expect([plain.body.toString(), plain.headers["x-berth-release"]]).toEqual(["old", undefined]);
    expect(seen).toEqual([]);
  });
});

/** Another program that has a port there. */
async function portOwner(at: string): Promise<{ readonly owner: ChildProcess; readonly port: number }> {
  const listens = `const server = require("net").createServer().listen(0, "${at}", () => console.log(server.address().port))`;
  const owner = spawn(process.execPath, ["-e", listens], { stdio: ["ignore", "pipe", "inherit"] });
  const [text] = (await once(owner.stdout, "data")) as [Buffer];
  return { owner, port: Number(text) };
}

describe("ports", () => {
  it("that are taken are a problem that names the owner, not a crash, and are opened when they get free", async () => {
    const { owner, port } = await portOwner("127.0.0.1");
    try {
      const a = await instance("t1");
      const routers = await edge.workers();
      await apply([a], {}, { published: port });
      await edge.ready({ t1: true });
      const { problems } = await edge.traffic.applied(ref, never);
      expect(problems).toEqual([{ code: "port_taken", params: { port, owner: `node (pid ${String(owner.pid)})` }, evidence: [] }]);
      expect((await get()).status).toBe(200);
      owner.kill("SIGKILL");
      await until(async () => (await edge.traffic.applied(ref, never)).problems.length === 0);
      expect((await fetchRaw(port, { path: "/", headers: { host: "any" } })).body.toString()).toBe("t1");
      // The same routers: trying again ended none of them.
      expect(await edge.workers()).toEqual(routers);
    } finally {
      owner.kill("SIGKILL");
    }
  }, 120_000);

  it("where siblings come are told as such, with who has that very address", async () => {
    const { owner, port } = await portOwner("127.0.0.8");
    const taken = ["127.0.0.1", "127.0.0.7"].map((at) => createTcpServer().listen(port, at));
    const problems = async (more: Partial<TrafficPort> = {}): Promise<unknown> => {
      await apply([], {}, { internal: port, ...more });
      return (await edge.traffic.applied(ref, never)).problems.map(({ code, params }) => [
        code,
        params["address"] ?? params["port"],
        params["reason"],
      ]);
    };
    try {
      await Promise.all(taken.map((one) => once(one, "listening")));
      const mine = `node (pid ${String(process.pid)}) listens there`;
      expect(await problems()).toEqual([["inner_address_unavailable", `127.0.0.1:${String(port)}`, mine]]);
      // Containers do not come to the loopback.
      expect(await problems({ inside: { host: "127.0.0.9", port } })).toEqual([["port_taken", port, undefined]]);
      expect(await problems({ inside: { host: "127.0.0.8", port } })).toEqual([
        ["port_taken", port, undefined],
        ["inner_address_unavailable", `127.0.0.8:${String(port)}`, `node (pid ${String(owner.pid)}) listens there`],
      ]);
    } finally {
      owner.kill("SIGKILL");
      for (const one of taken) one.close();
      await apply([]);
    }
  });

  it("that another component has stay with it, and pass on when it goes", async () => {
    const port = await freePort();
    const [a, b] = [await instance("u1"), await instance("u2")];
    const refs = [
      { stack: "first", component: "web" },
      { stack: "second", component: "web" },
    ] as const;
    await edge.ready({ u1: true, u2: true });
    await edge.traffic.apply(
      await webEntry([a], { ref: refs[0] }, { hosts: [], internal: await freePort(), published: port }),
      fence(1),
      never,
    );
    await edge.traffic.apply(
      await webEntry([b], { ref: refs[1] }, { hosts: [], internal: await freePort(), published: port }),
      fence(1),
      never,
    );
    const text = async (): Promise<string> => (await fetchRaw(port, { path: "/", headers: { host: "any" } })).body.toString();
    expect((await edge.traffic.applied(refs[0], never)).problems).toEqual([]);
    expect((await edge.traffic.applied(refs[1], never)).problems).toEqual([
      { code: "port_taken", params: { port, owner: "another component" }, evidence: [] },
    ]);
    expect(await text()).toBe("u1");
    await edge.traffic.remove(refs[0], fence(2), never);
    await until(async () => (await edge.traffic.applied(refs[1], never)).problems.length === 0);
    for (let index = 0; index < 6; index += 1) expect(await text()).toBe("u2");
    await edge.traffic.remove(refs[1], fence(2), never);
  }, 120_000);
});

describe("under load", () => {
  it("a rolling replacement of all endpoints loses no request", async () => {
    let current = [await instance("r0-0"), await instance("r0-1")];
    await edge.ready({ "r0-0": true, "r0-1": true });
    await apply(current);
    const running = load(16);
    for (let round = 1; running.sent() < 20_000; round += 1) {
      const fresh: TrafficEndpoint[] = [];
      for (const index of [0, 1]) {
        const name = `r${String(round)}-${String(index)}`;
        const one = await instance(name);
        const [oldest, ...rest] = current;
        if (oldest === undefined) throw new Error("nothing to replace");
        await edge.ready({ [name]: true });
        await apply([...rest, ...fresh, one, draining(oldest)]);
        await until(
          async () => (await edge.traffic.applied(ref, never)).endpoints.find((each) => each.instance === oldest.instance)?.inFlight === 0,
        );
        // It has left: closing it now must hurt nobody.
        const closing = made.find((each) => each.endpoint.instance === oldest.instance);
        await closing?.[Symbol.asyncDispose]();
        await apply([...rest, ...fresh, one]);
        fresh.push(one);
        current = rest;
      }
      current = fresh;
    }
    const { sent, failures } = await running.stop();
    expect(failures).toEqual([]);
    expect(sent).toBeGreaterThanOrEqual(20_000);
  }, 300_000);

  it("a replacement of all routers loses no request, and old routers leave", async () => {
    const a = await instance("w1");
    await apply([a]);
    await edge.ready({ w1: true });
    const before = await edge.workers();
    const running = load(8);
    await until(() => running.sent() > 200);
    await edge.traffic.reload(never);
    await until(async () => (await edge.workers()).every((pid) => !before.includes(pid)), 60_000, "the end of the old routers");
    const at = running.sent();
    await until(() => running.sent() > at + 200);
    const { failures } = await running.stop();
    expect(failures).toEqual([]);
    expect((await edge.workers()).length).toBe(2);
  }, 120_000);

  it("kill -9 of a router costs only what it had in flight, and it is replaced", async () => {
    const a = await instance("x1");
    await apply([a]);
    await edge.ready({ x1: true });
    const running = load(8);
    await until(() => running.sent() > 200);
    const before = await edge.workers();
    process.kill(before[0] ?? 0, "SIGKILL");
    await until(async () => {
      const now = await edge.workers();
      return now.length === 2 && !now.includes(before[0] ?? 0);
    });
    const at = running.sent();
    await until(() => running.sent() > at + 500);
    const { failures } = await running.stop();
    expect(failures.length).toBeLessThanOrEqual(8);
    // A change made now reaches the new router too.
    await apply([], { stopped: true });
    for (let index = 0; index < 20; index += 1) expect((await get()).status).toBe(503);
  }, 120_000);
});

describe("records", () => {
  it("of what a router broke off come also from one that leaves with it", async () => {
    let begun: ServerResponse | undefined;
    const a = await instance("last", (_req, res) => {
      begun = res;
      res.write("begun");
    });
    await apply([a]);
    await edge.ready({ last: true });
    const before = await edge.workers();
    const asked = httpRequest({ host: "127.0.0.1", port: edge.port, headers: { host, "x-request-id": "broken-off" }, agent: false }).end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    await once(answer, "data");
    await edge.traffic.reload(never);
    // One of the old routers has nothing left, and the other only this.
    const left = (): number => before.filter((pid) => existsSync(`/proc/${String(pid)}`)).length;
    await until(() => left() === 1, 30_000, "the end of the idle one");
    const ended = once(answer, "error");
    begun?.socket?.resetAndDestroy();
    await ended;
    await until(() => left() === 0, 30_000, "the end of the other one");
    const lines = (await readFile(join(edge.home, "logs", "edge", "access.log"), "utf8")).split("\n");
    expect(lines.find((line) => line.includes('"broken-off"'))).toMatch(/"instance":"last".*,"interrupted":true}$/);
  });

  it("has a metric per component, track and status class, and a log line without the query", async () => {
    const own = { stack: "records", component: "web" };
    const a = await instance("m1", (req, res) => {
      res.statusCode = req.url?.startsWith("/bad") === true ? 500 : 200;
      req
        .on("end", () => {
          res.end("12345");
        })
        .resume();
    });
    await edge.traffic.apply(
      await webEntry([a], { ref: own }, { hosts: [{ host: "records.localhost", path: "/" }], internal: await freePort() }),
      fence(1),
      never,
    );
    await edge.ready({ m1: true });
    for (const path of ["/ok?token=secret", "/bad", "/ok"])
      await fetchRaw(
        edge.port,
        {
          method: "POST",
          path,
          headers: { host: "records.localhost", "x-request-id": `record-${path.slice(1, 3)}`, "content-length": "3" },
        },
        "abc",
      );
    const metrics = await edge.traffic.metrics(never);
    const labels = 'stack="records",component="web",track="stable"';
    expect(metrics).toContain(`berth_edge_requests_total{${labels},status="2xx"} 2\n`);
    expect(metrics).toContain(`berth_edge_requests_total{${labels},status="5xx"} 1\n`);
    expect(metrics).toContain(`berth_edge_request_duration_seconds_bucket{${labels},status="2xx",le="+Inf"} 2\n`);
    expect(metrics).toContain(`berth_edge_request_bytes_total{${labels}} 9\n`);
    expect(metrics).toContain(`berth_edge_response_bytes_total{${labels}} 15\n`);
    const file = join(edge.home, "logs", "edge", "access.log");
    let lines: Record<string, unknown>[] = [];
    await until(async () => {
      lines = (await readFile(file, "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((line) => line["stack"] === "records");
      return lines.length === 3;
    });
    expect(lines.find((line) => line["status"] === 200)).toEqual({
      time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      requestId: "record-ok",
      remote: "127.0.0.1",
      host: "records.localhost",
      method: "POST",
      path: "/ok",
      status: 200,
      bytesIn: 3,
      bytesOut: 5,
      durationMs: expect.any(Number) as number,
      stack: "records",
      component: "web",
      track: "stable",
      instance: "m1",
      release: "sha256:a",
    });
    // Two routers write, each in its own order.
    expect(lines.map((line) => line["status"]).sort()).toEqual([200, 200, 500]);
    expect(await readFile(file, "utf8")).not.toContain("secret");
  });
});

describe("the process", () => {
  it("starts from disk alone after it was killed, keeps its port, and serves before an agent reported", async () => {
    await using own = await TestEdge.start({ router: { host: "127.0.0.1", port: 0, portIsDefault: true } });
    const a = await instance("z1");
    await own.traffic.apply(await webEntry([a], {}, { internal: await freePort() }), fence(3), never);
    await own.ready({ z1: true });
    await until(async () => (await readFile(join(own.home, "edge", "readiness.json"), "utf8").catch(() => "")).includes("z1"));
    const port = own.port;
    await own.down("SIGKILL");
    await expect(own.traffic.hello(never)).rejects.toMatchObject({ code: "engine_unavailable" });
    // Its agent says nothing before it is told to.
    await own.up();
    expect(own.port).toBe(port);
    expect(await own.traffic.applied(ref, never)).toMatchObject({ generation: 3, endpoints: [{ instance: "z1", ready: true }] });
    expect((await fetchRaw(port, { path: "/", headers: { host } })).body.toString()).toBe("z1");
    await expect(own.traffic.apply(await webEntry([]), fence(2), never)).rejects.toMatchObject({ code: "stale_generation" });
  }, 120_000);

  it("refuses to run twice on one run folder, and ends in good order when asked", async () => {
    const config = join(edge.home, "edge.json");
    const second = spawn(process.execPath, [realEntry, config], { stdio: ["ignore", "ignore", "pipe"] });
    let text = "";
    second.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    expect((await once(second, "close"))[0]).toBe(1);
    expect(text).toContain("another edge");
    expect((await edge.traffic.hello(never)).pid).toBe(edge.process?.pid);

    await using own = await TestEdge.start({ shutdownGrace: 60_000 });
    const slow = await instance("q1", (_req, res) => {
      res.write("a");
      setTimeout(() => res.end("b"), 300);
    });
    await own.traffic.apply(await webEntry([slow], {}, { internal: await freePort() }), fence(1), never);
    await own.ready({ q1: true });
    const req = httpRequest({ host: "127.0.0.1", port: own.port, path: "/", headers: { host }, agent: false }).end();
    const [res] = (await once(req, "response")) as [IncomingMessage];
    const gone = once(own.process ?? second, "exit");
    await own.traffic.shutdown(never);
    const chunks: Buffer[] = [];
    for await (const chunk of res) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe("ab");
    expect((await gone)[0]).toBe(0);
  }, 120_000);

  it("keeps its socket for its own user", async () => {
    expect((await stat(join(edge.home, "run", "edge.sock"))).mode & 0o777).toBe(0o600);
    expect((await stat(join(edge.home, "run"))).mode & 0o777).toBe(0o700);
  });

  it("rotates the access log within its bound", async () => {
    await using own = await TestEdge.start({ accessLog: { maxFileBytes: 4096, maxFiles: 3 } });
    const folder = join(own.home, "logs", "edge");
    for (let round = 0; round < 4; round += 1) {
      const before = await stat(join(folder, "access.log")).then(
        (found) => found.ino,
        () => 0,
      );
      for (let index = 0; index < 40; index += 1) await fetchRaw(own.port, { path: "/", headers: { host: "nowhere.localhost" } });
      if (round < 3)
        await until(async () => {
          const now = await stat(join(folder, "access.log")).then(
            (found) => found.ino,
            () => 0,
          );
          return (now !== before && before !== 0) || (before === 0 && now !== 0);
        });
    }
    // While it is turned, one of the names is missing.
    const all = ["access.log", "access.log.1", "access.log.2"];
    let found: string[] = [];
    await until(async () => (found = (await readdir(folder)).sort()).length >= all.length);
    expect(found).toEqual(all);
  }, 120_000);
});

it("a client that leaves while it is held is forgotten", async () => {
  await apply([], { holdFor: 60_000 });
  const before = await holds();
  const socket = connect({ host: "127.0.0.1", port: edge.port });
  socket.write(`GET /held HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  await until(async () => (await holds()) > before);
  socket.destroy();
  await until(async () => (await readFile(join(edge.home, "logs", "edge", "access.log"), "utf8")).includes(`"path":"/held","status":499`));
});
