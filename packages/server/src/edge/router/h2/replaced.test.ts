// What clients of HTTP/2 notice of a new certificate, a router that is replaced and another edge: that they are asked for a new connection, and nothing else.
import type { ClientHttp2Session } from "node:http2";
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { connect } from "node:tls";
import { describe, expect, it } from "vitest";
import { testCertificate } from "../../testing/certificates.ts";
import { encoded, flag, frame, FrameClient, requestFields } from "../../testing/frames.ts";
import { answerOf, ask, h2Client, securePort } from "../../testing/h2.ts";
import { endpoint, fence, host, never, TestEdge, testEntry, until, webEntry } from "../../testing/harness.ts";

const slow: RequestListener = (req, res) => {
  if (req.url === "/stream") {
    res.write("begun");
    const timer = setInterval(() => res.write("."), 50);
    req.on("close", () => {
      clearInterval(timer);
    });
    setTimeout(() => {
      clearInterval(timer);
      res.end("whole");
    }, 3_000);
  } else {
    served.set(req.url ?? "", (served.get(req.url ?? "") ?? 0) + 1);
    setTimeout(() => res.end("ok"), 5);
  }
};
/** How often the instance was asked for each path. */
const served = new Map<string, number>();

let made = 0;

/**
 * Asks one request after the other on a connection, with `side` at once, and connects anew when it is asked to. What Node's client had not sent by then it closes with
 * REFUSED_STREAM, which says that nobody acted on it (RFC 9113, 8.7): it is asked again on the next connection.
 */
class Caller {
  served = 0;
  connections = 0;
  readonly failures: string[] = [];
  readonly unsent: string[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<unknown>;

  constructor(port: number, side: number) {
    this.#done = this.#run(port, side);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(port: number, side: number): Promise<void> {
    const open: ClientHttp2Session[] = [];
    while (!this.#stop.signal.aborted) {
      const session = await h2Client(port, host);
      open.push(session);
      this.connections += 1;
      await Promise.all(
        Array.from({ length: side }, async () => {
          while (!this.#stop.signal.aborted && !session.closed && !session.destroyed) {
            const path = this.unsent.pop() ?? `/${String(made++)}`;
            await ask(session, { ":path": path }).then(
              ({ status, body }) => {
                if (status === 200 && body.toString() === "ok") this.served += 1;
                else this.failures.push(String(status));
              },
              (error: Error) => {
                if (error.message.endsWith("NGHTTP2_REFUSED_STREAM")) this.unsent.push(path);
                else this.failures.push(error.message);
              },
            );
          }
        }),
      );
    }
    for (const session of open) session.destroy();
  }
}

async function serving(overrides: Record<string, unknown> = {}) {
  const edge = await TestEdge.start({ https: { port: 0, portIsDefault: false }, ...overrides });
  const made = await endpoint("i1", slow);
  await edge.traffic.apply(await webEntry([made.endpoint]), fence(1), never);
  await edge.ready({ i1: true });
  await renew(edge, 1);
  return { edge, made, port: await securePort(edge) };
}
function renew(edge: TestEdge, generation: number): Promise<void> {
  const { certificate, key } = testCertificate({ hosts: [host] });
  return edge.traffic.setCertificates([{ name: "one", chain: certificate, key, isDefault: true }], fence(generation), never);
}

describe("clients of HTTP/2", { timeout: 300_000 }, () => {
  it("lose nothing when a certificate is renewed, and keep their connections", async () => {
    const { edge, made, port } = await serving();
    await using _edge = edge;
    await using _made = made;
    const caller = new Caller(port, 4);
    for (let n = 2; n < 6; n += 1) {
      const before = caller.served;
      await renew(edge, n);
      await until(() => caller.served > before + 50, 60_000);
    }
    await caller.stop();
    expect(caller.failures).toEqual([]);
    expect(caller.connections).toBe(1);
  });

  it("lose nothing when another edge takes over: they are asked for a new connection, and what is under way ends well", async () => {
    const { edge, made, port } = await serving({ succession: true });
    await using _edge = edge;
    await using _made = made;
    const long = await h2Client(port, host);
    const stream = long.request({ ":path": "/stream" });
    const answered = answerOf(stream);
    await once(stream, "data");
    const away = once(long, "goaway") as Promise<[number, number]>;
    const callers = [new Caller(port, 4), new Caller(port, 4)];
    await until(() => callers.every(({ served }) => served > 100), 60_000);
    const before = (await edge.traffic.hello(never)).pid;
    await edge.traffic.upgrade({ node: process.execPath, entry: testEntry }, never);
    const [code, last] = await away;
    // It names the stream that is under way, which is the only one.
    expect([code, last]).toEqual([0, 1]);
    expect((await answered).body.toString()).toMatch(/^begun\.+whole$/);
    await until(() => callers.every(({ connections }) => connections > 1), 60_000, "new connections");
    await until(
      () =>
        edge.traffic.hello(never).then(
          ({ pid }) => pid !== before,
          () => false,
        ),
      60_000,
      "the next edge",
    );
    const then = callers.map((caller) => caller.served);
    await until(() => callers.every((caller, index) => caller.served > (then[index] ?? 0) + 100), 60_000);
    for (const caller of callers) await caller.stop();
    expect(callers.flatMap(({ failures, unsent }) => [...failures, ...unsent])).toEqual([]);
    // Each one once, also those that were asked again.
    expect([...served].filter(([, times]) => times !== 1)).toEqual([]);
    expect(callers.reduce((sum, { served }) => sum + served, 0)).toBeGreaterThan(400);
  });

  it("have every request answered up to the one that they are told, and none behind it is acted on", async () => {
    const { edge, made, port } = await serving({ succession: true });
    await using _edge = edge;
    await using _made = made;
    expect(port).toBeGreaterThan(0);
    const before = served.get("/") ?? 0;
    using client = await FrameClient.open(edge.port);
    const block = requestFields(host);
    let sent = 0;
    const more = (): void => {
      client.send(encoded(frame.headers, flag.endStream | flag.endHeaders, 1 + 2 * sent, block));
      sent += 1;
    };
    const answered = (): number => client.frames.filter(({ type, flags }) => type === frame.data && (flags & flag.endStream) !== 0).length;
    for (let n = 0; n < 20; n += 1) more();
    await until(() => answered() === 20);
    await edge.traffic.upgrade({ node: process.execPath, entry: testEntry }, never);
    await until(
      () => {
        // Up to the moment in which it hears of it.
        if (client.goneAway === undefined && sent - answered() < 50) for (let n = 0; n < 5; n += 1) more();
        return client.goneAway !== undefined;
      },
      60_000,
      "the word",
    );
    await until(() => client.closed, 60_000, "the end of the connection");
    const last = client.goneAway?.last ?? 0;
    expect(last).toBeGreaterThanOrEqual(39);
    expect(answered()).toBe((last + 1) / 2);
    expect((served.get("/") ?? 0) - before).toBe(answered());
    expect(client.frames.filter(({ type }) => type === frame.reset)).toEqual([]);
  });

  it("meet HTTP/1.1 where they do not ask for HTTP/2", async () => {
    const { edge, made, port } = await serving();
    await using _edge = edge;
    await using _made = made;
    const socket = connect({ host: "127.0.0.1", port, servername: host, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe(false);
    socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });
});
