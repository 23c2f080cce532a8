// Both ends of a tunnel over a pair of sockets in place of a daemon's exec, which carries bytes in frames.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex, PassThrough } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { DockerApi } from "../../docker/api.ts";
import { serveTunnel } from "../../edge/container/tunnel.ts";
import { dialThrough } from "../../engines/dial.ts";
import { hostSockets } from "../../paths.ts";
import { openSockets, type LocalSockets } from "./sockets.ts";
import { openTunnel, type Tunnel } from "./tunnel.ts";

let folder: string;
let echo: Server;
let tunnel: Tunnel;
let far: { readonly input: PassThrough; readonly output: PassThrough };
let served: Promise<void>;
let exec: Duplex;
let sockets: LocalSockets;
let paths: ReturnType<typeof hostSockets>;
const signal = AbortSignal.timeout(240_000);

/** What the daemon does: output is framed, input is not. */
function framed(output: PassThrough): PassThrough {
  const frames = new PassThrough();
  output.on("data", (data: Buffer) => {
    const head = Buffer.alloc(8);
    head[0] = 1;
    head.writeUInt32BE(data.length, 4);
    frames.write(Buffer.concat([head, data]));
  });
  output.once("close", () => frames.end());
  return frames;
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tu-"));
  echo = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => undefined).pipe(socket));
  await once(echo.listen(join(folder, "agent.sock")), "listening");
  far = { input: new PassThrough(), output: new PassThrough() };
  served = serveTunnel(folder, far.input, far.output);
  exec = Duplex.from({ readable: framed(far.output), writable: far.input });
  const api = { json: () => Promise.resolve({ Id: "x" }), hijack: () => Promise.resolve(exec) } as unknown as DockerApi;
  tunnel = await openTunnel(api, "edge", [], join(folder, "pair"), signal);
  paths = hostSockets({ run: folder }, "away");
  sockets = await openSockets("away", paths);
  sockets.use(tunnel, "");
});
afterEach(async () => {
  tunnel.close();
  await sockets.close();
  far.input.destroy();
  await served;
  echo.close();
  rmSync(folder, { recursive: true, force: true });
});

test("carries many connections at once, each whole and each with its own end", async () => {
  const sent = Array.from({ length: 20 }, (_, index) => Buffer.alloc(300_000, index));
  const back = await Promise.all(
    sent.map((bytes) => {
      const socket = connect({ path: paths.agent, allowHalfOpen: true });
      socket.end(bytes);
      return buffer(socket);
    }),
  );
  for (const [index, bytes] of back.entries()) expect(bytes.equals(sent[index] ?? Buffer.alloc(0))).toBe(true);
});

test("keeps a connection for as long as both ends want it, whatever time it had to be made", async () => {
  const time = new AbortController();
  const stream = await tunnel.open({ socket: "agent" }, time.signal);
  time.abort(new Error("its time is over"));
  await new Promise((resolve) => setTimeout(resolve, 100));
  stream.end("still here");
  expect(await text(stream)).toBe("still here");
});

test("leads to addresses, and says what cannot be reached", async () => {
  const server = createServer((socket) => socket.end("here"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  expect(await text(await dialThrough(paths.dial, { host: "127.0.0.1", port }, signal))).toBe("here");
  server.close();
  await once(server, "close");
  await expect(dialThrough(paths.dial, { host: "127.0.0.1", port }, signal)).rejects.toThrow(/ECONNREFUSED/);
});

test("answers at once with the reason while there is no tunnel", async () => {
  sockets.use(undefined, "the daemon is away");
  const answer = await text(connect(paths.agent));
  expect(answer).toMatch(/^HTTP\/1\.1 503/);
  expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n"))) as object).toMatchObject({
    code: "engine_unavailable",
    params: { cluster: "away", reason: "the daemon is away" },
    failure: { code: "cluster_unreachable" },
    retryable: true,
  });
});

test("answers so also who has much to say, and lets him go", async () => {
  sockets.use(undefined, "the daemon is away");
  const socket = connect(paths.agent);
  // More than anybody keeps for a reader that does not come.
  socket.write(Buffer.alloc(10_000_000));
  let answer = "";
  socket.setEncoding("utf8").on("data", (piece: string) => (answer += piece));
  await once(socket, "close");
  expect(answer).toMatch(/^HTTP\/1\.1 503/);
});

test("survives a break in the middle of everything, and tells of it", async () => {
  const busy = Array.from({ length: 10 }, () => {
    const socket = connect(paths.agent)
      .on("error", () => undefined)
      .resume();
    socket.write(Buffer.alloc(1_000_000));
    return new Promise((resolve) => socket.once("close", resolve));
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  exec.destroy(new Error("the daemon is gone"));
  expect(await tunnel.ended).toBeInstanceOf(Error);
  sockets.use(undefined, "it broke");
  await Promise.all(busy);
  await expect(tunnel.open({ socket: "agent" }, signal)).rejects.toThrow("the tunnel is closed");
});
