// gRPC through the router, with a real client and a real service: every kind of call, in TLS and with prior knowledge, and what is said when no instance answers.
import { once } from "node:events";
import { createServer as createHttp2Server } from "node:http2";
import { randomBytes } from "node:crypto";
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TrafficEndpoint, TrafficEntry } from "../../../engines/traffic.ts";
import { testCertificate } from "../../testing/certificates.ts";
import { callOnce, grpcClient, grpcInstance, type GrpcClient, type GrpcInstance } from "../../testing/grpc.ts";
import { ask, h2Client, securePort } from "../../testing/h2.ts";
import { draining, fence, fetchRaw, freePort, listening, never, TestEdge, until, webEntry } from "../../testing/harness.ts";

const host = "rpc.shop.localhost";
const ref = { stack: "shop", component: "rpc" };
let edge: TestEdge;
let instance: GrpcInstance;
let secure: GrpcClient;
let plain: GrpcClient;
let ca = "";
let port = 0;
let generation = 0;
let internal = 0;
const at = (name: string, number: number, changes: Partial<TrafficEndpoint> = {}): TrafficEndpoint => ({
  instance: name,
  releaseHash: `sha256:${name}`,
  host: "127.0.0.1",
  port: number,
  state: "active",
  http2: true,
  ...changes,
});
async function lead(endpoints: readonly TrafficEndpoint[], changes: Partial<TrafficEntry> = {}): Promise<void> {
  generation += 1;
  await edge.traffic.apply(
    await webEntry(endpoints, { ref, ...changes }, { hosts: [{ host, path: "/" }], internal }),
    fence(generation),
    never,
  );
}

beforeAll(async () => {
  edge = await TestEdge.start({ https: { port: 0, portIsDefault: false } });
  const made = testCertificate({ hosts: [host] });
  ca = made.certificate;
  await edge.traffic.setCertificates([{ name: "all", chain: made.certificate, key: made.key, isDefault: true }], fence(1), never);
  port = await securePort(edge);
  internal = await freePort();
  instance = await grpcInstance("i1");
  await lead([at("i1", instance.port)]);
  await edge.ready({ i1: true });
  secure = grpcClient(port, host, ca);
  plain = grpcClient(edge.port, host);
}, 120_000);
afterAll(async () => {
  for (const client of [secure, plain]) client.close();
  await instance[Symbol.asyncDispose]();
  await edge[Symbol.asyncDispose]();
});

/** What an edge serves that waits for nobody; here alone, since whatever else is slow may be the machine. */
async function impatiently(work: (client: GrpcClient) => Promise<void>): Promise<void> {
  await using impatient = await TestEdge.start({ responseTimeout: 3_000, limits: { clientTimeout: 1_000 } });
  const entry = await webEntry([at("i1", instance.port)], { ref }, { hosts: [{ host, path: "/" }], internal: await freePort() });
  await impatient.traffic.apply(entry, fence(1), never);
  await impatient.ready({ i1: true });
  const client = grpcClient(impatient.port, host);
  try {
    await work(client);
  } finally {
    client.close();
  }
}

const failed = (call: Promise<unknown>): Promise<ServiceError> =>
  call.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error as ServiceError,
  );

