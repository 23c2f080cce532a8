// Sessions of one router with one endpoint that speaks HTTP/2 without TLS (h2c, by prior knowledge), and one stream of them for each request.
// As with connections of HTTP/1.1: a stream never retries, and who asked is told what became of the request, once.
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import type { AnswerSink, Failure, UpstreamCall } from "../connection.ts";
import { answerHead } from "../headers.ts";
import type { BodySink, Upload } from "../upload.ts";
import { codes, endStream, nodeHttp2 } from "./module.ts";

export interface StreamPoolDeps {
  readonly host: string;
  readonly port: number;
  readonly responseTimeout: number;
  readonly now: () => number;
}

const connectTimeout = 5_000;
/** ms that a session without a stream is kept. */
const idleFor = 60_000;
const mostBetweenChecks = 250;
/** Streams at the same time until the endpoint has said how many it takes. */
const fewStreams = 100;
/** Bytes that an endpoint may send ahead of what is read, of one answer. Of all together there is no bound but this: a client that reads slowly must not hold up others. */
const streamWindow = 64 * 1024;
const sessionWindow = 2 ** 31 - 1;

export class StreamPool {
  readonly #deps: StreamPoolDeps;
  readonly #sessions = new Set<EndpointSession>();
  readonly #checkEvery: number;
  #checker: NodeJS.Timeout | undefined;

  constructor(deps: StreamPoolDeps) {
    this.#deps = deps;
    this.#checkEvery = deps.responseTimeout === 0 ? mostBetweenChecks : Math.min(mostBetweenChecks, Math.max(10, deps.responseTimeout / 4));
  }

