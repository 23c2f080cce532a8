// The HTTP servers of a router: the public one and one for each port with a listener of its own. Parsing is Node's; nothing here reads bytes.
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import type { ConnectionKind } from "../ipc.ts";
import type { Direct, RouterContext } from "./context.ts";
import { EdgeResponse, Exchange } from "./exchange.ts";
import { handleUpgrade } from "./upgrade.ts";

/** Longer than the usual client keeps a connection, so that it is the client who closes an idle one and no request meets a closing server. */
const keepAliveTimeout = 75_000;
const headersTimeout = 30_000;
const maxHeaderSize = 32 * 1024;

/** `direct`: every request goes to its port, whatever the host. */
export function createHttpServer(ctx: RouterContext, direct: Direct | undefined): Server<typeof IncomingMessage, typeof EdgeResponse> {
  const kind: ConnectionKind = direct === undefined ? "public" : "internal";
  const server = createServer({
    ServerResponse: EdgeResponse, maxHeaderSize, keepAliveTimeout, headersTimeout, requestTimeout: 0, connectionsCheckingInterval: 5_000,
    noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, insecureHTTPParser: false, optimizeEmptyRequests: true,
    shouldUpgradeCallback: mayUpgrade,
  });
  server.timeout = 0;
  server.on("connection", (socket: Socket) => {
    ctx.stats.opened(kind);
    socket.once("close", () => { ctx.stats.closed(kind); });
  });
  server.on("request", (req, res) => { new Exchange(ctx, req, res, false).begin(direct); });
  server.on("checkContinue", (req, res) => { new Exchange(ctx, req, res, true).begin(direct); });
  server.on("upgrade", (req, socket, head: Buffer) => { void handleUpgrade(ctx, direct, req, socket, head); });
  server.on("connect", (_req, socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(refusal(405));
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
    ctx.stats.countUnrouted(status);
    socket.end(refusal(status), () => { socket.destroy(); });
  });
  return server;
}

/** Offers of HTTP/2 (some clients send one with every request), and anything with a body, are served as ordinary requests, as if they did not ask. */
function mayUpgrade(req: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": encoding, upgrade } = req.headers;
  return encoding === undefined && (length === undefined || length === "0") && !/\bh2c?\b/i.test(upgrade ?? "");
}

function refusal(status: number): string {
  return `HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ""}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`;
}

/**
 * Stops accepting and leaves open connections alone, idle ones too: http's own `close` would cut an idle connection on which a request is just arriving (promise 3).
 * Resolves when all of its connections are closed.
 */
export function stopAccepting(server: NetServer): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) NetServer.prototype.close.call(server, () => { resolve(); });
    else resolve();
  });
}

/** Opens it, shared with the other routers through the primary. Resolves with the error's code when the address cannot be used. */
export function listen(server: NetServer, host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      server.off("listening", opened);
      resolve(error.code ?? "UNKNOWN");
    };
    const opened = (): void => {
      server.off("error", failed);
      // Later errors are of single accepts (out of file descriptors, for one) and must not end the process.
      server.on("error", () => undefined);
      resolve(undefined);
    };
    server.once("error", failed).once("listening", opened);
    server.listen({ host, port, backlog: 1024 });
  });
}
