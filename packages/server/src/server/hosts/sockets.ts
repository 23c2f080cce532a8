// The sockets of an edge elsewhere, as if it were here: whoever speaks to an edge, an agent or a collector does it over a path, wherever they are. While there is
// no tunnel, every call is answered at once with why.
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { cause } from "@berth/contract/causes.ts";
import type { ProblemBody } from "../../engines/agent/protocol.ts";
import { edgeSockets, parseTarget, type TunnelTarget } from "../../edge/container/target.ts";
import type { HostSockets } from "../../paths.ts";
import type { Tunnel } from "./tunnel.ts";

/** ms for a connection at the other end. */
const connectTimeout = 10_000;

export interface LocalSockets {
  /** undefined: there is none, for the reason that is given. */
  use(tunnel: Tunnel | undefined, reason: string): void;
  close(): Promise<void>;
}

export async function openSockets(cluster: string, paths: HostSockets): Promise<LocalSockets> {
  let tunnel: Tunnel | undefined;
  let reason = "it is being connected";
  const open = new Set<Duplex>();

  const hold = <T extends Duplex>(stream: T): T => {
    open.add(stream);
    stream.once("close", () => open.delete(stream));
    return stream;
  };
  const lead = async (socket: Duplex, target: TunnelTarget, greeting = ""): Promise<void> => {
    hold(socket).on("error", () => undefined);
    let stream: Duplex;
    try {
      if (tunnel === undefined) throw new Error(reason);
      stream = hold(await tunnel.open(target, AbortSignal.timeout(connectTimeout)));
    } catch (error) {
      socket.end(refusal(cluster, tunnel === undefined ? reason : error instanceof Error ? error.message : String(error)));
      // Whoever still sends cannot end before somebody takes it.
      socket.resume();
      return;
    }
    if (greeting !== "") socket.write(greeting);
    socket.pipe(stream);
    stream.pipe(socket);
    socket.once("close", () => stream.destroy());
    stream.on("error", () => socket.destroy()).once("close", () => socket.destroy());
  };

  const servers = await Promise.all([
    ...edgeSockets.map(async (socket) => {
      const server = createServer({ allowHalfOpen: true }, (connection: Socket) => void lead(connection, { socket }));
      return listen(server, paths[socket]);
    }),
    (async () => {
      const server = createHttpServer((_call, answer) => answer.writeHead(405).end());
      server.on("connect", (call: IncomingMessage, connection: Duplex) => {
        const target = parseTarget(call.url ?? "");
        connection.on("error", () => connection.destroy());
        if (target === undefined) connection.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        else void lead(connection, target, "HTTP/1.1 200 OK\r\n\r\n");
      });
      return listen(server, paths.dial);
    })(),
  ]);

  return {
    use(given, why) {
      tunnel = given;
      reason = why;
      // What went through the one before is gone with it.
      if (given === undefined) for (const stream of open) stream.destroy();
    },
    async close() {
      for (const stream of open) stream.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
      for (const name of [...edgeSockets, "dial"] as const) rmSync(paths[name], { force: true });
    },
  };
}

async function listen<S extends Server>(server: S, path: string): Promise<S> {
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

/** An HTTP answer that the clients of edges, agents and collectors understand alike. */
function refusal(cluster: string, reason: string): string {
  const body: ProblemBody = {
    code: "engine_unavailable",
    params: { cluster, reason },
    failure: cause("cluster_unreachable", { cluster, reason }),
    retryable: true,
  };
  const text = JSON.stringify(body);
  return `HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: ${String(Buffer.byteLength(text))}\r\nconnection: close\r\n\r\n${text}`;
}
