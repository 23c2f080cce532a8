// What one client of HTTP/2 may cost others: frames that nobody needs, heads without an end, requests that are taken back, clients that neither read nor write.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encoded, flag, frame, FrameClient, number32, requestFields } from "../../testing/frames.ts";
import { ask, h2Client } from "../../testing/h2.ts";
import { endpoint, fence, host, never, TestEdge, until, webEntry, type TestEndpoint } from "../../testing/harness.ts";

let edge: TestEdge;
let instance: TestEndpoint;
let begun = 0;
let open = 0;
const ends: string[] = [];

beforeAll(async () => {
  edge = await TestEdge.start({ limits: { headersTimeout: 5_000, idleTimeout: 3_000, clientTimeout: 3_000, headerBytes: 16_384 } });
  instance = await endpoint("i1", (req, res) => {
    begun += 1;
    open += 1;
    res.on("close", () => {
      open -= 1;
      ends.push(`${req.url ?? ""} ${String(req.complete)}`);
    });
    req.resume();
    if (req.url === "/big") res.end(Buffer.alloc(8 * 1024 * 1024));
    else if (req.url === "/body") req.on("end", () => res.end());
    else if (req.url !== "/wait") res.end("ok");
  });
  await edge.traffic.apply(await webEntry([instance.endpoint]), fence(1), never);
  await edge.ready({ i1: true });
}, 120_000);
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
  await instance[Symbol.asyncDispose]();
});

/** Others are served meanwhile and afterwards, by the same processes. */
async function othersAreServed(): Promise<void> {
  const session = await h2Client(edge.port, host, false);
  expect((await ask(session, {})).status).toBe(200);
  session.destroy();
}
const enhanceYourCalm = 11;