describe("gRPC through the router", { timeout: 240_000 }, () => {
  it("makes calls of every kind, in TLS and plain", async () => {
    for (const client of [secure, plain]) {
      const { answer, head, trailer } = await callOnce(client, Buffer.from("hello"));
      expect(answer.toString()).toBe("hello");
      expect(head.get("instance")).toEqual(["i1"]);
      expect(head.get("x-request-id")).toHaveLength(1);
      expect(trailer?.get("trailing")).toEqual(["yes"]);

      let received = 0;
      for await (const message of client.count(Buffer.from("500"), new Metadata())) received += (message as Buffer).length;
      expect(received).toBe(500 * 16 * 1024);

      const summed = new Promise<string>((resolve, reject) => {
        const call = client.sum(new Metadata(), {}, (error, made) => {
          if (error === null) resolve(String(made));
          else reject(error);
        });
        for (let n = 0; n < 300; n += 1) call.write(Buffer.alloc(10_000));
        call.end();
      });
      expect(await summed).toBe("3000000");

      const chat = client.chat(new Metadata());
      for (let n = 0; n < 20; n += 1) {
        chat.write(Buffer.from(String(n)));
        const [message] = (await once(chat, "data")) as [Buffer];
        expect(message.toString()).toBe(String(n));
      }
      chat.end();
      await once(chat, "end");
    }
    expect(instance.cancelled).toEqual([]);
  });

  it("carries large messages unchanged, and many calls at once on one connection", async () => {
    const message = randomBytes(20 * 1024 * 1024);
    expect((await callOnce(secure, message)).answer.equals(message)).toBe(true);
    const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => callOnce(secure, Buffer.from(String(n)))));
    expect(answers.map(({ answer }) => answer.toString())).toEqual(Array.from({ length: 300 }, (_, n) => String(n)));
  });

  it("passes on the service's own failures, deadlines and cancelled calls", async () => {
    const refused = await failed(callOnce(secure, Buffer.from("x"), { fail: "yes" }));
    expect([refused.code, refused.details]).toEqual([status.FAILED_PRECONDITION, "as you \u00fcbersaw"]);
    expect(refused.metadata.get("trailing")).toEqual(["yes"]);

    instance.cancelled.length = 0;
    const late = await failed(callOnce(secure, Buffer.from("x"), { wait: "10000" }, { deadline: Date.now() + 3_000 }));
    expect(late.code).toBe(status.DEADLINE_EXCEEDED);
    await until(() => instance.cancelled.includes("once"));

    const counting = secure.count(Buffer.from("100000"), new Metadata());
    counting.on("error", () => undefined);
    await once(counting, "data");
    counting.cancel();
    const chat = secure.chat(new Metadata());
    chat.on("error", () => undefined);
    chat.write(Buffer.from("x"));
    await once(chat, "data");
    chat.cancel();
    await until(() => instance.cancelled.includes("count"));
    // Node's client ends its side before it takes a call back.
    await until(() => instance.open === 0);
  });

  it("lets both sides of a call be silent for longer than a client may be that sends a body", async () => {
    await impatiently(async (client) => {
      const total = new Promise<string>((resolve, reject) => {
        const call = client.sum(new Metadata(), {}, (error, made) => {
          if (error === null) resolve(String(made));
          else reject(error);
        });
        call.write(Buffer.alloc(10));
        setTimeout(() => {
          call.write(Buffer.alloc(10));
          call.end();
        }, 4_500);
      });
      expect(await total).toBe("20");
    });
  });

  it("serves clients of HTTP/1.1 from an instance that speaks HTTP/2 alone", async () => {
    const server = createHttp2Server((req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => chunks.push(chunk));
      req.on("end", () => {
        res.setHeader("x-version", req.httpVersion);
        res.setHeader("x-authority", req.authority);
        res.setHeader("set-cookie", ["a=1", "b=2"]);
        res.end(`${req.method} ${req.url} ${String(Buffer.concat(chunks).length)} ${String(req.headers["x-forwarded-proto"])}`);
      });
    });
    const on = await listening(server);
    await lead([at("i2", on)]);
    await edge.ready({ i2: true });
    const got = await fetchRaw(edge.port, {
      headers: { host, connection: "close, x-hop", "x-hop": "1", "keep-alive": "timeout=5" },
      path: "/a?b",
    });
    expect([got.status, got.body.toString()]).toEqual([200, "GET /a?b 0 http"]);
    expect([got.headers["x-version"], got.headers["x-authority"], got.headers["set-cookie"]]).toEqual(["2.0", host, ["a=1", "b=2"]]);
    const body = randomBytes(1_000_000);
    for (const headers of [{ "content-length": body.length }, { "transfer-encoding": "chunked" }])
      expect((await fetchRaw(edge.port, { method: "POST", headers: { host, ...headers } }, body)).body.toString()).toBe(
        "POST / 1000000 http",
      );
    expect((await fetchRaw(edge.port, { method: "HEAD", headers: { host } })).status).toBe(200);
    const session = await h2Client(port, host);
    expect((await ask(session, { ":path": "/h2" }, "12")).body.toString()).toBe("POST /h2 2 https");
    session.destroy();
    server.close();
    await lead([at("i1", instance.port)]);
  });

  it("answers in gRPC's own form when no instance does", async () => {
    const codeOf = async (client: GrpcClient): Promise<[number, string]> => {
      const error = await failed(callOnce(client, Buffer.from("x")));
      return [error.code, error.details];
    };
    const nobody = grpcClient(edge.port, "nobody.shop.localhost");
    expect(await codeOf(nobody)).toEqual([
      status.UNIMPLEMENTED,
      expect.stringMatching(/No component has this host name and path.*\(request \w+\)$/),
    ]);
    nobody.close();
    await lead([], { stopped: true });
    expect(await codeOf(secure)).toEqual([
      status.UNAVAILABLE,
      expect.stringContaining("The component is stopped. Next: `berth components start -s shop -c rpc`"),
    ]);
    await lead([], { holdFor: 100 });
    expect(await codeOf(secure)).toEqual([status.UNAVAILABLE, expect.stringContaining("No instance of the component is ready")]);
    await lead([at("i1", instance.port)], { limits: { maxBody: 100 } });
    const error = await failed(callOnce(secure, Buffer.alloc(200)));
    expect([error.code, error.details]).toEqual([status.RESOURCE_EXHAUSTED, expect.stringContaining("`maxBody`")]);
    await lead([at("i1", instance.port)]);
    await impatiently(async (client) => {
      const late = await failed(callOnce(client, Buffer.from("x"), { wait: "20000", silent: "yes" }));
      expect([late.code, late.details]).toEqual([
        status.UNAVAILABLE,
        expect.stringContaining("The instance took too long to begin its answer"),
      ]);
    });
  });

  it("says so in the trailers when an instance breaks off in the middle of a call", async () => {
    const sessions: { destroy(): void }[] = [];
    const server = createHttp2Server();
    server.on("session", (session) => sessions.push(session));
    server.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.respond({ "content-type": "application/grpc" });
      stream.write(Buffer.from([0, 0, 0, 0, 1, 65]));
      setTimeout(() => {
        for (const session of sessions) session.destroy();
      }, 100);
    });
    const on = await listening(server);
    await lead([at("i3", on)]);
    await edge.ready({ i3: true });
    const call = secure.count(Buffer.from("1"), new Metadata());
    const messages: string[] = [];
    call.on("data", (message: Buffer) => messages.push(message.toString()));
    const [error] = (await once(call, "error")) as [ServiceError];
    expect(messages).toEqual(["A"]);
    expect([error.code, error.details]).toEqual([
      status.UNAVAILABLE,
      expect.stringContaining("It may have acted on it, so it was not sent again"),
    ]);
    server.close();
    await lead([at("i1", instance.port)]);
  });

  it("sends a request again, with its body, that an instance did not act on because it asked for a new connection", async () => {
    let served = 0;
    let asked = 0;
    const server = createHttp2Server();
    server.on("session", (session) => {
      let left = 20;
      session.on("error", () => undefined);
      session.on("stream", (stream) => {
        stream.on("error", () => undefined);
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          served += 1;
          stream.respond({ ":status": 200 });
          stream.end(Buffer.concat(chunks));
        });
        left -= 1;
        if (left > 0 || session.closed) return;
        asked += 1;
        session.close();
      });
    });
    const on = await listening(server);
    await lead([at("i4", on)]);
    await edge.ready({ i4: true });
    const session = await h2Client(port, host);
    const failures: string[] = [];
    await Promise.all(
      Array.from({ length: 30 }, async (_, worker) => {
        for (let n = 0; n < 40; n += 1) {
          const body = randomBytes(100 + 300 * worker);
          await ask(session, { ":path": "/" }, body).then(
            (answer) => {
              if (answer.status !== 200 || !answer.body.equals(body))
                failures.push(`${String(answer.status)} ${answer.body.toString().slice(0, 200)}`);
            },
            (error: Error) => failures.push(error.message),
          );
        }
      }),
    );
    session.destroy();
    server.close();
    expect(failures).toEqual([]);
    expect(served).toBe(30 * 40);
    expect(asked).toBeGreaterThan(10);
    await lead([at("i1", instance.port)]);
  });

  it("loses no call when one release takes over from another, nor one that is under way", async () => {
    await using next = await grpcInstance("next");
    await until(() => callOnce(secure, Buffer.from("x")).then(({ head }) => head.get("instance")[0] === "i1"));
    const chat = secure.chat(new Metadata());
    chat.write(Buffer.from("before"));
    await once(chat, "data");
    let stop = false;
    const seen = new Map<string, number>();
    const failures: string[] = [];
    const callers = Array.from({ length: 8 }, async () => {
      const client = grpcClient(port, host, ca);
      while (!stop)
        await callOnce(client, Buffer.from("x"), { wait: "5" }).then(
          ({ head }) => {
            const name = String(head.get("instance")[0]);
            seen.set(name, (seen.get(name) ?? 0) + 1);
          },
          (error: ServiceError) => failures.push(error.message),
        );
      client.close();
    });
    await until(() => (seen.get("i1") ?? 0) > 50);
    await edge.ready({ next: true });
    await lead([draining(at("i1", instance.port)), at("next", next.port)]);
    await until(() => (seen.get("next") ?? 0) > 50);
    // The call that was under way goes on with the instance that has it.
    chat.write(Buffer.from("after"));
    const [message] = (await once(chat, "data")) as [Buffer];
    expect(message.toString()).toBe("after");
    chat.end();
    await once(chat, "end");
    await lead([at("next", next.port)]);
    await instance.leave();
    await until(() => (seen.get("next") ?? 0) > 200);
    stop = true;
    await Promise.all(callers);
    expect(failures).toEqual([]);
    instance = await grpcInstance("i1");
    await lead([at("i1", instance.port)]);
  });
});
