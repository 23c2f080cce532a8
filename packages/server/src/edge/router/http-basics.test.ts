// What programs rely on in a proxy beside routing: codings and ranges pass untouched, bodies of any size take no memory, no header is lost or added unasked, and only
// proxies that are trusted are believed.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { request, type IncomingMessage, type RequestListener } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endpoint, fence, fetchRaw, host, never, TestEdge, until, webEntry, type TestEndpoint } from "../testing/harness.ts";
import { clientBehind, trustedAddresses } from "./clientaddress.ts";

let edge: TestEdge;
let behind: TestEndpoint;
let answer: RequestListener = (_req, res) => res.end();
beforeAll(async () => {
  edge = await TestEdge.start({ trustedProxies: ["127.0.0.2", "127.0.1.0/24"] });
  behind = await endpoint("i1", (req, res) => {
    answer(req, res);
  });
  behind.server.maxHeadersCount = 0;
  await edge.traffic.apply(await webEntry([behind.endpoint]), fence(1), never);
  await edge.ready({ i1: true });
}, 120_000);
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  await behind[Symbol.asyncDispose]();
});

const get = (headers: Record<string, string | string[]> = {}, localAddress = "127.0.0.1") =>
  fetchRaw(edge.port, { path: "/", localAddress, headers: { host, ...headers } });

describe("an answer", () => {
  it("that is compressed stays so, and what the client accepts is the component's to know", async () => {
    const body = gzipSync("hello ".repeat(10_000));
    answer = (req, res) => {
      res
        .writeHead(200, { "content-encoding": "gzip", vary: "accept-encoding", "x-accepts": req.headers["accept-encoding"] ?? "" })
        .end(body);
    };
    const got = await get({ "accept-encoding": "gzip, br;q=0.5" });
    expect(got.headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding", "x-accepts": "gzip, br;q=0.5" });
    expect(got.body.equals(body)).toBe(true);
    expect(gunzipSync(got.body).toString()).toHaveLength(60_000);
    answer = (_req, res) => res.end("plain");
    const plain = await get({ "accept-encoding": "gzip" });
    expect(plain.headers["content-encoding"]).toBeUndefined();
    expect(plain.body.toString()).toBe("plain");
  });

  it("is a part when a part was asked for", async () => {
    answer = (req, res) => {
      const range = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? "");
      if (range === null) res.writeHead(416, { "content-range": "bytes */100" }).end();
      else
        res
          .writeHead(206, { "content-range": `bytes ${range[1] ?? ""}-${range[2] ?? ""}/100`, "accept-ranges": "bytes", etag: '"a"' })
          .end(`${String(req.headers["if-range"])} ${range[0]}`);
    };
    expect(await get({ range: "bytes=10-19", "if-range": '"a"' })).toMatchObject({
      status: 206,
      headers: { "content-range": "bytes 10-19/100", "accept-ranges": "bytes", etag: '"a"' },
      body: Buffer.from('"a" bytes=10-19'),
    });
    expect(await get({ range: "lines=1" })).toMatchObject({ status: 416, headers: { "content-range": "bytes */100" } });
  });

  it("has the component's Date and Server, a Date when it has none, and no word of the router's", async () => {
    const date = "Sun, 06 Nov 1994 08:49:37 GMT";
    answer = (_req, res) => res.writeHead(200, { date, server: "app/1", "content-length": 0 }).end();
    expect((await get()).headers).toEqual({
      date,
      server: "app/1",
      "content-length": "0",
      "x-request-id": expect.any(String) as string,
      connection: "close",
    });
    answer = (_req, res) => {
      res.sendDate = false;
      res.writeHead(200, { "content-length": 0 }).end();
    };
    const { headers } = await get();
    expect(Math.abs(Date.parse(headers.date ?? "") - Date.now())).toBeLessThan(60_000);
    expect(Object.keys(headers).sort()).toEqual(["connection", "content-length", "date", "x-request-id"]);
    expect((await fetchRaw(edge.port, { headers: { host: "nobody.test" } })).headers).not.toHaveProperty("server");
  });

  it("and its request keep every header, in order, however many there are", async () => {
    // More than the thousand after which Node stops, and less than the 16 KiB that the component takes.
    const many = Array.from({ length: 1_200 }, (_, index) => [`x${String(index)}`, "1"] as const);
    let seen: string[] = [];
    answer = (req, res) => {
      seen = req.rawHeaders.filter((name) => /^x\d+$/.test(name));
      res.writeHead(200, many.flat()).end();
    };
    const raw = await new Promise<string[]>((resolve, reject) => {
      const req = request({ port: edge.port, headers: ["host", host, ...many.flat()], agent: false }, (res) => {
        res.resume().on("end", () => {
          resolve(res.rawHeaders);
        });
      });
      req.maxHeadersCount = 0;
      req.on("error", reject).end();
    });
    const names = many.map(([name]) => name);
    expect(seen).toEqual(names);
    expect(raw.filter((name) => /^x\d+$/.test(name))).toEqual(names);
  });
});

