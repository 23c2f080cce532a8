// The HTTP servers of a router: the public one and one for each port with a listener of its own. Parsing is Node's; nothing here reads bytes.
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from "node:http";
import { createServer as createTlsServer, type Server as HttpsServer } from "node:https";
import { Server as NetServer, type Socket } from "node:net";
import type { ConnectionKind, RouterLimits } from "../ipc.ts";
import { isUnreadable, makeUnreadable } from "./acceptable.ts";
import type { Direct, RouterContext } from "./context.ts";
import { Crowd } from "./crowd.ts";
import { Exchange } from "./exchange.ts";
import { changeToHttp2, isPreface, type ParseError } from "./h2/preface.ts";
import { serveHttp2 } from "./h2/sessions.ts";
import { EdgeResponse } from "./response.ts";
import type { SocketSource } from "./sockets.ts";
import { awaitTurn, hasTurn } from "./turns.ts";
import { handleUpgrade } from "./upgrade.ts";

function httpOptions({ headerBytes, idleTimeout, headersTimeout }: RouterLimits) {
  return {
    ServerResponse: EdgeResponse,
    maxHeaderSize: headerBytes,
    // Longer than the usual client keeps a connection, so that it is the client who closes an idle one and no request meets a closing server.
    keepAliveTimeout: idleTimeout,
    headersTimeout,
    requestTimeout: 0,
    connectionsCheckingInterval: headersTimeout === 0 ? 5_000 : Math.min(5_000, Math.max(100, headersTimeout / 4)),
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    insecureHTTPParser: false,
    // Node would refuse it by itself, out of turn; `destination` does.
    requireHostHeader: false,
    optimizeEmptyRequests: true,
    shouldUpgradeCallback: mayUpgrade,
  } as const;
}

/** `direct`: every request goes to its port, whatever the host. */
export function createHttpServer(ctx: RouterContext, direct: Direct | undefined): Server<typeof IncomingMessage, typeof EdgeResponse> {
  const plain = (): Server<typeof IncomingMessage, typeof EdgeResponse> => {
    const one = createServer(httpOptions(ctx.limits));
    serve(one, ctx, direct, false);
    return one;
  };
  const server = plain();
  const { idleTimeout } = ctx.limits;
  // Often: when many clients come at once, each has a parser until it rests.
  const lookEvery = idleTimeout === 0 ? 200 : Math.min(200, Math.max(50, idleTimeout / 4));
  const crowd = new Crowd({ serve: plain, idleTimeout, lookEvery, now: ctx.now });
  // Not before: a server whose port somebody else holds never listens nor closes, and there is another one for every try.
  server.once("listening", () => {
    ctx.crowds.add(crowd);
  });
  server.once("close", () => {
    ctx.crowds.delete(crowd);
    crowd.end();
  });
  const kind: ConnectionKind = direct === undefined ? "public" : "internal";
  const count = counter(ctx, kind);
  // Node's own listener takes a connection for the HTTP server at once; here it is the last one, for those that shall be taken so.
  const takers = server.listeners("connection");
  server.removeAllListeners("connection").on("connection", (socket: Socket) => {
    const crowded = isCrowded(ctx);
    const refused = direct?.sibling !== true && ctx.doorkeeper?.admit(socket, "http") === false;
    if (refused) makeUnreadable(socket);
    else {
      count(socket);
      socket.on("end", leaveSoon);
    }
    if (crowded && !refused) crowd.take(socket);
    else for (const take of takers) Reflect.apply(take, server, [socket]);
  });
  return server;
}

function isCrowded({ stats, limits }: RouterContext): boolean {
  return stats.connections.public.open + stats.connections.internal.open >= limits.restFrom;
}

/** The public one over TLS, with the router's certificates. */
export function createHttpsServer(ctx: RouterContext): HttpsServer<typeof IncomingMessage, typeof EdgeResponse> {
  const server = createTlsServer({ ...httpOptions(ctx.limits), ...ctx.certificates.options() });
  serve(server, ctx, undefined, true);
  const count = counter(ctx, "secure");
  server.on("connection", (socket: Socket) => {
    if (ctx.doorkeeper?.admit(socket, "tls") !== false) count(socket);
  });
  const takers = server.listeners("secureConnection");
  server.removeAllListeners("secureConnection").on("secureConnection", (socket) => {
    if (socket.alpnProtocol === "h2") {
      serveHttp2({ ctx, direct: undefined, secure: true }, socket);
      return;
    }
    socket.on("end", leaveSoon);
    for (const take of takers) Reflect.apply(take, server, [socket]);
  });
  return server;
}

/** Counts a connection until it is closed. Neither it nor what else every connection gets makes a closure: thousands of idle clients would each hold one. */
function counter({ stats }: RouterContext, kind: ConnectionKind): (socket: Socket) => void {
  const closed = (): void => {
    stats.closed(kind);
  };
  return (socket) => {
    stats.opened(kind);
    socket.on("close", closed);
  };
}

