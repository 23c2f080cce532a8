// Connections on which clients speak HTTP/2: one session each, whose streams are served as requests are. It bounds what a client may ask of a session, and ends one so that
// no request that was begun is cut off, and a client knows of every other that nobody acted on it (RFC 9113, 6.8).
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import type { Socket } from "node:net";
import type { Direct, Http2Session, RouterContext } from "../context.ts";
import { Exchange } from "../exchange.ts";
import { StreamAnswer, StreamRequest } from "./incoming.ts";
import { codes, endStream, nodeHttp2 } from "./module.ts";

/** Requests of one connection at the same time. */
const mostStreams = 128;
/** Bytes that a client may send ahead of what is read: of one request, and of all of a connection. */
const streamWindow = 128 * 1024;
const sessionWindow = 1024 * 1024;
/** Frames that ask for an answer and carry no request (PING, SETTINGS): at once, and per second. Many, since some gRPC clients measure the way so while they download. */
const frameBurst = 1_000;
const framesPerSecond = 500;
/** ms that a client which ended its side is still answered. */
const halfOpenFor = 2_000;
/** ms for a client to close a connection that is done. */
const closeWithin = 5_000;

export interface SessionDeps {
  readonly ctx: RouterContext;
  readonly direct: Direct | undefined;
  readonly secure: boolean;
}

/** Speaks HTTP/2 on a connection from its first byte on; bytes that were read already are to be put back before. */
export function serveHttp2(deps: SessionDeps, socket: Duplex): void {
  const session = new ClientSession(deps, socket as Socket);
  deps.ctx.sessions.add(session);
  if (deps.ctx.retiring) session.leave();
}

class ClientSession implements Http2Session {
  readonly #deps: SessionDeps;
  readonly #socket: Socket;
  readonly #session: ServerHttp2Session;
  readonly #open = new Map<ServerHttp2Stream, StreamAnswer>();
  /** Of those whose client had not taken everything when last looked at: how much it had taken, and since when. */
  #slow = new Map<ServerHttp2Stream, { readonly taken: number; readonly since: number }>();
  /** Since when it has no stream; how long that may last depends on whether there ever was one. */
  #idleSince: number;
  #used = false;
  #frames = frameBurst;
  #framesAt: number;

  constructor(deps: SessionDeps, socket: Socket) {
    const { ctx } = deps;
    this.#deps = deps;
    this.#socket = socket;
    this.#idleSince = ctx.now();
    this.#framesAt = this.#idleSince;
    const session = nodeHttp2().performServerHandshake(socket, {
      maxSettings: 32,
      // However many there are within the size of a head, as with HTTP/1.1.
      maxHeaderListPairs: 4096,
      strictSingleValueFields: false,
      settings: {
        enablePush: false,
        maxConcurrentStreams: mostStreams,
        maxHeaderListSize: ctx.limits.headerBytes,
        initialWindowSize: streamWindow,
      },
    });
    this.#session = session;
    session.setLocalWindowSize(sessionWindow);
    session.on("stream", this.#serve);
    session.on("error", ignore);
    session.on("ping", this.#count);
    session.on("remoteSettings", this.#count);
    session.once("close", () => {
      ctx.sessions.delete(this);
    });
    // A client may end its side and wait for its answers; most of them are gone for good.
    socket.once("end", () => {
      setTimeout(() => {
        socket.destroy();
      }, halfOpenFor).unref();
    });
  }

  /**
   * Takes no further streams, and ends with the last one. The GOAWAY names the last stream that is served: what the client sent behind it was not acted on, and it knows so
   * at once. A first GOAWAY that names none (RFC 9113, 6.8) would be no help, since nghttp2 serves no new stream after any.
   */
  leave(): void {
    const session = this.#session;
    if (!session.destroyed && !session.closed) session.close();
  }

  /** Ends it, whatever it is doing. */
  destroy(): void {
    this.#session.destroy();
  }

  /** Called now and then: ends what takes too long. */
  check(now: number): void {
    const { idleTimeout, headersTimeout, clientTimeout } = this.#deps.ctx.limits;
    const limit = this.#used ? idleTimeout : headersTimeout;
    if (this.#open.size === 0) {
      if (this.#session.closed && now - this.#idleSince > closeWithin) this.#socket.destroy();
      else if (limit > 0 && now - this.#idleSince > limit) this.leave();
    } else if (clientTimeout > 0) this.#endSlow(now, clientTimeout);
  }

  /** Ends answers of which the client took nothing for so long. It opens the window of a stream or does not, so that the connection itself shows nothing. */
  #endSlow(now: number, clientTimeout: number): void {
    const slow = new Map<ServerHttp2Stream, { readonly taken: number; readonly since: number }>();
    for (const [stream, answer] of this.#open) {
      if (stream.writableLength === 0) continue;
      const { taken } = answer;
      const before = this.#slow.get(stream);
      if (before?.taken !== taken) slow.set(stream, { taken, since: now });
      else if (now - before.since < clientTimeout) slow.set(stream, before);
      else stream.close(codes.cancel);
    }
    this.#slow = slow;
  }

  readonly #serve = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw: string[]): void => {
    const { ctx, direct, secure } = this.#deps;
    this.#used = true;
    // It comes a turn after its head, and may be gone by then.
    if (stream.destroyed) return;
    const request = new StreamRequest(stream, headers, raw, (flags & endStream) !== 0, this.#socket);
    const answer = new StreamAnswer(stream, request);
    this.#open.set(stream, answer);
    stream.once("close", () => {
      this.#open.delete(stream);
      this.#idleSince = ctx.now();
    });
    const expectsContinue = headers.expect?.toLowerCase() === "100-continue";
    new Exchange(ctx, request, answer, expectsContinue).begin(direct, secure);
  };

  /** nghttp2 bounds how many answers may wait to be read; this bounds the work for a client that does read them. */
  readonly #count = (): void => {
    const now = this.#deps.ctx.now();
    this.#frames = Math.min(frameBurst, this.#frames + ((now - this.#framesAt) * framesPerSecond) / 1000) - 1;
    this.#framesAt = now;
    if (this.#frames < 0) this.#session.destroy(new Error("too many frames"), codes.enhanceYourCalm);
  };
}

function ignore(): void {
  // `close` follows.
}