  /** A stream for one request, on a session that has room for it. */
  take(): UpstreamStream {
    for (const session of this.#sessions) if (session.hasRoom) return new UpstreamStream(session, this.#deps);
    const session = new EndpointSession(this.#deps, (gone) => {
      this.#forget(gone);
    });
    this.#sessions.add(session);
    this.#checker ??= setInterval(() => {
      const now = this.#deps.now();
      for (const one of this.#sessions) one.check(now);
    }, this.#checkEvery).unref();
    return new UpstreamStream(session, this.#deps);
  }

  /** Takes no further requests; what is under way ends first. */
  close(): void {
    for (const session of this.#sessions) session.leave();
  }

  #forget(session: EndpointSession): void {
    this.#sessions.delete(session);
    if (this.#sessions.size > 0) return;
    clearInterval(this.#checker);
    this.#checker = undefined;
  }
}

class EndpointSession {
  readonly session: ClientHttp2Session;
  readonly #now: () => number;
  readonly #streams = new Set<UpstreamStream>();
  /** Of the connection; Infinity once it stands. */
  #connectBy: number;
  #idleSince: number;
  #leaving = false;
  connected = false;

  constructor({ host, port, now }: StreamPoolDeps, onGone: (session: EndpointSession) => void) {
    this.#now = now;
    this.#idleSince = now();
    this.#connectBy = this.#idleSince + connectTimeout;
    // Not in the types yet: an answer may repeat a field, and is passed on as it is.
    const lenient: object = { strictSingleValueFields: false };
    const session = nodeHttp2().connect(`http://${host.includes(":") ? `[${host}]` : host}:${String(port)}`, {
      // What the endpoint sends is the stack owner's own; its streams are as many as it says.
      maxSessionMemory: 1_000,
      maxHeaderListPairs: 4096,
      peerMaxConcurrentStreams: fewStreams,
      ...lenient,
      settings: { enablePush: false, initialWindowSize: streamWindow, maxHeaderListSize: 64 * 1024 },
    });
    this.session = session;
    session.once("connect", () => {
      this.connected = true;
      this.#connectBy = Infinity;
      session.setLocalWindowSize(sessionWindow);
      for (const stream of [...this.#streams]) stream.begin();
      if (this.#leaving) session.close();
    });
    session.on("error", ignore);
    session.once("close", () => {
      onGone(this);
      for (const stream of [...this.#streams]) stream.lost();
    });
  }

  get hasRoom(): boolean {
    const { session } = this;
    if (this.#leaving || session.closed || session.destroyed) return false;
    return this.#streams.size < (this.connected ? (session.remoteSettings.maxConcurrentStreams ?? Infinity) : fewStreams);
  }

  leave(): void {
    this.#leaving = true;
    if (this.connected || this.#streams.size === 0) this.session.close();
  }

  add(stream: UpstreamStream): void {
    this.#streams.add(stream);
  }

  remove(stream: UpstreamStream): void {
    if (this.#streams.delete(stream) && this.#streams.size === 0) this.#idleSince = this.#now();
  }

  check(now: number): void {
    if (now > this.#connectBy) this.session.destroy();
    else if (this.#streams.size === 0 && now - this.#idleSince > idleFor) this.leave();
    for (const stream of [...this.#streams]) stream.check(now);
  }
}

export class UpstreamStream implements BodySink, UpstreamCall {
  /** Its bodies need no framing of their own. */
  readonly frames = true;
  readonly #deps: StreamPoolDeps;
  readonly #session: EndpointSession;
  #sink: AnswerSink | undefined;
  #head: string[] = [];
  #headOnly = false;
  #upload: Upload | undefined;
  #uploading = false;
  #stream: ClientHttp2Stream | undefined;
  #deadline = Infinity;
  #trailers: readonly string[] = [];
  /** The endpoint said that this is all. */
  #whole = false;
  answering = false;

  constructor(session: EndpointSession, deps: StreamPoolDeps) {
    this.#session = session;
    this.#deps = deps;
    session.add(this);
  }

  /** Sends a request. `head`: see `streamHead`. `headOnly`: the answer has no body whatever it says. */
  send(sink: AnswerSink, head: string[], headOnly: boolean, upload: Upload | undefined): void {
    this.#sink = sink;
    this.#head = head;
    this.#headOnly = headOnly;
    this.#upload = upload;
    if (this.#session.connected) this.begin();
  }

  /** The connection stands: until now another endpoint could be tried. */
  begin(): void {
    const { session } = this.#session;
    const upload = this.#upload;
    if (this.#sink === undefined) return;
    if (session.closed || session.destroyed) return this.#fail("refused");
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(this.#head as never, { endStream: upload === undefined });
    } catch {
      return this.#fail("broken");
    }
    this.#stream = stream;
    this.#deadline = this.#answerBy();
    stream.on("error", ignore);
    stream.on("headers", (headers, _flags, raw: string[]) => {
      this.#sink?.onInform(Number(headers[":status"]), withoutPseudo(raw));
    });
    stream.on("response", (headers, flags, raw: string[]) => {
      this.#onHead(Number(headers[":status"]), raw, (flags & endStream) !== 0);
    });
    stream.on("data", this.#onData);
    stream.on("trailers", (_headers, _flags, raw: string[]) => {
      this.#trailers = withoutPseudo(raw);
      this.#whole = true;
    });
    stream.on("end", this.#onEnd);
    stream.on("close", () => {
      this.lost();
    });
    if (upload === undefined) return;
    this.#uploading = true;
    stream.on("drain", () => {
      this.#upload?.resume();
    });
    upload.start(this);
  }

  // What the upload asks for.

  write(data: Buffer | string): boolean {
    const stream = this.#stream;
    return stream === undefined || stream.closed || stream.destroyed || stream.write(data, "latin1");
  }

  cork(): void {
    this.#stream?.cork();
  }

  uncork(): void {
    this.#stream?.uncork();
  }

  uploaded(): void {
    this.#uploading = false;
    if (!this.answering) this.#deadline = this.#answerBy();
    if (this.#stream?.closed === false) this.#stream.end();
  }

  /** Reads on after `onBody` returned false. */
  resume(): void {
    this.#stream?.resume();
  }

  /** Ends it without a word to whoever made the request. */
  destroy(): void {
    this.#sink = undefined;
    this.#release();
    this.#cancel();
  }

  /** Called now and then: ends it when its time is over. */
  check(now: number): void {
    if (this.#uploading && !this.answering) this.#deadline = this.#answerBy();
    else if (now > this.#deadline) this.#fail("timeout");
  }

  /** No more comes of it. */
  lost(): void {
    if (this.#sink === undefined) return this.#release();
    const stream = this.#stream;
    if (stream === undefined) return this.#fail(this.#session.connected ? "unprocessed" : "refused");
    if (this.answering) return this.#fail("broken");
    // Neither was acted on: the endpoint says so, or it never had a number (RFC 9113, 8.7).
    const untouched = stream.rstCode === codes.refusedStream || stream.id === undefined;
    this.#fail(untouched ? "unprocessed" : "broken");
  }

  #answerBy(): number {
    return this.#deps.responseTimeout === 0 ? Infinity : this.#deps.now() + this.#deps.responseTimeout;
  }

  #onHead(status: number, raw: readonly string[], whole: boolean): void {
    this.answering = true;
    this.#upload?.forget();
    this.#deadline = Infinity;
    this.#whole ||= whole;
    const sink = this.#sink;
    sink?.onHead(status, "", answerHead(withoutPseudo(raw)));
    // Event streams begin with a head alone.
    if (!whole) setImmediate(() => this.#sink === sink && sink?.onPause());
  }

  readonly #onData = (chunk: Buffer): void => {
    const sink = this.#sink;
    if (sink === undefined || this.#headOnly) return;
    if (!sink.onBody(chunk, 0, chunk.length)) this.#stream?.pause();
    if (this.#sink === sink) sink.onPause();
  };

  readonly #onEnd = (): void => {
    const sink = this.#sink;
    const stream = this.#stream;
    // Node ends a stream that was cut off, too; `close` follows, and tells.
    if (sink === undefined || stream === undefined || (!this.#whole && (stream.rstCode ?? 0) !== 0)) return;
    if (!this.answering) return;
    this.#sink = undefined;
    this.#release();
    if (this.#uploading) this.#cancel();
    sink.onEnd(this.#trailers);
  };

  #fail(failure: Failure): void {
    const sink = this.#sink;
    this.#sink = undefined;
    this.#release();
    this.#cancel();
    sink?.onFailure(failure);
  }

  #cancel(): void {
    if (this.#stream?.closed === false) this.#stream.close(codes.cancel);
  }

  #release(): void {
    this.#upload = undefined;
    this.#session.remove(this);
  }
}

/** The head of a request as HTTP/2 has it, pseudo-headers first, flat. `headers`: see `requestHeaders`. */
export function streamHead(method: string, path: string, headers: readonly string[]): string[] {
  const head = [":method", method, ":scheme", "http", ":authority", "", ":path", path];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = (headers[index] ?? "").toLowerCase();
    const value = headers[index + 1] ?? "";
    if (name === "host") head[5] = value;
    else head.push(name, value);
  }
  return head;
}

function withoutPseudo(raw: readonly string[]): string[] {
  const fields: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2)
    if (!raw[index]?.startsWith(":")) fields.push(raw[index] ?? "", raw[index + 1] ?? "");
  return fields;
}

function ignore(): void {
  // `close` follows, and tells.
}