describe("a body of 200 MB", { timeout: 300_000 }, () => {
  const piece = randomBytes(1024 * 1024);
  const pieces = 200;
  function* body(): Generator<Buffer> {
    for (let count = 0; count < pieces; count += 1) yield piece;
  }
  const whole = createHash("sha256");
  for (const one of body()) whole.update(one);
  const digest = whole.digest("hex");
  const digestOf = async (from: IncomingMessage): Promise<string> => {
    const hash = createHash("sha256");
    for await (const chunk of from) hash.update(chunk as Buffer);
    return hash.digest("hex");
  };
  const status = (pid: number, field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${String(pid)}/status`, "utf8"))?.[1] ?? NaN) * 1024;

  it.each([
    ["with a length", { "content-length": pieces * piece.length }],
    ["chunked", {}],
  ])("passes in both directions %s, and a router never holds much of it", async (_name, framing) => {
    answer = (req, res) => {
      if (req.method === "GET") {
        res.writeHead(200, framing);
        pipeline(Readable.from(body()), res).catch(() => res.destroy());
      } else
        digestOf(req).then(
          (seen) => res.end(seen),
          () => res.destroy(),
        );
    };
    const workers = await edge.workers();
    // The most that each holds from now on.
    if (process.platform === "linux") for (const pid of workers) writeFileSync(`/proc/${String(pid)}/clear_refs`, "5");
    const before = process.platform === "linux" ? workers.map((pid) => status(pid, "VmRSS")) : [];
    const ask = (method: string): Promise<IncomingMessage> =>
      new Promise((resolve, reject) => {
        const headers = { host, ...(method === "PUT" ? framing : {}) };
        const req = request({ port: edge.port, method, headers, agent: false }, resolve);
        req.on("error", reject);
        if (method === "PUT") pipeline(Readable.from(body()), req).catch(reject);
        else req.end();
      });
    expect(await digestOf(await ask("GET"))).toBe(digest);
    expect((await (await ask("PUT")).toArray()).join("")).toBe(digest);
    before.forEach((bytes, index) => {
      // Node reads into ever new buffers, and V8 lets some 64 MB of them pile up before it collects.
      expect((status(workers[index] ?? 0, "VmHWM") - bytes) / 1e6, "MB").toBeLessThan(100);
    });
  });
});

describe("forwarding fields", () => {
  const seen = async (localAddress: string, headers: Record<string, string> = {}) => {
    answer = (req, res) => {
      const { "x-forwarded-for": by, "x-forwarded-proto": proto, "x-forwarded-host": name, forwarded } = req.headers;
      res.end(JSON.stringify({ by, proto, name, forwarded }));
    };
    return JSON.parse((await get(headers, localAddress)).body.toString()) as Record<string, string>;
  };
  const claimed = {
    "x-forwarded-for": "198.51.100.1, 203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "shop.example.com",
    forwarded: "for=203.0.113.9",
  };

  it("of a trusted proxy are believed and continued, those of anybody else are replaced", async () => {
    for (const proxy of ["127.0.0.2", "127.0.1.77"])
      expect(await seen(proxy, claimed)).toEqual({
        by: `198.51.100.1, 203.0.113.9, ${proxy}`,
        proto: "https",
        name: "shop.example.com",
        forwarded: "for=203.0.113.9",
      });
    for (const stranger of ["127.0.0.1", "127.0.0.3", "127.0.2.1"])
      expect(await seen(stranger, claimed)).toEqual({ by: stranger, proto: "http", name: host });
    expect(await seen("127.0.0.2")).toEqual({ by: "127.0.0.2", proto: "http", name: host });
  });

  it("say in the access log who it was, when the proxy is trusted", async () => {
    const file = join(edge.home, "logs", "edge", "access.log");
    await get({ "x-request-id": "logged-behind-proxy", "x-forwarded-for": "6.6.6.6, 203.0.113.9" }, "127.0.0.2");
    await get({ "x-request-id": "logged-as-stranger", "x-forwarded-for": "6.6.6.6" }, "127.0.0.3");
    const remoteOf = (id: string): string | undefined => {
      const line = readFileSync(file, "utf8")
        .split("\n")
        .find((one) => one.includes(id));
      return line === undefined ? undefined : (JSON.parse(line) as { remote: string }).remote;
    };
    await until(() => remoteOf("logged-as-stranger") !== undefined && remoteOf("logged-behind-proxy") !== undefined);
    expect(remoteOf("logged-behind-proxy")).toBe("203.0.113.9");
    expect(remoteOf("logged-as-stranger")).toBe("127.0.0.3");
  });

  const isTrusted = trustedAddresses(["10.0.0.0/8", "fd00::/8"]);
  it.each([
    ["nothing", undefined, "10.0.0.1"],
    ["one client", "203.0.113.9", "203.0.113.9"],
    ["a client who lied before its own proxy", "6.6.6.6, 203.0.113.9", "203.0.113.9"],
    ["several trusted proxies", "203.0.113.9, 10.1.1.1, fd00::1", "203.0.113.9"],
    ["an IPv4 address in IPv6 form", "::ffff:203.0.113.9", "203.0.113.9"],
    ["only trusted proxies", "10.1.1.1,10.1.1.2", "10.1.1.1"],
    ["what is no address", 'evil"}, 10.1.1.1', "10.1.1.1"],
    ["a name", "client.example.org", "10.0.0.1"],
  ])("that name %s lead to the right client", (_name, given, client) => {
    expect(clientBehind("10.0.0.1", given, isTrusted)).toBe(client);
  });
});

it("a request id is kept when it is plain and of a sane length, and made otherwise", async () => {
  answer = (req, res) => res.end(req.headers["x-request-id"]);
  for (const id of ["abcdefgh", "0af7651916cd43dd8448eb211c80319c", "a".repeat(128), "Root=1-67891233-abcdef012345678912345678"])
    expect(await get({ "x-request-id": id })).toMatchObject({ headers: { "x-request-id": id }, body: Buffer.from(id) });
  for (const id of ["short", "a".repeat(129), "with space in it", "<script>alert(1)", 'quote"quote"', "tab\tinside"]) {
    const got = await get({ "x-request-id": id });
    expect(got.headers["x-request-id"]).not.toBe(id);
    expect(got.headers["x-request-id"]).toBe(got.body.toString());
    expect(got.body.toString()).toMatch(/^[0-9a-z]{8,128}$/);
  }
});
