// WebSockets: finds the route, asks who it is, opens what is asked for, and hands both ends to whoever carries bytes between them.
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { apiPrefix, routes } from "@berth/contract/api.ts";
import type { Problem } from "@berth/contract/errors.ts";
import { mostPortBytes, portProtocol } from "@berth/contract/port.ts";
import { mostTerminalBytes, terminalProtocol } from "@berth/contract/terminal.ts";
import { WebSocketServer, type WebSocket } from "ws";
import { BerthError } from "../core/errors.ts";
import type { Principal } from "../db/permissions.ts";
import type { Call, Handlers } from "../resources/call.ts";
import { rawAnswer } from "./clienterror.ts";
import { carryPort } from "./port.ts";
import { carryTerminal } from "./terminal.ts";
import type { RawInput } from "./validate.ts";

type SocketRoute = "openTerminal" | "openPort";
export interface SocketDeps {
  readonly validate: (name: SocketRoute, raw: RawInput) => unknown;
  readonly handlers: Pick<Handlers, SocketRoute>;
  readonly authorize: (
    request: IncomingMessage,
  ) => Promise<{ readonly principal: Principal; readonly by: string; readonly requestId: string }>;
  readonly problem: (error: unknown, requestId: string) => Problem;
}

interface Socket {
  readonly pattern: RegExp;
  readonly server: WebSocketServer;
  readonly open: (deps: SocketDeps, raw: RawInput, call: Call) => Promise<Opened>;
}

interface Opened {
  /** What was opened; it may end, also with an error, before anybody carries its bytes. */
  readonly stream: Duplex;
  readonly carry: (client: WebSocket) => void;
}

const sockets: readonly Socket[] = [
  {
    ...wire("openTerminal", terminalProtocol, mostTerminalBytes + 1),
    open: async ({ handlers, validate }, raw, call) => {
      const session = await handlers.openTerminal(validate("openTerminal", raw) as never, call);
      return { stream: session.stream, carry: (client) => carryTerminal(client, session) };
    },
  },
  {
    ...wire("openPort", portProtocol, mostPortBytes),
    open: async ({ handlers, validate }, raw, call) => {
      const stream = await handlers.openPort(validate("openPort", raw) as never, call);
      return { stream, carry: (client) => carryPort(client, stream) };
    },
  },
];

function wire(name: SocketRoute, protocol: string, maxPayload: number): Pick<Socket, "pattern" | "server"> {
  return {
    pattern: new RegExp(`^${(apiPrefix + routes[name].path).replace(/:(\w+)/g, "(?<$1>[^/]+)")}$`),
    server: new WebSocketServer({
      noServer: true,
      maxPayload,
      handleProtocols: (protocols) => (protocols.has(protocol) ? protocol : false),
    }),
  };
}

export function serveSockets(server: Server, deps: SocketDeps): void {
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrade(deps, request, socket, head).catch((error: unknown) => {
      socket.end(rawAnswer(deps.problem(error, "")));
    });
  });
}

async function upgrade(deps: SocketDeps, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  socket.on("error", () => {
    socket.destroy();
  });
  const url = new URL(request.url ?? "/", "http://server");
  const found = sockets.flatMap((one) => {
    const groups = one.pattern.exec(url.pathname)?.groups;
    return groups === undefined ? [] : [{ ...one, groups }];
  })[0];
  if (found === undefined) throw new BerthError("not_found", { kind: "page", name: url.pathname, hint: `The API is under ${apiPrefix}.` });
  if (request.headers["sec-websocket-key"] === undefined || request.headers.upgrade?.toLowerCase() !== "websocket")
    throw new BerthError("invalid_request", { reason: "this page is a WebSocket (RFC 6455)" });
  const caller = await deps.authorize(request);
  const params = Object.fromEntries(Object.entries(found.groups).map(([key, value]) => [key, decodeURIComponent(value)]));
  const gone = new AbortController();
  socket.once("close", () => {
    gone.abort(new BerthError("client_closed"));
  });
  const raw = { params, query: Object.fromEntries(url.searchParams), body: undefined };
  const { stream, carry } = await found.open(deps, raw, { ...caller, signal: gone.signal });
  stream.on("error", () => undefined);
  if (stream.destroyed) throw stream.errored ?? new BerthError("client_closed");
  let carried = false;
  found.server.handleUpgrade(request, socket, head, (client) => {
    carried = true;
    carry(client);
  });
  // The client left while it was opened, or does not speak the protocol.
  if (!carried) stream.destroy();
}