/** `secure`: clients come over TLS. */
function serve(
  server: Server<typeof IncomingMessage, typeof EdgeResponse> | HttpsServer<typeof IncomingMessage, typeof EdgeResponse>,
  ctx: RouterContext,
  direct: Direct | undefined,
  secure: boolean,
): void {
  server.timeout = 0;
  // However many there are within the size of a head: Node would leave out those beyond a thousand without a word, and a request is passed on whole or not at all.
  server.maxHeadersCount = 0;
  // A client may end its side and wait for its answer (RFC 9112, 9.6). Not in Node's types, but as old as its server.
  Object.assign(server, { httpAllowHalfOpen: true });
  const begin = (req: IncomingMessage, res: EdgeResponse, expectsContinue: boolean): void => {
    if (isUnreadable(req.socket)) return;
    if (hasTurn(res)) new Exchange(ctx, req, res, expectsContinue).begin(direct, secure);
    else
      awaitTurn(res, () => {
        begin(req, res, expectsContinue);
      });
  };
  const beginOrdinary = (req: IncomingMessage, res: EdgeResponse): void => {
    begin(req, res, false);
  };
  server.on("request", beginOrdinary);
  server.on("checkExpectation", beginOrdinary);
  server.on("checkContinue", (req, res) => {
    begin(req, res, true);
  });
  server.on("upgrade", (req, socket, head: Buffer) => {
    // Node listens to it no more, and an answer to what came before may still be on its way: without a listener a reset would be an error of the whole router.
    socket.on("error", () => socket.destroy());
    if (!isUnreadable(req.socket)) void handleUpgrade(ctx, direct, secure, req, socket, head);
  });
  server.on("connect", (_req, socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(refusal(405));
  });
  server.on("clientError", (error: ParseError, socket) => {
    const client = socket as Socket;
    if (!secure && isPreface(error, client) && !isUnreadable(client)) changeToHttp2({ ctx, direct, secure }, client, error.rawPacket);
    else refuseRest(ctx, error, client);
  });
}

/** ms that a client which ended its side is still answered. Most of them are gone for good, and an event stream would never notice. */
const halfOpenFor = 2_000;

function leaveSoon(this: Socket): void {
  const timer = setTimeout(() => {
    this.destroy();
  }, halfOpenFor).unref();
  this.once("close", () => {
    clearTimeout(timer);
  });
}

/** Node notes the response that has its turn on the connection here; those of later requests wait behind it. */
interface WithTurn {
  readonly _httpMessage?: EdgeResponse | null;
}
const refused = new WeakSet<Socket>();

/** What came is no request. Requests before it on the connection are answered first and in order, then this is, and then the connection ends. */
function refuseRest(ctx: RouterContext, error: NodeJS.ErrnoException, socket: Socket): void {
  // Anything but bytes that are no request: a connection that broke, or a handshake that failed.
  const parsed = error.code?.startsWith("HPE_") === true || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  if (!parsed || !socket.writable) {
    socket.destroy();
    return;
  }
  // Every later byte is an error again.
  if (refused.has(socket)) return;
  refused.add(socket);
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const next = (): void => {
    const res = (socket as WithTurn)._httpMessage;
    if (socket.destroyed) return;
    if (res === undefined || res === null) {
      ctx.stats.countUnrouted(status);
      socket.end(refusal(status), () => {
        socket.destroy();
      });
    } else if (res.req.complete) {
      res.once("close", () => {
        setImmediate(next);
      });
    } else {
      res.exchange?.malformed();
    }
  };
  next();
}

/** Offers of HTTP/2 (some clients send one with every request), and anything with a body, are served as ordinary requests, as if they did not ask. */
function mayUpgrade(req: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": encoding, upgrade } = req.headers;
  return encoding === undefined && (length === undefined || length === "0") && !/\bh2c?\b/i.test(upgrade ?? "");
}

/** To what was not read far enough to know who asks for what. */
function refusal(status: number): string {
  const reason = STATUS_CODES[status] ?? "";
  const text = `${String(status)} ${reason}\n`;
  return `HTTP/1.1 ${String(status)} ${reason}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${String(text.length)}\r\n\r\n${text}`;
}

/**
 * Stops accepting and leaves open connections alone, idle ones too: http's own `close` would cut an idle connection on which a request is just arriving (promise 3).
 * Resolves when all of its connections are closed.
 */
export function stopAccepting(server: NetServer): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening)
      NetServer.prototype.close.call(server, () => {
        resolve();
      });
    else resolve();
  });
}

/** Opens it, shared with the other routers through the primary. Resolves with the error's code when the address cannot be used. */
export async function listen(sockets: SocketSource, server: NetServer, host: string, port: number): Promise<string | undefined> {
  const handle = await sockets.obtain(host, port);
  if (typeof handle === "string") return handle;
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      server.off("listening", opened);
      handle.close();
      sockets.giveBack(host, port);
      resolve(error.code ?? "UNKNOWN");
    };
    const opened = (): void => {
      server.off("error", failed);
      // Later errors are of single accepts (out of file descriptors, for one) and must not end the process.
      server.on("error", () => undefined);
      resolve(undefined);
    };
    server.once("error", failed).once("listening", opened);
    server.listen(handle, 1024);
  });
}
