// What passes through a router, in both directions: real edge, real endpoints, real clients.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Agent, request, type RequestListener } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { patternProblem } from "../routing.ts";
import {
  endpoint,
  exchangeBytes,
  fence,
  fetchRaw,
  freePort,
  listening,
  never,
  TestEdge,
  until,
  webEntry,
  type TestEndpoint,
} from "../testing/harness.ts";
import type { TrafficEntry, TrafficPort } from "../../engines/traffic.ts";

let edge: TestEdge;
const cleanups: (() => Promise<void>)[] = [];
let count = 0;

beforeAll(async () => {
  edge = await TestEdge.start();
});
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  await Promise.all(cleanups.map((cleanup) => cleanup()));
});

interface App extends TestEndpoint {
  readonly host: string;
  readonly ref: { readonly stack: string; readonly component: string };
  readonly internal: number;
}

/** A component of its own for one test. */
async function app(listener: RequestListener, changes: Partial<TrafficEntry> = {}, port: Partial<TrafficPort> = {}): Promise<App> {
  count += 1;
  const ref = { stack: `s${String(count)}`, component: "web" };
  const instance = `i${String(count)}`;
  const made = await endpoint(instance, listener);
  cleanups.push(async () => {
    await made[Symbol.asyncDispose]();
  });
  const host = `web.s${String(count)}.localhost`;
  const internal = await freePort();
  await edge.traffic.apply(
    await webEntry([made.endpoint], { ref, ...changes }, { hosts: [{ host, path: "/" }], internal, ...port }),
    fence(1),
    never,
  );
  await edge.ready({ [instance]: true });
  return { ...made, host, ref, internal };
}

const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
const echo: RequestListener = (req, res) => {
  res.writeHead(200, { "content-type": "application/octet-stream" });
  req.pipe(res);
};

describe("bodies", () => {
  it("pass whole in both directions, chunked or with a length", async () => {
    const { host } = await app(echo);
    const data = randomBytes(12 * 1024 * 1024 + 17);
    for (const headers of [
      { host, "transfer-encoding": "chunked" },
      { host, "content-length": String(data.length) },
    ]) {
      const answer = await fetchRaw(edge.port, { method: "POST", path: "/", headers }, data);
      expect(answer.status).toBe(200);
      expect(digest(answer.body)).toBe(digest(data));
    }
  });

  it("are held back when the client reads slowly, instead of filling the router's memory", async () => {
    let written = 0;
    const { host } = await app((_req, res) => {
      const chunk = Buffer.alloc(65_536);
      const more = (): void => {
        while (written < 256 * 1024 * 1024) {
          written += chunk.length;
          if (!res.write(chunk)) {
            res.once("drain", more);
            return;
          }
        }
        res.end();
      };
      more();
    });
    const socket = connect({ host: "127.0.0.1", port: edge.port });
    socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    await once(socket, "readable");
    let last = -1;
    await until(async () => {
      const still = written === last;
      last = written;
      await sleep(150);
      return still;
    });
    expect(written).toBeLessThan(64 * 1024 * 1024);
    socket.destroy();
  });

  it("stay what they are for several clients of different speed: no buffer is used again too early", async () => {
    const bodies = Array.from({ length: 6 }, () => randomBytes(3 * 1024 * 1024 + 11));
    const { host } = await app((req, res) => {
      res.end(bodies[Number(req.url?.slice(1))]);
    });
    await Promise.all(
      bodies.map(async (body, index) => {
        const req = request({ host: "127.0.0.1", port: edge.port, path: `/${String(index)}`, headers: { host }, agent: false }).end();
        const [res] = (await once(req, "response")) as [import("node:http").IncomingMessage];
        const hash = createHash("sha256");
        for await (const chunk of res) {
          hash.update(chunk as Buffer);
          if (index % 2 === 0) await sleep(1);
        }
        expect(hash.digest("hex")).toBe(digest(body));
      }),
    );
  });

  it("reach the endpoint while the client is still sending", async () => {
    const seen: string[] = [];
    const { host } = await app((req, res) => {
      req.setEncoding("utf8").on("data", (text: string) => {
        seen.push(text);
      });
      req.on("end", () => {
        res.end("done");
      });
    });
    const req = request({ host: "127.0.0.1", port: edge.port, method: "PUT", path: "/", headers: { host }, agent: false });
    req.write("first");
    await until(() => seen.includes("first"));
    req.end("last");
    const [res] = (await once(req, "response")) as [import("node:http").IncomingMessage];
    res.resume();
    await once(res, "end");
    expect(seen.join("")).toBe("firstlast");
  });

  it("answer early without breaking the client that is still sending", async () => {
    const { host } = await app((req, res) => {
      res.writeHead(413);
      res.end("too large");
      req.resume();
    });
    const answer = await fetchRaw(
      edge.port,
      { method: "POST", path: "/", headers: { host, "content-length": String(3_000_000) } },
      Buffer.alloc(3_000_000),
    );
    expect([answer.status, answer.body.toString()]).toEqual([413, "too large"]);
  });

  it("keep their trailers, and a HEAD its length without a body", async () => {
    const { host } = await app((req, res) => {
      if (req.method === "HEAD") {
        res.writeHead(200, { "content-length": "1234" });
        res.end();
        return;
      }
      res.writeHead(200, { trailer: "x-sum" });
      res.write("body");
      res.addTrailers({ "x-sum": "42" });
      res.end();
    });
    expect((await fetchRaw(edge.port, { path: "/", headers: { host } })).trailers).toEqual({ "x-sum": "42" });
    const head = await fetchRaw(edge.port, { method: "HEAD", path: "/", headers: { host } });
    expect([head.status, head.headers["content-length"], head.body.length]).toEqual([200, "1234", 0]);
  });
});