describe("limits of HTTP/2", { timeout: 240_000 }, () => {
  it("ends a connection on which requests are taken back without end (CVE-2023-44487), and asks little of the instance for it", async () => {
    const before = await edge.workers();
    begun = 0;
    using client = await FrameClient.open(edge.port);
    const block = requestFields(host, { ":path": "/wait" });
    const all = 20_000;
    let sent = 0;
    for (; sent < all && client.goneAway === undefined && !client.closed; sent += 100) {
      for (let n = sent; n < sent + 100; n += 1)
        client.send(
          encoded(frame.headers, flag.endStream | flag.endHeaders, 1 + 2 * n, block),
          encoded(frame.reset, 0, 1 + 2 * n, number32(8)),
        );
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => client.goneAway !== undefined || client.closed, 30_000, "the end of the connection");
    await until(() => open === 0, 30_000, "the instance to be free");
    expect(begun).toBeLessThan(2_500);
    await othersAreServed();
    expect(await edge.workers()).toEqual(before);
  });

  it("serves so many streams at once, and refuses those beyond, unprocessed", async () => {
    using client = await FrameClient.open(edge.port);
    await until(() => client.frames.some(({ type }) => type === frame.settings));
    const settings = client.frames.find(({ type }) => type === frame.settings)?.payload ?? Buffer.alloc(0);
    const told = new Map(
      Array.from({ length: settings.length / 6 }, (_, n) => [settings.readUInt16BE(6 * n), settings.readUInt32BE(6 * n + 2)]),
    );
    expect(told.get(3)).toBe(128);
    expect(told.get(6)).toBe(16_384);
    begun = 0;
    const block = requestFields(host, { ":path": "/wait" });
    for (let n = 0; n < 150; n += 1) client.send(encoded(frame.headers, flag.endStream | flag.endHeaders, 1 + 2 * n, block));
    const refused = (): number => client.frames.filter(({ type, payload }) => type === frame.reset && payload.readUInt32BE(0) === 7).length;
    await until(() => refused() === 22 && begun === 128);
    client.socket.destroy();
    await until(() => open === 0, 30_000, "the instance to hear that the client is gone");
    // A client that has heard of the bound has no excuse.
    using knowing = await FrameClient.open(edge.port);
    await until(() => knowing.frames.some(({ type }) => type === frame.settings));
    knowing.send(encoded(frame.settings, flag.ack, 0));
    for (let n = 0; n < 150; n += 1) knowing.send(encoded(frame.headers, flag.endStream | flag.endHeaders, 1 + 2 * n, block));
    await until(() => knowing.goneAway?.code === 1, 30_000, "the end of a connection beyond the bound");
    await until(() => open === 0, 30_000, "the instance to be free");
  });

  it("ends connections that send heads without an end, heads that are too large, or empty frames", async () => {
    const endless = async (): Promise<FrameClient> => {
      const client = await FrameClient.open(edge.port);
      client.send(encoded(frame.headers, 0, 1, requestFields(host)));
      for (let n = 0; n < 5_000 && !client.closed && client.goneAway === undefined; n += 1) {
        client.send(encoded(frame.continuation, 0, 1, requestFields(host, { ":path": "/", [`x-${String(n)}`]: "y".repeat(1000) })));
        if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      return client;
    };
    using continued = await endless();
    await until(() => continued.closed || continued.goneAway !== undefined, 30_000, "the end of an endless head");

    using large = await FrameClient.open(edge.port);
    large.send(
      encoded(
        frame.headers,
        flag.endStream | flag.endHeaders,
        1,
        requestFields(host, { "x-large": "y".repeat(15_000), "x-more": "y".repeat(1_300) }),
      ),
    );
    await until(() => large.closed || large.frames.some(({ type, stream }) => type === frame.reset && stream === 1), 30_000, "a refusal");

    using empty = await FrameClient.open(edge.port);
    empty.send(encoded(frame.headers, flag.endHeaders, 1, requestFields(host, { ":method": "POST", ":path": "/body" })));
    for (let n = 0; n < 5_000 && !empty.closed && empty.goneAway === undefined; n += 1) {
      empty.send(encoded(frame.data, 0, 1));
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => empty.closed || empty.goneAway !== undefined, 30_000, "the end of empty frames");
    await othersAreServed();
  });

  it("ends connections that ask for answers without end, whether they read them or not", async () => {
    for (const [type, payload] of [
      [frame.ping, Buffer.alloc(8)],
      [frame.settings, Buffer.alloc(0)],
    ] as const)
      for (const reads of [true, false]) {
        using client = await FrameClient.open(edge.port);
        if (!reads) client.socket.pause();
        const many = Buffer.concat(Array.from({ length: 500 }, () => encoded(type, 0, 0, payload)));
        for (let n = 0; n < 400 && !client.closed && client.goneAway === undefined && !client.socket.destroyed; n += 1) {
          client.send(many);
          await new Promise((resolve) => setImmediate(resolve));
        }
        client.socket.resume();
        await until(() => client.closed || client.goneAway !== undefined, 10_000, `the end of a flood of ${String(type)}`);
        if (client.goneAway !== undefined) expect([1, 2, enhanceYourCalm]).toContain(client.goneAway.code);
      }
    await othersAreServed();
  });

  it("ends connections without a request, idle ones, and answers and bodies that do not move", async () => {
    using silent = await FrameClient.open(edge.port);
    await until(() => silent.goneAway?.code === 0, 30_000, "the end of a connection without a request");
    using idle = await FrameClient.open(edge.port);
    idle.send(encoded(frame.headers, flag.endStream | flag.endHeaders, 1, requestFields(host)));
    await until(() => idle.goneAway?.code === 0, 30_000, "the end of an idle connection");
    await until(() => idle.closed);

    open = 0;
    using unread = await FrameClient.open(edge.port);
    unread.send(encoded(frame.headers, flag.endStream | flag.endHeaders, 1, requestFields(host, { ":path": "/big" })));
    await until(
      () => unread.frames.some(({ type, stream }) => type === frame.reset && stream === 1),
      30_000,
      "the end of an answer that is not read",
    );

    using stalled = await FrameClient.open(edge.port);
    stalled.send(
      encoded(frame.headers, flag.endHeaders, 1, requestFields(host, { ":method": "POST", ":path": "/body" })),
      encoded(frame.data, 0, 1, "part"),
    );
    await until(
      () => stalled.frames.some(({ type, stream }) => type === frame.headers && stream === 1),
      30_000,
      "an answer to a body that stalls",
    );
    await until(() => open === 0, 30_000, "the instance to be free");
  });

  it("never passes a body that was cut off for a whole one", async () => {
    for (const code of [0, 8]) {
      using client = await FrameClient.open(edge.port);
      ends.length = 0;
      client.send(
        encoded(frame.headers, flag.endHeaders, 1, requestFields(host, { ":method": "POST", ":path": "/body" })),
        encoded(frame.data, 0, 1, "part"),
      );
      const before = begun;
      await until(() => begun > before || open > 0);
      client.send(encoded(frame.reset, 0, 1, number32(code)));
      await until(() => ends.length > 0);
      expect(ends).toEqual(["/body false"]);
    }
  });
});
