// Terminals over WebSocket: finds the route, asks who it is, opens the session and carries its bytes both ways (contract/terminal.ts has the wire form).
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { apiPrefix, routes } from "@berth/contract/api.ts";
import type { Problem } from "@berth/contract/errors.ts";
import {
  mostTerminalBytes,
  readTerminalControl,
  readTerminalFrame,
  terminalFrame,
  terminalProtocol,
  type TerminalControl,
} from "@berth/contract/terminal.ts";
import { WebSocketServer, type RawData, type WebSocket } from "ws";
import { BerthError } from "../core/errors.ts";
import type { Principal } from "../db/permissions.ts";
import type { Session } from "../engines/engine.ts";
import type { Call } from "../resources/call.ts";
import { rawAnswer } from "./clienterror.ts";
import type { RawInput } from "./validate.ts";

type TerminalRoute = "openTerminal";
export interface TerminalDeps {
  readonly validate: (name: TerminalRoute, raw: RawInput) => unknown;
  readonly open: (name: TerminalRoute, input: unknown, call: Call) => Promise<Session>;
  readonly authorize: (
    request: IncomingMessage,
  ) => Promise<{ readonly principal: Principal; readonly by: string; readonly requestId: string }>;
  readonly problem: (error: unknown, requestId: string) => Problem;
}

const pattern = new RegExp(`^${(apiPrefix + routes.openTerminal.path).replace(/:(\w+)/g, "(?<$1>[^/]+)")}$`);

export function serveTerminals(server: Server, deps: TerminalDeps): void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: mostTerminalBytes + 1,
    handleProtocols: (protocols) => (protocols.has(terminalProtocol) ? terminalProtocol : false),
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrade(deps, sockets, request, socket, head).catch((error: unknown) => {
      refuse(socket, deps.problem(error, ""));
    });
  });
}

async function upgrade(
  deps: TerminalDeps,
  sockets: WebSocketServer,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  socket.on("error", () => {
    socket.destroy();
  });
  const url = new URL(request.url ?? "/", "http://server");
  const found = pattern.exec(url.pathname);
  if (found === null) throw new BerthError("not_found", { kind: "page", name: url.pathname, hint: `The API is under ${apiPrefix}.` });
  const caller = await deps.authorize(request);
  const params = Object.fromEntries(Object.entries(found.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]));
  const gone = new AbortController();
  socket.once("close", () => {
    gone.abort(new BerthError("client_closed"));
  });
  const session = await deps.open(
    "openTerminal",
    deps.validate("openTerminal", { params, query: Object.fromEntries(url.searchParams), body: undefined }),
    { ...caller, signal: gone.signal },
  );
  sockets.handleUpgrade(request, socket, head, (client) => {
    carry(client, session);
  });
}

function carry(client: WebSocket, session: Session): void {
  const control = (message: TerminalControl): void => {
    client.send(JSON.stringify(message));
  };
  session.stream.on("data", (bytes: Buffer) => {
    client.send(terminalFrame("stdout", bytes));
    // A caller that reads slowly slows the command down, not the server's memory up.
    if (client.bufferedAmount > mostTerminalBytes) {
      session.stream.pause();
      const wait = setInterval(() => {
        if (client.bufferedAmount > mostTerminalBytes / 2 && client.readyState === client.OPEN) return;
        clearInterval(wait);
        session.stream.resume();
      }, 20);
    }
  });
  session.stream.on("error", () => {
    client.close(1011);
  });
  client.on("message", (data: RawData, binary: boolean) => {
    const bytes = Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
    if (binary) {
      const frame = readTerminalFrame(bytes);
      if (frame?.channel === "stdin") session.stream.write(frame.bytes);
      return;
    }
    const message = readTerminalControl(bytes.toString("utf8"));
    if (message?.type === "resize") session.resize(message.columns, message.rows);
    if (message?.type === "eof") session.stream.end();
  });
  client.on("close", () => {
    session.stream.destroy();
  });
  client.on("error", () => {
    session.stream.destroy();
  });
  session.exit.then(
    (exit) => {
      control({ type: "exit", ...exit });
      client.close(1000);
    },
    () => {
      client.close(1011);
    },
  );
}

function refuse(socket: Duplex, problem: Problem): void {
  socket.end(rawAnswer(problem));
}
