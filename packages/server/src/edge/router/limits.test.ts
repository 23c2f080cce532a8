// What the router does not let a client do: send or read so slowly that it takes others' room, send more than a component wants, or open more than there is room
// for; and what it says then, to developers and to strangers. Every case runs over raw sockets against the real edge.
import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { TrafficEntry } from "../../engines/traffic.ts";
import { testCertificate } from "../testing/certificates.ts";
import { endpoint, fence, fetchRaw, freePort, host, never, ref, TestEdge, until, webEntry, type TestEndpoint } from "../testing/harness.ts";
import { RawClient } from "../testing/wire.ts";

/** Short enough to be waited for, and longer than this process may be held up between two things that a client sends. */
const limits = { headerBytes: 4096, headersTimeout: 5_000, clientTimeout: 5_000, maxConnections: 100, maxConnectionsPerClient: 20 };
/** The edge's routers. */
const workers = 2;
const maxBody = 100_000;
let edge: TestEdge;
let behind: TestEndpoint;
let bodies = 0;
let gate = Promise.withResolvers<void>();
let waiting = 0;
let sent = 0;
beforeAll(async () => {
  edge = await TestEdge.start({ workers, limits, trustedProxies: ["127.0.0.9"], https: { port: 0, portIsDefault: false } });
  behind = await endpoint("i1", (req, res) => {
    if (req.url === "/wait") {
      waiting += 1;
      void gate.promise.then(() => {
        res.end("waited");
      });
      return;
    }
    if (req.url === "/small") {
      sent += 12_000;
      res.setHeader("content-length", 12_000).end(Buffer.alloc(12_000));
      return;
    }
    if (req.url === "/talk") {
      res.write("begin");
      req.on("data", () => undefined).on("end", () => res.end(" end"));
      return;
    }
    if (req.url === "/endless") {
      const more = (): void => {
        while (!res.destroyed) {
          sent += 65_536;
          if (!res.write(Buffer.alloc(65_536))) {
            res.once("drain", more);
            return;
          }
        }
      };
      more();
      return;
    }
    let bytes = 0;
    req.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    req.on("end", () => {
      bodies += 1;
      res.end(`took ${String(bytes)}`);
    });
    req.on("error", () => undefined);
  });
  await apply({ maxBody });
  const { certificate, key } = testCertificate({ hosts: [host] });
  await edge.traffic.setCertificates([{ name: "a", chain: certificate, key, isDefault: true }], fence(1), never);
  await edge.ready({ i1: true });
}, 120_000);
// What a failed test left waiting must not fail the next.
afterEach(() => {
  gate.resolve();
});
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  await behind[Symbol.asyncDispose]();
});

