// Commands and ports when the connection has a bad day: WebSockets with TLS to a server that the test makes.
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { testCertificate } from "../edge/testing/certificates.ts";
import { KubeApi } from "./api.ts";
import { exec, forward, type Exec } from "./streams.ts";
import { json, refusal, until } from "./testing/server.ts";

const made: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of made.splice(0).reverse()) await close();
});

const where = { namespace: "shop", pod: "web" };
const never = new AbortController().signal;
const status = (body: object): Buffer => Buffer.from(`\u0003${JSON.stringify(body)}`);

async function serve(): Promise<{ server: Server; api: KubeApi }> {
  const authority = testCertificate({ subject: "test authority", isAuthority: true });
  const { certificate: cert, key } = testCertificate({ hosts: ["localhost"], issuer: authority });
  const server = createServer({ cert, key });
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.listen(0, "localhost");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const api = new KubeApi({ server: `https://localhost:${String(port)}`, ca: authority.certificate, auth: { kind: "token", token: "t" } });
  made.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  made.push(() => api.close());
  return { server, api };
}

/** A server that speaks the protocol, and then does what the test wants. */
async function speak(take: (socket: WebSocket, url: string) => void): Promise<KubeApi> {
  const { server, api } = await serve();
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on("connection", (socket, request) => {
    socket.on("error", () => undefined);
    take(socket, request.url ?? "");
  });
  return api;
}

function quiet(session: Exec): Exec {
  session.stdout.on("error", () => undefined).resume();
  session.stderr?.on("error", () => undefined).resume();
  return session;
}

describe("a WebSocket that does not come about", () => {
  it("is the server's refusal, in its words", async () => {
    const { server, api } = await serve();
    let code = 403;
    server.on("upgrade", (_request, socket: Socket) => {
      const body = JSON.stringify(refusal(code, "Forbidden"));
      socket.end(`HTTP/1.1 ${String(code)} No\r\ncontent-type: application/json\r\ncontent-length: ${String(body.length)}\r\n\r\n${body}`);
    });
    await expect(exec(api, { ...where, command: ["true"] }, never)).rejects.toMatchObject({
      name: "KubeError",
      status: 403,
      reason: "Forbidden",
    });
    code = 401;
    await expect(forward(api, { ...where, port: 80 }, never)).rejects.toMatchObject({ name: "KubeUnreachable", code: "unauthorized" });
  });

  it("is refused by a server that knows no WebSockets, or not this protocol", async () => {
    const { server, api } = await serve();
    server.on("request", (_request, response) => json(response, 200, {}));
    await expect(exec(api, { ...where, command: ["true"] }, never)).rejects.toMatchObject({ name: "KubeError", status: 200 });
    const other = await serve();
    const sockets = new WebSocketServer({ server: other.server, handleProtocols: () => false });
    made.push(() => sockets.close());
    await expect(exec(other.api, { ...where, command: ["true"] }, never)).rejects.toMatchObject({ name: "KubeProtocolError" });
  });

  it("is given up when nobody answers, and let go of by who wanted it", async () => {
    const { server, api } = await serve();
    server.on("upgrade", () => undefined);
    await expect(api.webSocket("/x", {}, ["v5.channel.k8s.io"], never, 200)).rejects.toMatchObject({
      name: "KubeUnreachable",
      code: "timed_out",
    });
    const reason = new Error("not wanted any more");
    const controller = new AbortController();
    const waiting = exec(api, { ...where, command: ["true"] }, controller.signal);
    setTimeout(() => controller.abort(reason), 50);
    await expect(waiting).rejects.toBe(reason);
  });
});