describe("streams", () => {
  it("deliver each server-sent event at once, the head before the first", async () => {
    let send: (text: string) => void = () => undefined;
    const { host } = await app((_req, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.flushHeaders();
      send = (text) => {
        res.write(`data: ${text}\n\n`);
      };
    });
    const req = request({
      host: "127.0.0.1",
      port: edge.port,
      path: "/",
      headers: { host, accept: "text/event-stream" },
      agent: false,
    }).end();
    const [res] = (await once(req, "response")) as [import("node:http").IncomingMessage];
    for (const text of ["one", "two"]) {
      send(text);
      const [chunk] = (await once(res, "data")) as [Buffer];
      expect(chunk.toString()).toBe(`data: ${text}\n\n`);
    }
    req.on("error", () => undefined).destroy();
  });

  it("tell the endpoint when the client leaves, and the client when the endpoint breaks off", async () => {
    const open: { gone: boolean; socket: Socket }[] = [];
    const { host, ref } = await app((req, res) => {
      const one = { gone: false, socket: req.socket };
      open.push(one);
      res.on("close", () => {
        one.gone = true;
      });
      res.writeHead(200, { "content-length": "1000" });
      res.write("part");
    });
    const req = request({ host: "127.0.0.1", port: edge.port, path: "/a", headers: { host }, agent: false }).end();
    await once(req, "response");
    req.on("error", () => undefined).destroy();
    await until(() => open[0]?.gone === true);
    const broken = fetchRaw(edge.port, { path: "/b", headers: { host } });
    await until(() => open[1] !== undefined);
    await sleep(20);
    open[1]?.socket.destroy();
    await expect(broken).rejects.toThrow();
    await until(async () => (await edge.traffic.applied(ref, never)).endpoints[0]?.inFlight === 0);
  });
});

