// HTTP/2 towards clients: what a request over HTTP/1.1 gets, one over HTTP/2 gets, over TLS and with prior knowledge. Real edge, real endpoints, Node's client.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, RequestListener } from "node:http";
import type { ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TrafficEntry, TrafficPort } from "../../../engines/traffic.ts";
import { testCertificate } from "../../testing/certificates.ts";
import { answerOf, ask, h2Client, securePort } from "../../testing/h2.ts";
import { endpoint, fence, fetchRaw, freePort, never, TestEdge, until, webEntry, type TestEndpoint } from "../../testing/harness.ts";
import { RawClient } from "../../testing/wire.ts";

let edge: TestEdge;
let port = 0;
const cleanups: (() => Promise<void>)[] = [];
const sessions: ClientHttp2Session[] = [];
let count = 0;

beforeAll(async () => {
  edge = await TestEdge.start({ https: { port: 0, portIsDefault: false }, hstsSeconds: 600, errorDetails: "never" });
  const hosts = Array.from({ length: 60 }, (_, n) => `web.s${String(n)}.localhost`);
  const { certificate, key } = testCertificate({ hosts });
  await edge.traffic.setCertificates([{ name: "all", chain: certificate, key, isDefault: true }], fence(1), never);
  port = await securePort(edge);
}, 120_000);
afterAll(async () => {
  for (const session of sessions) session.destroy();
  await edge[Symbol.asyncDispose]();
  await Promise.all(cleanups.map((cleanup) => cleanup()));
});

interface App extends TestEndpoint {
  readonly host: string;
  readonly entry: TrafficEntry;
  readonly session: ClientHttp2Session;
}

/** A component of its own for one test, and a connection to it. */
async function app(listener: RequestListener, changes: Partial<TrafficEntry> = {}, spec: Partial<TrafficPort> = {}): Promise<App> {
  count += 1;
  const ref = { stack: `s${String(count)}`, component: "web" };
  const instance = `i${String(count)}`;
  const made = await endpoint(instance, listener);
  cleanups.push(async () => {
    await made[Symbol.asyncDispose]();
  });
  const host = `web.s${String(count)}.localhost`;
  const entry = await webEntry([made.endpoint], { ref, ...changes }, { hosts: [{ host, path: "/" }], internal: await freePort(), ...spec });
  await edge.traffic.apply(entry, fence(1), never);
  await edge.ready({ [instance]: true });
  return { ...made, host, entry, session: await client(host) };
}
async function client(host: string, plain?: number): Promise<ClientHttp2Session> {
  const session = await h2Client(plain ?? port, host, plain === undefined);
  sessions.push(session);
  return session;
}

const echo: RequestListener = (req, res) => {
  const chunks: Buffer[] = [];
  req.on("data", (chunk: Buffer) => chunks.push(chunk));
  req.on("end", () => {
    res.setHeader("content-type", "application/json");
    res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body: Buffer.concat(chunks).toString("latin1") }));
  });
};
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}
const seen = (body: Buffer): Seen => JSON.parse(body.toString()) as Seen;
async function logged(requestId: string): Promise<Record<string, unknown>> {
  let line: string | undefined;
  await until(async () => {
    const text = await readFile(join(edge.home, "logs", "edge", "access.log"), "utf8").catch(() => "");
    line = text.split("\n").find((one) => one.includes(requestId));
    return line !== undefined;
  });
  return JSON.parse(line ?? "") as Record<string, unknown>;
}

