// The far end of the tunnel between a server and an edge that is a container: HTTP/2 over the input and output of one process, in which every stream is a
// connection to a socket of the edge, to its router, or to an instance. Whoever may start a process here may reach all of them anyway.
import { constants, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { socketPair } from "../../os/socketpair.ts";
import { parseTarget, tunnelSettings } from "./target.ts";

/** Serves until the input ends. `runDir`: the folder of the edge's sockets. */
export async function serveTunnel(runDir: string, input: Readable, output: Writable): Promise<void> {
  const [near, far] = await socketPair(join(runDir, `tunnel-${String(process.pid)}`));
  input.pipe(far).pipe(output);
  const session = performServerHandshake(near, { settings: tunnelSettings });
  session.setLocalWindowSize(tunnelSettings.initialWindowSize * 4);
  session.on("stream", (stream, headers) => {
    const target = parseTarget(String(headers[":authority"]));
    if (headers[":method"] !== "CONNECT" || target === undefined) {
      stream.respond({ ":status": 400 }, { endStream: true });
      return;
    }
    lead(
      stream,
      "socket" in target
        ? connect({ path: join(runDir, `${target.socket}.sock`), allowHalfOpen: true })
        : connect({ ...target, allowHalfOpen: true }),
    );
  });
  await new Promise<void>((resolve) => {
    session.on("error", () => undefined).once("close", resolve);
    far.on("error", () => session.destroy());
    for (const how of ["error", "close"]) output.on(how, () => session.destroy());
    for (const how of ["end", "error", "close"]) input.once(how, () => session.destroy());
  });
}

function lead(stream: ServerHttp2Stream, socket: Socket): void {
  socket.once("connect", () => {
    if (stream.destroyed || stream.closed) {
      socket.destroy();
      return;
    }
    stream.respond({ ":status": 200 });
    stream.pipe(socket);
    socket.pipe(stream);
  });
  socket.on("error", (error) => {
    // Before the connection was there, that is the answer; afterwards the other end sees it break.
    if (!stream.headersSent && !stream.destroyed && !stream.closed)
      stream.respond({ ":status": 502, reason: error.message.slice(0, 200) }, { endStream: true });
    else stream.close(constants.NGHTTP2_CONNECT_ERROR);
  });
  stream.on("error", () => socket.destroy()).on("close", () => socket.destroy());
  socket.on("close", () => {
    if (!stream.writableEnded) stream.end();
  });
}