describe("a command", () => {
  it("is asked for as it was given", async () => {
    const urls: string[] = [];
    const api = await speak((socket, url) => {
      urls.push(url);
      socket.send(status({ status: "Success" }), { binary: true });
    });
    await quiet(await exec(api, { ...where, container: "main", command: ["sh", "-c", "a&b=c"], stdin: true }, never)).exit;
    await quiet(await exec(api, { ...where, command: ["sh"], tty: true }, never)).exit;
    const path = "/api/v1/namespaces/shop/pods/web/exec";
    expect(urls).toEqual([
      `${path}?container=main&command=sh&command=-c&command=a%26b%3Dc&stdin=true&stdout=true&stderr=true&tty=false`,
      `${path}?command=sh&stdin=false&stdout=true&stderr=false&tty=true`,
    ]);
  });

  it.each([
    ["a good end", { status: "Success" }, { exitCode: 0 }],
    [
      "an exit code",
      { status: "Failure", reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: "42" }] } },
      { exitCode: 42 },
    ],
  ])("has %s", async (_what, said, expected) => {
    const api = await speak((socket) => {
      socket.send(Buffer.from("\u0001out"));
      socket.send(status(said));
    });
    const session = await exec(api, { ...where, command: ["x"] }, never);
    session.stderr?.resume();
    expect([await text(session.stdout), await session.exit]).toEqual(["out", expected]);
  });

  it.each([
    [
      "a failure of the runtime",
      status({ status: "Failure", reason: "InternalError", code: 500, message: "no such program" }),
      "no such program",
    ],
    [
      "an exit code that is none",
      status({ status: "Failure", reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: "x" }] } }),
      "500",
    ],
    ["garbage", Buffer.from("\u0003<html>"), "<html>"],
  ])("fails with %s", async (_what, bytes, words) => {
    const api = await speak((socket) => socket.send(bytes));
    const session = quiet(await exec(api, { ...where, command: ["x"] }, never));
    await expect(session.exit).rejects.toMatchObject({ name: "KubeError", message: expect.stringContaining(words) });
  });

  it.each([
    ["cut", (socket: WebSocket) => socket.terminate()],
    ["closed without a word", (socket: WebSocket) => socket.close(1000)],
    ["broken", (socket: WebSocket) => (socket as unknown as { _socket: Socket })._socket.write("\u00ff\u00ff\u00ff\u00ff")],
  ])("says that its connection was %s", async (_what, end) => {
    const api = await speak((socket) => {
      socket.send(Buffer.from("\u0001begun"));
      socket.on("message", () => end(socket));
    });
    const session = await exec(api, { ...where, command: ["x"], stdin: true }, never);
    session.stderr?.on("error", () => undefined).resume();
    const output = text(session.stdout).catch((error: unknown) => error);
    session.stdin?.write("now");
    await expect(session.exit).rejects.toMatchObject({ name: "KubeUnreachable" });
    expect(await output).toMatchObject({ name: "KubeUnreachable" });
    await until(() => session.stdin?.destroyed === true);
  });

  it("gets its input and its end, and empty messages are none of its output", async () => {
    const got: string[] = [];
    const api = await speak((socket) => {
      for (const channel of [0, 1, 2, 3]) socket.send(Buffer.of(channel));
      socket.on("message", (data: Buffer) => {
        got.push(data.toString("latin1"));
        if (data[0] === 255) socket.send(status({ status: "Success" }));
      });
    });
    const session = quiet(await exec(api, { ...where, command: ["x"], stdin: true }, never));
    session.resize(80, 24);
    session.stdin?.end("x".repeat(40_000));
    expect(await session.exit).toEqual({ exitCode: 0 });
    expect(got).toEqual(['\u0004{"Width":80,"Height":24}', `\u0000${"x".repeat(32_768)}`, `\u0000${"x".repeat(7_232)}`, "\u00ff\u0000"]);
  });

  it("whose error output nobody wants is not held up by it", async () => {
    const api = await speak((socket) => {
      for (let index = 0; index < 64; index++) socket.send(Buffer.concat([Buffer.of(2), Buffer.alloc(65_536)]));
      socket.send(Buffer.from("\u0001out"));
      socket.send(status({ status: "Success" }));
    });
    const session = await exec(api, { ...where, command: ["x"] }, never);
    session.stderr?.destroy();
    expect([await text(session.stdout), await session.exit]).toEqual(["out", { exitCode: 0 }]);
  });
});

describe("a port", () => {
  const begin = (socket: WebSocket): void => {
    for (const channel of [0, 1]) socket.send(Buffer.of(channel, 80, 0));
  };

  it("begins after the port's number, however that is cut", async () => {
    const api = await speak((socket) => {
      socket.send(Buffer.of(1, 80));
      socket.send(Buffer.of(0, 80));
      socket.send(Buffer.concat([Buffer.of(0, 0), Buffer.from("hello")]));
      socket.send(Buffer.of(1, 0));
      socket.close(1000);
    });
    expect(await text(await forward(api, { ...where, port: 80 }, never))).toBe("hello");
  });

  it("that refuses says so, to who writes, too", async () => {
    const api = await speak((socket) => {
      begin(socket);
      socket.send(Buffer.from("\u0001connection refused"));
    });
    const connection = await forward(api, { ...where, port: 80 }, never);
    const failed = once(connection, "error");
    const write = (): void => {
      connection.write(Buffer.alloc(100_000), (error) => {
        if (error == null && !connection.destroyed) write();
      });
    };
    write();
    expect((await failed)[0]).toMatchObject({ name: "KubeError", reason: "PortForward", message: "connection refused" });
  });

  it("says that its connection was cut, and cuts it when nobody wants it any more", async () => {
    let isOver = false;
    const api = await speak((socket) => {
      begin(socket);
      socket.on("close", () => (isOver = true));
      socket.on("message", () => socket.terminate());
    });
    const cut = await forward(api, { ...where, port: 80 }, never);
    cut.write("x");
    await expect(text(cut)).rejects.toMatchObject({ name: "KubeUnreachable", code: "cut" });
    isOver = false;
    const unwanted = await forward(api, { ...where, port: 80 }, never);
    unwanted.destroy();
    await until(() => isOver);
  });
});