describe("upgrades", () => {
  it("carry WebSockets both ways, count as in flight, and end cleanly when the endpoint ends", async () => {
    const made = await app((_req, res) => {
      res.end("no");
    });
    const sockets = new WebSocketServer({ server: made.server });
    sockets.on("connection", (ws) =>
      ws.on("message", (data, binary) => {
        ws.send(data, { binary });
        if (String(data) === "bye") ws.close(4001, "done");
      }),
    );
    const ws = new WebSocket(`ws://127.0.0.1:${String(edge.port)}/chat`, { headers: { host: made.host } });
    await once(ws, "open");
    const big = randomBytes(300_000);
    ws.send(big);
    const [back] = (await once(ws, "message")) as [Buffer];
    expect(digest(back)).toBe(digest(big));
    expect((await edge.traffic.applied(made.ref, never)).endpoints[0]?.inFlight).toBe(1);
    ws.send("bye");
    const [code] = (await once(ws, "close")) as [number];
    expect(code).toBe(4001);
    await until(async () => (await edge.traffic.applied(made.ref, never)).endpoints[0]?.inFlight === 0);
    sockets.close();
  });

  it("carry bytes that come with the head, in both directions", async () => {
    const made = await app((_req, res) => {
      res.end();
    });
    made.server.on("upgrade", (_req, socket: Socket, head: Buffer) => {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: test\r\n\r\nearly:`);
      socket.write(head);
      socket.on("data", (chunk: Buffer) => {
        socket.write(chunk);
        if (chunk.toString().endsWith("more")) socket.end();
      });
    });
    const socket = connect({ host: "127.0.0.1", port: edge.port });
    socket.write(`GET / HTTP/1.1\r\nhost: ${made.host}\r\nconnection: Upgrade\r\nupgrade: test\r\n\r\nwith-head`);
    let got = "";
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      got += chunk;
    });
    await until(() => got.endsWith("early:with-head"));
    socket.write("more");
    await once(socket, "end");
    expect(got.startsWith("HTTP/1.1 101 ")).toBe(true);
    expect(got.endsWith("early:with-headmore")).toBe(true);
    socket.destroy();
  });

  it("to HTTP/2, or with a body, are served as ordinary requests", async () => {
    const { host } = await app(echo);
    const answer = await fetchRaw(
      edge.port,
      {
        method: "POST",
        path: "/",
        headers: {
          host,
          connection: "Upgrade, HTTP2-Settings",
          upgrade: "h2c",
          "http2-settings": "AAMAAABkAAQAAP__",
          "content-length": "4",
        },
      },
      "body",
    );
    expect([answer.status, answer.body.toString()]).toEqual([200, "body"]);
  });

  it("pass on an ordinary answer when the endpoint declines", async () => {
    const made = await app((_req, res) => {
      res.writeHead(403, { "x-why": "not you" });
      res.end("declined");
    });
    const text = await exchangeBytes(
      edge.port,
      `GET / HTTP/1.1\r\nhost: ${made.host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 (403|200) /);
    expect(text).toContain("declined");
  });
});

describe("headers", () => {
  it("are forwarded without hop-by-hop and x-berth fields, with who asked for what", async () => {
    const { host } = await app((req, res) => {
      res.writeHead(200, { "x-berth-release": "sha256:lie", "keep-alive": "timeout=9", "x-kept": "1", "set-cookie": ["a=1", "b=2"] });
      res.end(JSON.stringify(req.headers));
    });
    const answer = await fetchRaw(edge.port, {
      path: "/",
      headers: {
        host: `${host}:${String(edge.port)}`,
        connection: "keep-alive, X-Secret",
        "x-secret": "1",
        "x-berth-probe": "forged",
        "X-Berth-Anything": "1",
        "x-forwarded-for": "6.6.6.6",
        "x-forwarded-proto": "https",
        te: "trailers",
        "x-request-id": "abcdef-123456",
        "proxy-authorization": "x",
        __proto__x: "kept",
      },
    });
    const seen = JSON.parse(answer.body.toString()) as Record<string, string>;
    expect(seen).toMatchObject({
      host: `${host}:${String(edge.port)}`,
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": `${host}:${String(edge.port)}`,
      "x-forwarded-port": String(edge.port),
      "x-request-id": "abcdef-123456",
      te: "trailers",
      __proto__x: "kept",
    });
    for (const name of ["x-secret", "x-berth-probe", "x-berth-anything", "proxy-authorization"]) expect(seen[name]).toBeUndefined();
    expect(answer.headers["x-berth-release"]).toBeUndefined();
    expect(answer.headers).toMatchObject({ "x-kept": "1", "set-cookie": ["a=1", "b=2"], "x-request-id": "abcdef-123456" });
    expect(answer.headers["keep-alive"]).not.toBe("timeout=9");
  });

  it("get a new request id when the caller's is not sane", async () => {
    const { host } = await app((req, res) => {
      res.end(req.headers["x-request-id"]);
    });
    for (const id of ["short", "has space in it", "x".repeat(200)]) {
      const answer = await fetchRaw(edge.port, { path: "/", headers: { host, "x-request-id": id } });
      expect(answer.body.toString()).toMatch(/^[0-9a-z]{20}$/);
      expect(answer.headers["x-request-id"]).toBe(answer.body.toString());
    }
  });

  it("100-continue is answered when an endpoint takes the body, and 103 is passed on", async () => {
    const { host } = await app((req, res) => {
      if (req.url === "/hints") {
        res.writeEarlyHints({ link: "</a.css>; rel=preload" });
        res.end("ok");
        return;
      }
      echo(req, res);
    });
    const req = request({
      host: "127.0.0.1",
      port: edge.port,
      method: "POST",
      path: "/",
      headers: { host, expect: "100-continue", "content-length": "4" },
      agent: false,
    });
    req.flushHeaders();
    await once(req, "continue");
    req.end("body");
    const [res] = (await once(req, "response")) as [import("node:http").IncomingMessage];
    const [chunk] = (await once(res, "data")) as [Buffer];
    expect(chunk.toString()).toBe("body");
    const hinted = request({ host: "127.0.0.1", port: edge.port, path: "/hints", headers: { host }, agent: false }).end();
    const [information] = (await once(hinted, "information")) as [{ statusCode: number; headers: Record<string, string> }];
    expect([information.statusCode, information.headers["link"]]).toEqual([103, "</a.css>; rel=preload"]);
    hinted.on("error", () => undefined).destroy();
    const refused = await exchangeBytes(
      edge.port,
      `POST / HTTP/1.1\r\nhost: nowhere.localhost\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n`,
    );
    expect(refused).toMatch(/^HTTP\/1\.1 404 /);
  });

  it("that contradict each other are refused before an endpoint sees them", async () => {
    const { host } = await app(() => {
      throw new Error("reached");
    });
    const cases = [
      [`GET / HTTP/1.1\r\nhost: ${host}\r\nhost: other\r\nconnection: close\r\n\r\n`, "400"],
      [`POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n`, "400"],
      [`GET / HTTP/1.1\r\nhost: ${host}\r\nx: ${"y".repeat(40_000)}\r\n\r\n`, "431"],
      ["GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400"],
      [`CONNECT ${host}:80 HTTP/1.1\r\nhost: ${host}\r\n\r\n`, "405"],
    ] as const;
    for (const [bytes, status] of cases) expect((await exchangeBytes(edge.port, bytes)).slice(9, 12), bytes.slice(0, 60)).toBe(status);
  });
});

describe("routes", () => {
  it("lead by host and path, absolute form included, and keep a connection over many requests", async () => {
    const { host } = await app((req, res) => {
      res.end(req.url);
    });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number>();
    for (const path of ["/", "/a/b?c=d", "/a%2Fb/x", `http://${host}/abs?q`]) {
      const answer = await fetchRaw(edge.port, { path, headers: { host: path.startsWith("http") ? "ignored" : host }, agent });
      expect(answer.body.toString()).toBe(path.replace(`http://${host}`, ""));
      ports.add(answer.headers.connection === "keep-alive" ? 1 : 0);
    }
    expect([...ports]).toEqual([1]);
    expect(Object.values(agent.freeSockets)[0]?.length).toBe(1);
    agent.destroy();
  });

  it("that nobody has get an answer in the caller's format that names no stack", async () => {
    const { ref } = await app(echo);
    for (const [accept, type] of [
      ["text/html,*/*", "text/html; charset=utf-8"],
      ["application/json", "application/problem+json"],
      ["*/*", "text/plain; charset=utf-8"],
    ] as const) {
      const answer = await fetchRaw(edge.port, { path: "/", headers: { host: "web.nobody.localhost", accept } });
      expect([answer.status, answer.headers["content-type"]]).toEqual([404, type]);
      expect(answer.body.toString()).toContain(String(answer.headers["x-request-id"]));
      expect(answer.body.toString()).not.toContain(`${ref.stack}.`);
    }
  });

  it("follow match rules and keep a client on its track by cookie", async () => {
    expect(patternProblem("^b")).toBeUndefined();
    const stable = await endpoint("rs", (_req, res) => {
      res.end("stable");
    });
    const candidate = await endpoint("rc", (_req, res) => {
      res.end("candidate");
    });
    cleanups.push(async () => {
      await stable[Symbol.asyncDispose]();
      await candidate[Symbol.asyncDispose]();
    });
    const host = "rules.example.org";
    const entry = await webEntry(
      [],
      {
        ref: { stack: "rules", component: "web" },
        sticky: { cookie: "berth-track", maxAge: 60_000 },
        rules: [{ track: "candidate", conditions: [{ in: "header", name: "x-beta", match: "present", value: "" }] }],
      },
      {
        internal: await freePort(),
        hosts: [{ host: "*.example.org", path: "/" }],
        tracks: [
          { name: "stable", weight: 50, endpoints: [stable.endpoint] },
          { name: "candidate", weight: 50, endpoints: [candidate.endpoint] },
        ],
      },
    );
    await edge.traffic.apply(entry, fence(1), never);
    await edge.ready({ rs: true, rc: true });
    expect((await fetchRaw(edge.port, { path: "/", headers: { host, "x-beta": "1" } })).body.toString()).toBe("candidate");
    const seen = new Set<string>();
    for (let index = 0; index < 40; index += 1) {
      const first = await fetchRaw(edge.port, { path: "/", headers: { host } });
      const cookie = first.headers["set-cookie"]?.[0] ?? "";
      expect(cookie).toBe(`berth-track=${first.body.toString()}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax`);
      seen.add(first.body.toString());
      const again = await fetchRaw(edge.port, { path: "/", headers: { host, cookie: cookie.split(";")[0] } });
      expect(again.body.toString()).toBe(first.body.toString());
      expect(again.headers["set-cookie"]).toBeUndefined();
    }
    expect([...seen].sort()).toEqual(["candidate", "stable"]);
  });
});

describe("own ports of components", () => {
  it("give siblings http at a stable loopback port, whatever the host; forwarding fields are believed there and not on a public port", async () => {
    const published = await freePort();
    const { internal } = await app(
      (req, res) => {
        res.end(`${req.headers.host ?? ""} ${String(req.headers["x-forwarded-for"])}`);
      },
      {},
      { published },
    );
    expect((await fetchRaw(published, { path: "/", headers: { host: "any", "x-forwarded-for": "10.1.1.1" } })).body.toString()).toBe(
      "any 127.0.0.1",
    );
    const answer = await fetchRaw(internal, { path: "/", headers: { host: "localhost", "x-forwarded-for": "10.1.1.1" } });
    expect(answer.body.toString()).toBe("localhost 10.1.1.1, 127.0.0.1");
  });

  it("carry TCP with half-close, count connections, and follow the entry", async () => {
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("end", () => {
        socket.end(`got ${digest(Buffer.concat(chunks))}`);
      });
    });
    const port = await listening(server);
    cleanups.push(
      () =>
        new Promise<void>((resolve) => {
          server.close(() => {
            resolve();
          });
        }),
    );
    const ref = { stack: "tcp", component: "db" };
    const published = await freePort();
    const internal = await freePort();
    const entry = await webEntry(
      [],
      { ref },
      {
        name: "db",
        protocol: "tcp",
        hosts: [],
        internal,
        published,
        tracks: [
          {
            name: "stable",
            weight: 100,
            endpoints: [{ instance: "tcp1", releaseHash: "sha256:a", host: "127.0.0.1", port, state: "active" }],
          },
        ],
      },
    );
    await edge.traffic.apply(entry, fence(1), never);
    await edge.ready({ tcp1: true });
    const data = randomBytes(2_000_000);
    for (const at of [published, internal]) {
      const socket = connect({ host: "127.0.0.1", port: at, allowHalfOpen: true });
      let text = "";
      socket.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      socket.write(data);
      await until(async () => (await edge.traffic.applied(ref, never)).endpoints[0]?.inFlight === 1);
      socket.end();
      await once(socket, "end");
      expect(text).toBe(`got ${digest(data)}`);
    }
    await until(async () => (await edge.traffic.applied(ref, never)).endpoints[0]?.inFlight === 0);
    await edge.traffic.remove(ref, fence(2), never);
    await expect(once(connect({ host: "127.0.0.1", port: published }), "connect")).rejects.toThrow("ECONNREFUSED");
  });
});