describe("HTTP/2 towards clients", () => {
  it("passes a request on as HTTP/1.1 to the instance, and its answer back, and keeps a line of it", async () => {
    const { session, host } = await app(echo);
    const answer = await ask(session, {
      ":path": "/a/../b?c=1",
      "x-mine": "yes",
      cookie: ["a=1", "b=2"],
      "x-forwarded-for": "9.9.9.9",
      "x-forwarded-proto": "gopher",
      "x-berth-probe": "mine",
    });
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.headers["strict-transport-security"]).toBe("max-age=600");
    expect(answer.headers["connection"]).toBeUndefined();
    const { method, url, headers } = seen(answer.body);
    expect([method, url]).toEqual(["GET", "/b?c=1"]);
    expect(headers).toMatchObject({
      host: `${host}:${String(port)}`,
      "x-mine": "yes",
      cookie: "a=1; b=2",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "https",
      "x-forwarded-host": `${host}:${String(port)}`,
      "x-forwarded-port": String(port),
      "x-request-id": answer.headers["x-request-id"],
    });
    for (const name of ["transfer-encoding", "x-berth-probe"]) expect(headers[name]).toBeUndefined();
    expect(await logged(String(answer.headers["x-request-id"]))).toMatchObject({
      host,
      method: "GET",
      path: "/b",
      status: 200,
      protocol: "HTTP/2",
      component: "web",
      bytesOut: answer.body.length,
    });
  });

  it("serves prior knowledge on the plain port, also on the port of siblings, and redirects where HTTP is not wanted", async () => {
    const { host, entry, session } = await app(echo);
    const plain = await client(host, edge.port);
    expect(seen((await ask(plain, { ":path": "/x" })).body).headers["x-forwarded-proto"]).toBe("http");
    // More than one on the connection, side by side.
    const many = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(plain, { ":path": `/${String(n)}` }, String(n))));
    expect(many.map(({ body }) => seen(body).body)).toEqual(Array.from({ length: 50 }, (_, n) => String(n)));
    const internal = entry.ports[0]?.internal ?? 0;
    const sibling = await client("whatever.test", internal);
    expect(seen((await ask(sibling, { "x-forwarded-for": "1.2.3.4" })).body).headers["x-forwarded-for"]).toBe("1.2.3.4, 127.0.0.1");
    await edge.traffic.apply(
      { ...entry, ports: entry.ports.map((one) => ({ ...one, hosts: [{ host, path: "/", https: "redirect" as const }] })) },
      fence(2),
      never,
    );
    // Its preface is a client's first word, or nothing that anybody understands.
    using late = await RawClient.open(edge.port);
    late.write(`HEAD / HTTP/1.1\r\nhost: nobody.test\r\n\r\n`);
    expect((await late.answer(true))?.status).toBe(404);
    late.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    expect((await late.answer())?.status).toBe(400);
    expect(await late.closes()).toBe(true);
    const redirected = await ask(plain, { ":path": "/x?y" });
    expect([redirected.status, redirected.headers.location]).toEqual([308, `https://${host}:${String(port)}/x?y`]);
    expect((await ask(session, {})).status).toBe(200);
  });

  it("passes bodies of both lengths, whole and unchanged, in both directions", async () => {
    const { session } = await app((req, res) => {
      res.setHeader("x-length", req.headers["content-length"] ?? req.headers["transfer-encoding"] ?? "none");
      req.pipe(res);
    });
    const body = randomBytes(5_000_000);
    for (const headers of [{}, { "content-length": body.length }]) {
      const answer = await ask(session, headers, body);
      expect(answer.body.equals(body)).toBe(true);
      expect(answer.headers["x-length"]).toBe("content-length" in headers ? String(body.length) : "chunked");
    }
    expect((await ask(session, { ":method": "POST" })).headers["x-length"]).toBe("0");
    expect((await ask(session, {}, "")).headers["x-length"]).toBe("chunked");
  });

  it("holds back an instance whose client reads slowly, and a client whose instance does", { timeout: 120_000 }, async () => {
    let written = 0;
    let read = 0;
    let upload: IncomingMessage | undefined;
    const { session } = await app((req, res) => {
      if (req.method === "POST") {
        upload = req;
        req.once("end", () => res.end());
        return;
      }
      const chunk = Buffer.alloc(64 * 1024);
      const more = (): void => {
        while (written < 64 * 1024 * 1024) {
          written += chunk.length;
          if (!res.write(chunk)) return void res.once("drain", more);
        }
        res.end();
      };
      more();
    });
    const stream = session.request({ ":path": "/" });
    stream.pause();
    let before = -1;
    await until(
      async () => {
        const stays = written > 0 && written === before;
        before = written;
        await new Promise((resolve) => setTimeout(resolve, 300));
        return stays;
      },
      60_000,
      "the instance to be held back",
    );
    expect(written).toBeLessThan(24 * 1024 * 1024);
    // Others on the connection are not.
    const up = session.request({ ":method": "POST" }, { endStream: false });
    const chunk = Buffer.alloc(64 * 1024);
    let sent = 0;
    const send = (): void => {
      while (sent < 64 * 1024 * 1024) {
        sent += chunk.length;
        if (!up.write(chunk)) return void up.once("drain", send);
      }
      up.end();
    };
    send();
    before = -1;
    await until(
      async () => {
        const stays = sent > 0 && sent === before;
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 300));
        return stays;
      },
      60_000,
      "the client to be held back",
    );
    expect(sent).toBeLessThan(24 * 1024 * 1024);
    upload?.on("data", (data: Buffer) => {
      read += data.length;
    });
    expect((await answerOf(up)).status).toBe(200);
    expect(read).toBe(64 * 1024 * 1024);
    let got = 0;
    stream.on("data", (data: Buffer) => {
      got += data.length;
    });
    stream.resume();
    await once(stream, "end");
    expect(got).toBe(64 * 1024 * 1024);
  });

  it("answers HEAD, 204 and 304 without a body, and passes trailers and informational answers", async () => {
    const { session } = await app((req, res) => {
      const status = Number(req.url?.slice(1));
      if (status === 103) {
        res.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
        res.writeHead(200, { trailer: "x-sum" });
        res.write("body");
        res.addTrailers({ "x-sum": "42" });
        res.end();
      } else res.writeHead(status).end(status === 200 ? "hello" : undefined);
    });
    const head = await ask(session, { ":method": "HEAD", ":path": "/200" });
    expect([head.status, head.body.length, head.headOnly]).toEqual([200, 0, true]);
    for (const status of [204, 304]) {
      const answer = await ask(session, { ":path": `/${String(status)}` });
      expect([answer.status, answer.body.length]).toEqual([status, 0]);
    }
    const stream = session.request({ ":path": "/103", te: "trailers" });
    const early: unknown[] = [];
    stream.on("headers", (headers) => early.push(headers[":status"], headers["link"]));
    const answer = await answerOf(stream);
    expect(early).toEqual([103, "</style.css>; rel=preload; as=style"]);
    expect([answer.body.toString(), answer.trailers["x-sum"]]).toEqual(["body", "42"]);
  });

  it("asks for a body only when the instance is to have it", async () => {
    const { session } = await app(echo, { limits: { maxBody: 10 } });
    const allowed = session.request({ ":method": "POST", expect: "100-continue", "content-length": 2 }, { endStream: false });
    await once(allowed, "continue");
    allowed.end("ab");
    expect(seen((await answerOf(allowed)).body).body).toBe("ab");
    for (const headers of [{ "content-length": 11 }, {}]) {
      const answer = await ask(session, headers, "x".repeat(11));
      expect(answer.status).toBe(413);
    }
    expect((await ask(session, {}, "still")).status).toBe(200);
  });

  it("shows a client that an answer is not whole", async () => {
    const { session } = await app((_req, res) => {
      res.writeHead(200, { "content-length": 100 });
      res.write("part");
      setTimeout(() => res.destroy(), 50);
    });
    await expect(ask(session, {})).rejects.toThrow();
    expect((await ask(session, { ":path": "/", ":authority": "nobody.test" })).status).toBe(404);
  });

  it("refuses what would be read differently behind it", async () => {
    const { session, host } = await app(echo);
    for (const headers of [
      { ":path": "/\u00e9" },
      { ":path": "/a#b" },
      { ":path": "*" },
      { host: "other.test", ":authority": host },
      { ":authority": "a b" },
      { ":scheme": "gopher" },
    ]) {
      // Some of it nghttp2 refuses by itself, with a reset.
      const status = await ask(session, headers).then(
        (answer) => answer.status,
        () => 0,
      );
      expect([0, 400], JSON.stringify(headers)).toContain(status);
    }
    expect((await ask(session, { ":method": "TRACE" })).status).toBe(405);
    await expect(
      ask(session, { ":method": "CONNECT", ":authority": host, ":path": undefined, ":scheme": undefined }),
    ).resolves.toMatchObject({ status: 400 });
    expect((await ask(session, {})).status).toBe(200);
  });

  it("counts them among those that a component takes at once, and gives cookies to stay on a track", async () => {
    let began = false;
    let release: () => void = () => undefined;
    const { session, host } = await app(
      (req, res) => {
        if (req.url === "/wait") {
          began = true;
          release = () => res.end("done");
        } else res.end("ok");
      },
      { limits: { maxConnections: 1 }, sticky: { cookie: "track", maxAge: 1000 } },
    );
    const waiting = ask(session, { ":path": "/wait" });
    await until(() => began);
    expect((await ask(session, {})).status).toBe(503);
    // Another router may serve it, which hears of the first one's requests a moment later.
    await until(async () => (await fetchRaw(edge.port, { headers: { host } })).status === 503);
    release();
    expect((await waiting).headers["set-cookie"]).toEqual([expect.stringContaining("track=stable")]);
    await until(async () => (await ask(session, {})).status === 200);
  });

  it("takes a crowd's connections, too", { timeout: 120_000 }, async () => {
    await using crowded = await TestEdge.start({ limits: { restFrom: 0 } });
    await using made = await endpoint("i1", echo);
    const host = "web.shop.localhost";
    await crowded.traffic.apply(await webEntry([made.endpoint], {}, { hosts: [{ host, path: "/" }] }), fence(1), never);
    await crowded.ready({ i1: true });
    const plain = await client(host, crowded.port);
    const body = randomBytes(300_000).toString("latin1");
    for (let n = 0; n < 3; n += 1) expect(seen((await ask(plain, { ":path": "/" }, Buffer.from(body, "latin1"))).body).body).toBe(body);
  });
});