let generation = 0;
async function apply(of: NonNullable<TrafficEntry["limits"]>): Promise<void> {
  generation += 1;
  await edge.traffic.apply(await webEntry([behind.endpoint], { limits: of }), fence(generation), never);
}
async function metric(name: string): Promise<number> {
  return (await edge.traffic.metrics(never))
    .split("\n")
    .filter((line) => line.startsWith(name))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
async function nothingInFlight(): Promise<void> {
  await until(async () => (await edge.traffic.applied(ref, never)).endpoints.every(({ inFlight }) => inFlight === 0), 60_000);
}

describe("a slow client", { timeout: 180_000 }, () => {
  it("that drips its head is told 408 and closed, while others are served", async () => {
    using slow = await RawClient.open(edge.port);
    slow.write(`GET / HTTP/1.1\r\nhost: ${host}\r\n`);
    const drip = setInterval(() => {
      slow.write("x-more: 1\r\n");
    }, 100);
    try {
      expect((await fetchRaw(edge.port, { headers: { host } })).status).toBe(200);
      expect((await slow.answer())?.status).toBe(408);
      expect(await slow.closes()).toBe(true);
    } finally {
      clearInterval(drip);
    }
  });

  it("that says nothing at all is closed", async () => {
    using silent = await RawClient.open(edge.port);
    expect(await silent.closes(60_000)).toBe(true);
  });

  it.each([
    ["with a length", "content-length: 1000\r\n\r\nabc"],
    ["chunked", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
  ])("that stops in the middle of a body %s is told 408, and its instance is not kept busy", async (_name, rest) => {
    const before = bodies;
    using slow = await RawClient.open(edge.port);
    slow.write(`POST / HTTP/1.1\r\nhost: ${host}\r\n${rest}`);
    const answer = await slow.answer(false, 60_000);
    expect(answer).toMatchObject({ status: 408, head: expect.stringMatching(/connection: close/i) as string });
    expect(bodies).toBe(before);
    await nothingInFlight();
  });

  it("that goes on sending, however slowly, is served", async () => {
    using slow = await RawClient.open(edge.port);
    slow.write(`POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 12\r\n\r\n`);
    for (let count = 0; count < 12; count += 1) {
      slow.write("x");
      await new Promise((resolve) => {
        setTimeout(resolve, limits.clientTimeout / 10);
      });
    }
    expect(await slow.answer(false, 60_000)).toMatchObject({ status: 200, body: "took 12" });
  });

  it("that waits with its body while its answer has begun is left to the component", async () => {
    using slow = await RawClient.open(edge.port);
    slow.write(`POST /talk HTTP/1.1\r\nhost: ${host}\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n`);
    expect(await slow.closes(limits.clientTimeout * 1.5)).toBe(false);
    slow.write("0\r\n\r\n");
    expect(await slow.answer(false, 60_000)).toMatchObject({ status: 200, body: "begin end" });
  });

  const unread = "that does not read is cut, and no more than buffers hold is taken from the instance:";
  it.each([
    ["one large answer", "public", `GET /endless HTTP/1.1\r\nhost: ${host}\r\n\r\n`],
    ["many small ones", "public", `GET /small HTTP/1.1\r\nhost: ${host}\r\n\r\n`.repeat(5_000)],
    ["over TLS", "secure", `GET /endless HTTP/1.1\r\nhost: ${host}\r\n\r\n`],
  ])(`${unread} %s`, async (_name, kind, bytes) => {
    const open = `berth_edge_connections{listener="${kind}"}`;
    const { https } = await edge.traffic.hello(never);
    await until(async () => (await metric(open)) === 0, 60_000);
    sent = 0;
    const socket =
      kind === "secure"
        ? connectTls({ host: "127.0.0.1", port: https?.port ?? 0, rejectUnauthorized: false })
        : (await RawClient.open(edge.port)).socket;
    socket.on("error", () => undefined);
    try {
      if (kind === "secure") await once(socket, "secureConnect");
      socket.pause();
      socket.write(bytes);
      await until(() => sent > 0, 60_000);
      await until(async () => (await metric(open)) === 0, 60_000, "the end of the connection");
      await nothingInFlight();
      expect(sent).toBeLessThan(50e6);
    } finally {
      socket.destroy();
    }
  });
});

describe("a body", { timeout: 180_000 }, () => {
  const post = (head: string, body = ""): string => `POST / HTTP/1.1\r\nhost: ${host}\r\n${head}\r\n\r\n${body}`;
  it("that says it is too large is refused before it is sent", async () => {
    const before = bodies;
    for (const more of ["", "expect: 100-continue\r\n"]) {
      using client = await RawClient.open(edge.port);
      client.write(post(`${more}content-length: ${String(maxBody + 1)}`));
      expect(await client.answer(false, 60_000)).toMatchObject({ status: 413 });
    }
    expect(bodies).toBe(before);
  });

  it("that turns out to be too large is refused then, and the instance never gets it whole", async () => {
    const before = bodies;
    using client = await RawClient.open(edge.port);
    client.write(post("transfer-encoding: chunked"));
    const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    for (let count = 0; count < 8; count += 1) client.write(chunk);
    client.write("0\r\n\r\n");
    expect(await client.answer(false, 60_000)).toMatchObject({ status: 413 });
    expect(bodies).toBe(before);
  });

  it("of just the size is taken, with a length and chunked", async () => {
    using client = await RawClient.open(edge.port);
    client.write(post(`content-length: ${String(maxBody)}`, "x".repeat(maxBody)));
    expect(await client.answer(false, 60_000)).toMatchObject({ status: 200, body: `took ${String(maxBody)}` });
    client.write(post("transfer-encoding: chunked", `${maxBody.toString(16)}\r\n${"x".repeat(maxBody)}\r\n0\r\n\r\n`));
    expect(await client.answer(false, 60_000)).toMatchObject({ status: 200, body: `took ${String(maxBody)}` });
  });

  it("has a head of a bounded size before it", async () => {
    using client = await RawClient.open(edge.port);
    client.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nx-long: ${"x".repeat(limits.headerBytes)}\r\n\r\n`);
    expect(await client.answer(false, 60_000)).toMatchObject({ status: 431 });
  });
});

describe("connections", { timeout: 240_000 }, () => {
  const get = (path: string, localAddress = "127.0.0.1") =>
    fetchRaw(edge.port, { path, localAddress, headers: { host, accept: "application/json" } });
  /** So many requests that wait for the gate, however often some are refused until all routers know that others have ended. */
  const holdWaiting = async (count: number): Promise<ReturnType<typeof get>[]> => {
    await nothingInFlight();
    gate = Promise.withResolvers();
    waiting = 0;
    const held: ReturnType<typeof get>[] = [];
    while (waiting < count) {
      const before = waiting;
      const answer = get("/wait");
      let done = false;
      void answer.then(
        () => (done = true),
        () => (done = true),
      );
      await until(() => waiting > before || done, 60_000);
      if (waiting > before) held.push(answer);
    }
    return held;
  };

  it("beyond a component's limit are refused with 503 and counted, over all routers, and taken again when others have ended", async () => {
    await apply({ maxBody, maxConnections: 4 });
    const held = await holdWaiting(4);
    // What one router serves the others know a moment later: then so many in a row are refused, whichever router they meet.
    let refused = await get("/");
    await until(
      async () => {
        for (let count = 0; count < 40; count += 1) {
          refused = await get("/");
          if (refused.status !== 503) return false;
        }
        return true;
      },
      60_000,
      "every router's refusal",
    );
    expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    expect(JSON.parse(refused.body.toString())).toMatchObject({ code: "busy" });
    expect(await metric("berth_edge_over_limit_total")).toBeGreaterThanOrEqual(40);
    gate.resolve();
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    await until(async () => (await get("/")).status === 200, 60_000);
    await apply({ maxBody });
  });

  it("that a killed router had open are not counted any more", async () => {
    await apply({ maxBody, maxConnections: 4 });
    let broken = 0;
    const held = (await holdWaiting(4)).map((answer) =>
      answer.then(
        () => undefined,
        () => {
          broken += 1;
        },
      ),
    );
    // Which of them has some is not known.
    for (const pid of await edge.workers()) {
      if (broken > 0) break;
      process.kill(pid, "SIGKILL");
      await until(async () => (await edge.workers()).length === workers && !(await edge.workers()).includes(pid), 60_000);
    }
    await until(async () => broken > 0 && (await get("/").catch(() => undefined))?.status === 200, 60_000);
    gate.resolve();
    await Promise.all(held);
    await apply({ maxBody });
  });

  it("of one client are bounded, but not those of a trusted proxy; all together are too; and who is refused is told", async () => {
    await apply({ maxBody });
    await nothingInFlight();
    gate = Promise.withResolvers();
    const statuses: number[] = [];
    const held: Promise<void>[] = [];
    const hold = (count: number, localAddress: string): void => {
      for (let index = 0; index < count; index += 1)
        held.push(
          get("/wait", localAddress).then(({ status, headers, body }) => {
            statuses.push(status);
            if (status !== 503) return;
            expect(headers["retry-after"]).toBe("5");
            expect(body.toString()).toBe("503 Busy: too many connections are open.\n");
          }),
        );
    };
    const refusedBefore = await metric("berth_edge_refused_connections_total");
    waiting = 0;
    // However they are spread over the routers, so many are too many; and so few are not.
    const mostOfOne = workers * limits.maxConnectionsPerClient;
    hold(mostOfOne + 5, "127.0.0.5");
    await until(() => statuses.length + waiting === mostOfOne + 5, 60_000);
    expect(statuses.length).toBeGreaterThanOrEqual(5);
    const ofOne = statuses.length;
    hold(mostOfOne + 5, "127.0.0.9");
    await until(() => statuses.length + waiting === 2 * (mostOfOne + 5), 60_000);
    expect(statuses.length).toBe(ofOne);
    expect((await get("/")).status).toBe(200);

    const most = workers * limits.maxConnections;
    hold(most, "127.0.0.1");
    await until(() => statuses.length + waiting === most + 2 * (mostOfOne + 5), 60_000);
    expect(waiting).toBeLessThanOrEqual(most);
    expect((await metric("berth_edge_refused_connections_total")) - refusedBefore).toBeGreaterThanOrEqual(statuses.length);
    await until(() => edge.stderr.includes("too many are open"), 60_000);
    gate.resolve();
    await Promise.all(held);
    await until(async () => (await get("/")).status === 200, 60_000);
  });
});

describe("pipelined requests", { timeout: 180_000 }, () => {
  it("are begun one after the other, and answered in order", async () => {
    await nothingInFlight();
    gate = Promise.withResolvers();
    waiting = 0;
    const before = bodies;
    using client = await RawClient.open(edge.port);
    const post = `POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 3\r\n\r\nabc`;
    client.write(`GET /wait HTTP/1.1\r\nhost: ${host}\r\n\r\n${post.repeat(3)}GET / HTTP/1.1\r\n\r\n`);
    await until(() => waiting === 1, 60_000);
    for (let count = 0; count < 10; count += 1) expect((await fetchRaw(edge.port, { headers: { host } })).status).toBe(200);
    expect(bodies).toBe(before + 10);
    gate.resolve();
    expect(await client.answer(false, 60_000)).toMatchObject({ status: 200, body: "waited" });
    for (let count = 0; count < 3; count += 1) expect(await client.answer(false, 60_000)).toMatchObject({ status: 200, body: "took 3" });
    expect(await client.answer(false, 60_000)).toMatchObject({ status: 400 });
    expect(await client.closes(60_000)).toBe(true);
  });

  it("are read no faster than they are answered", async () => {
    gate = Promise.withResolvers();
    waiting = 0;
    using client = await RawClient.open(edge.port);
    let taken = false;
    // More than the kernel's buffers hold on both sides; some of them are refused, which must not make the router read on.
    const one = `GET /wait HTTP/1.1\r\nhost: ${host}\r\nx-padding: ${"x".repeat(3_000)}\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\nexpect: nothing\r\n\r\n`;
    client.socket.write(one.repeat(12_000), () => {
      taken = true;
    });
    await until(() => waiting === 1, 60_000);
    for (let count = 0; count < 200; count += 1) expect((await fetchRaw(edge.port, { headers: { host } })).status).toBe(200);
    expect(waiting).toBe(1);
    expect(taken).toBe(false);
    client.socket.destroy();
    gate.resolve();
    await nothingInFlight();
  });
});

describe("an error page", { timeout: 180_000 }, () => {
  const unknown = "nobody.shop.localhost";
  const page = async (of: string, headers: Record<string, string> = {}, localAddress = "127.0.0.1") => {
    const answer = await fetchRaw(edge.port, { localAddress, path: "/some/where?token=secret", headers: { host: of, ...headers } });
    return { status: answer.status, type: String(answer.headers["content-type"]), text: answer.body.toString() };
  };

  it("tells a developer on this machine what is wrong, and a stranger nothing", async () => {
    const developer = await page(unknown);
    expect(developer).toMatchObject({ status: 404, type: "text/plain; charset=utf-8" });
    expect(developer.text).toContain("No component has this host name and path.");
    expect(developer.text).not.toContain("secret");
    for (const stranger of [
      await page("nobody.example.org"),
      await page(unknown, {}, "127.0.0.7"),
      await page(unknown, { "x-forwarded-for": "203.0.113.7" }),
      await page(unknown, { via: "1.1 tunnel" }),
    ]) {
      expect(stranger.status).toBe(404);
      expect(stranger.text).toMatch(/^404 Nothing here: There is nothing at this address. \(request [0-9a-z]+\)\n$/);
    }
  });

  it("of a component says which one, and the next step with its name", async () => {
    const stopped = await webEntry(
      [],
      { ref: { stack: "shop", component: "gone" }, stopped: true },
      {
        internal: await freePort(),
        hosts: [
          { host: "gone.shop.localhost", path: "/" },
          { host: "gone.example.org", path: "/" },
        ],
      },
    );
    await edge.traffic.apply(stopped, fence(1), never);
    const developer = await page("gone.shop.localhost", { accept: "application/json" });
    expect(JSON.parse(developer.text)).toMatchObject({
      status: 503,
      code: "stopped",
      cause: "The component is stopped.",
      next: "`berth components start -s shop -c gone` starts it again.",
      facts: { Component: "shop/gone, port http", Instances: "0, of which 0 ready" },
    });
    const stranger = await page("gone.example.org", { accept: "application/json" });
    expect(stranger.text).not.toMatch(/shop|berth|component|instance/i);
    expect(JSON.parse(stranger.text)).toMatchObject({ status: 503, title: "Not available" });
  });

  it("is HTML for browsers, with nothing in it that the caller could inject or that is loaded from elsewhere", async () => {
    const { type, text } = await page(unknown, { accept: "text/html,*/*" });
    expect(type).toBe("text/html; charset=utf-8");
    expect(text).toContain("<h1>Nothing here</h1>");
    expect(text).not.toMatch(/src=|href=|<script|@import|url\(/);
    const hostile = await fetchRaw(edge.port, { path: "/<script>'\"&", headers: { host: unknown, accept: "text/html" } });
    expect(hostile.body.toString()).not.toContain("<script");
  });
});
