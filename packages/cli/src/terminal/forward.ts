// `berth forward`: listens on this machine, and carries each connection to a port of an instance over a WebSocket of its own (contract/port.ts has the wire form).
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { mostPortBytes, portProtocol, readPortControl } from "@berth/contract/port.ts";
import { WebSocket, type RawData } from "ws";
import type { Context } from "../context.ts";
import { Failure, UsageError, exitCodes } from "../failure.ts";
import { bytesOf, sendFrom, socketRefusal } from "./websocket.ts";

/** `port`: name or number in the instance, undefined for its first; `local`: 0 for any that is free. */
export interface Forwarding {
  readonly port: string | undefined;
  readonly local: number;
}

/** Which instance; undefined: any. */
interface Chosen {
  readonly instance: string | undefined;
  readonly cluster: string | undefined;
}

/** `5432`, `15432:5432`, `http`, `:http`, `8080:http`. Errors: UsageError. */
export function readForwarding(text: string): Forwarding {
  const parts = text.split(":");
  const [first = "", second] = parts;
  const port = second ?? first;
  const local = second === undefined ? (isNumber(first) ? first : "0") : first === "" ? "0" : first;
  if (parts.length > 2 || port === "" || !isNumber(local) || Number(local) > 65_535)
    throw new UsageError(`\`${text}\` is no port to forward.`, "Write PORT or LOCAL:PORT, as in `berth forward -c db 15432:5432`.");
  return { port, local: Number(local) };
}

const isNumber = (text: string): boolean => /^\d+$/.test(text);

/** Until the command is interrupted. Says where it listens once an instance was reached at each port. */
export async function forward(ctx: Context, wanted: readonly Forwarding[], of: Chosen): Promise<void> {
  const api = await ctx.api();
  const params = await ctx.inComponent();
  const dial = ({ port }: Forwarding): WebSocket => {
    const { url, headers } = api.openPort({ params, query: { instance: of.instance, cluster: of.cluster, port } });
    return new WebSocket(url, portProtocol, { headers, perMessageDeflate: false, maxPayload: mostPortBytes });
  };
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  try {
    for (const one of wanted) {
      // What cannot be reached is told now, and not to the first program that connects.
      const probe = dial(one);
      await opened(probe).finally(() => probe.terminate());
      const server = await listen(one.local, (socket) => {
        sockets.add(socket);
        socket.once("close", () => sockets.delete(socket));
        carry(socket, dial(one), (why) => ctx.out.note(why));
      });
      servers.push(server);
      ctx.out.line(`127.0.0.1:${String((server.address() as AddressInfo).port)} -> ${params.component} ${one.port ?? ""}`.trimEnd());
    }
    await new Promise<void>((resolve) => {
      if (ctx.signal.aborted) resolve();
      else ctx.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  }
}

function listen(port: number, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onConnection);
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        new Failure(exitCodes.failed, `Port ${String(port)} of this machine cannot be used: ${error.code ?? error.message}.`, {
          next: "Name another one, as in `berth forward 18080:http`.",
        }),
      ),
    );
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("open", () => resolve());
    socketRefusal(socket).catch(reject);
  });
}

/** Bytes both ways, each direction closed by itself. */
function carry(client: Socket, socket: WebSocket, tell: (why: string) => void): void {
  const failed = (error: Error): void => {
    tell(error.message);
    client.destroy();
  };
  socketRefusal(socket).catch(failed);
  socket.once("open", () => {
    client.on("data", sendFrom(client, socket, mostPortBytes));
    client.on("end", () => {
      if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ type: "eof" }));
    });
    client.resume();
  });
  socket.on("message", (data: RawData, binary: boolean) => {
    const bytes = bytesOf(data);
    if (binary) {
      if (client.write(bytes)) return;
      socket.pause();
      client.once("drain", () => socket.resume());
      return;
    }
    const message = readPortControl(bytes.toString("utf8"));
    if (message?.type === "eof") client.end();
    if (message?.type === "error") tell(message.detail);
  });
  socket.once("close", (code) => {
    // Cut off, and not ended: whoever reads must see that.
    if (code === 1000) client.end();
    else client.resetAndDestroy();
  });
  client.on("error", () => undefined);
  client.once("close", () => socket.terminate());
}
