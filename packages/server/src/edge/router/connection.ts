// One connection to an endpoint, for one request at a time. It never retries: who asked is told what became of the request, once.
import { connect, type Socket } from "node:net";
import { AnswerParser, type AnswerEvents } from "./answer-parser.ts";
import { answerHead, type AnswerHead } from "./headers.ts";
import type { BodySink, Upload } from "./upload.ts";

/** `refused`: no connection was made, so nothing was sent. `unprocessed`: the endpoint says that it did not act on it. `timeout`: no answer began in time.
 * `broken`: the connection ended too early, or what came was no answer. */
export type Failure = "refused" | "unprocessed" | "timeout" | "broken";

/** Who made the request. After `onEnd` or `onFailure` nothing follows. */
export interface AnswerSink {
  /** An informational answer, before the real one. */
  onInform(status: number, raw: readonly string[]): void;
  onHead(status: number, message: string, head: AnswerHead): void;
  /** Bytes of the buffer, valid during the call only. false: hold back until `resume`. */
  onBody(buffer: Buffer, start: number, end: number): boolean;
  /** Nothing more for the moment: what came so far can go on its way. */
  onPause(): void;
  onEnd(trailers: readonly string[]): void;
  onFailure(failure: Failure): void;
}

/** What works on a request: a connection of HTTP/1.1, or a stream of HTTP/2. */
export interface UpstreamCall {
  /** At least one byte of the answer came. */
  readonly answering: boolean;
  /** Reads on after `onBody` returned false. */
  resume(): void;
  /** Ends it without a word to whoever made the request. */
  destroy(): void;
}

export interface ConnectionDeps {
  readonly host: string;
  readonly port: number;
  /** ms until an answer has to begin; 0 = for ever. */
  readonly responseTimeout: number;
  readonly now: () => number;
  /** It can take another request, for this many ms at most. */
  onIdle(connection: UpstreamConnection, idleFor: number): void;
  /** It is of no more use. */
  onClosed(connection: UpstreamConnection): void;
}

const connectTimeout = 5_000;
/** ms a connection may idle when the endpoint did not say how long it keeps it: below the shortest common server setting (2 s). */
const defaultIdle = 1_500;
/** How much earlier than it said an endpoint is left, since from then on it may be closing; and the longest that it is believed. */
const idleMargin = 1_000;
const mostIdle = 60_000;

/** Every connection reads into this one: each read is dealt with before the next begins, and what is kept is copied. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

export class UpstreamConnection implements AnswerEvents, BodySink, UpstreamCall {
  readonly #deps: ConnectionDeps;
  readonly #socket: Socket;
  readonly #parser = new AnswerParser(this);
  #sink: AnswerSink | undefined;
  #upload: Upload | undefined;
  #uploading = false;
  #headOnly = false;
  #whole: { readonly trailers: string[]; readonly persistent: boolean } | undefined;
  #held = false;
  /** When the connection has to be made, or the answer begun. Infinity: no limit. */
  #deadline: number;
  #idleFor = defaultIdle;
  #promise = "";

  connected = false;
  /** At least one byte of the present answer came. */
  answering = false;
  /** ms for which the endpoint surely keeps it when idle; 0: it did not say, and may close it at any instant (RFC 9112, 9.3.1). */
  promised = 0;
  /** For whoever keeps idle ones: since when, and until when it may be used. */
  idleSince = 0;
  idleUntil = 0;
  /** Opened for one request alone although others idled. */
  readonly extra: boolean;

  constructor(deps: ConnectionDeps, extra: boolean) {
    this.#deps = deps;
    this.extra = extra;
    this.#deadline = deps.now() + connectTimeout;
    this.#socket = connect({
      host: deps.host,
      port: deps.port,
      noDelay: true,
      autoSelectFamily: false,
      onread: { buffer: readBuffer, callback: (length) => this.#read(length) },
    });
    this.#socket.on("connect", () => {
      this.#opened();
    });
    this.#socket.on("end", () => {
      this.#ended();
    });
    this.#socket.on("error", ignoreError);
    this.#socket.on("close", () => {
      this.#closed();
    });
    this.#socket.on("drain", () => {
      this.#upload?.resume();
    });
  }

  /** Sends a request; it must be idle or new. `head`: latin1, whole. `headOnly`: the answer has no body whatever it says. */
  send(sink: AnswerSink, head: string, headOnly: boolean, upload: Upload | undefined): void {
    this.#sink = sink;
    this.#headOnly = headOnly;
    this.#upload = upload;
    this.#uploading = upload !== undefined;
    this.answering = false;
    if (this.connected) this.#deadline = this.#answerBy();
    // With a body the head goes out in one write, and only once the connection stands: then another endpoint may still be tried.
    if (upload === undefined) this.#socket.write(head, "latin1");
    else if (this.connected) this.#begin(head, upload);
    else
      this.#socket.once("connect", () => {
        this.#begin(head, upload);
      });
  }

  write(data: Buffer | string): boolean {
    return this.#socket.write(data, "latin1");
  }

  cork(): void {
    this.#socket.cork();
  }
  uncork(): void {
    this.#socket.uncork();
  }

  uploaded(): void {
    this.#uploading = false;
    this.#deadline = this.#answerBy();
  }

  /** Reads on after `onBody` returned false. */
  resume(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#socket.resume();
  }

  /** Ends it without a word to whoever made the request. */
  destroy(): void {
    this.#sink = undefined;
    this.#upload = undefined;
    this.#socket.destroy();
  }

  /** Called now and then: ends it when its time is over. */
  check(now: number): void {
    if (this.#sink === undefined) {
      if (now > this.idleUntil) this.#socket.destroy();
    } else if (this.#uploading && this.connected) this.#deadline = this.#answerBy();
    else if (now > this.#deadline) this.#fail(this.connected ? "timeout" : "refused");
  }

  get usable(): boolean {
    return this.#socket.writable && this.#sink === undefined;
  }

  #answerBy(): number {
    return this.#deps.responseTimeout === 0 ? Infinity : this.#deps.now() + this.#deps.responseTimeout;
  }

  #opened(): void {
    this.connected = true;
    this.#deadline = this.#answerBy();
  }

  #begin(head: string, upload: Upload): void {
    if (this.#upload !== upload) return;
    this.#socket.cork();
    this.#socket.write(head, "latin1");
    upload.start(this);
    // What of the body is here already comes with the next turn, and goes out with the head.
    process.nextTick(uncork, this.#socket);
  }

  #read(length: number): boolean {
    const sink = this.#sink;
    if (sink === undefined) {
      // Nobody asked: whatever this is, it must not become the answer to the next request.
      this.#socket.destroy();
      return false;
    }
    this.answering = true;
    const parsed = this.#parser.execute(readBuffer, length);
    // The sink may have had enough.
    if (this.#sink !== sink) return false;
    const whole = this.#whole;
    if (whole !== undefined) this.#finish(sink, whole.trailers, whole.persistent && parsed);
    else if (!parsed) this.#fail("broken");
    else sink.onPause();
    return !this.#held;
  }

  // What the parser finds.

  onHead(status: number, message: string, raw: string[]): boolean | undefined {
    // A second answer to one request.
    if (this.#sink === undefined || this.#whole !== undefined) return undefined;
    if (status === 101) return undefined;
    if (status < 200) {
      this.#sink.onInform(status, raw);
      return false;
    }
    this.#deadline = Infinity;
    const head = answerHead(raw);
    this.#learn(head.keepAlive);
    // It may be followed by what it announces, which must not be taken for another answer.
    if (head.announcesBody && (status === 204 || status === 304)) this.#idleFor = 0;
    this.#sink.onHead(status, message, head);
    return !this.#headOnly;
  }

  onBody(buffer: Buffer, start: number, end: number): void {
    if (this.#sink?.onBody(buffer, start, end) === false) this.#held = true;
  }

  onWhole(trailers: string[], persistent: boolean): void {
    this.#whole = { trailers, persistent };
  }

  /** How long the endpoint keeps an idle connection. */
  #learn(promise: string): void {
    if (promise === this.#promise && this.#idleFor > 0) return;
    this.#promise = promise;
    const seconds = /(?:^|[,;\s])timeout=(\d{1,6})/i.exec(promise)?.[1];
    this.promised = seconds === undefined ? 0 : Math.max(0, Number(seconds) * 1000 - idleMargin);
    this.#idleFor = seconds === undefined ? defaultIdle : Math.min(this.promised, mostIdle);
  }

  #finish(sink: AnswerSink, trailers: readonly string[], persistent: boolean): void {
    const reusable = persistent && !this.#uploading && this.#idleFor > 0 && this.#socket.writable;
    this.#sink = undefined;
    this.#upload = undefined;
    this.#whole = undefined;
    if (reusable) {
      this.resume();
      this.#deps.onIdle(this, this.#idleFor);
    } else this.#socket.destroy();
    sink.onEnd(trailers);
  }

  /** The endpoint sends no more. */
  #ended(): void {
    const sink = this.#sink;
    if (sink !== undefined && this.answering && this.#parser.finish() && this.#whole !== undefined)
      this.#finish(sink, this.#whole.trailers, false);
    else this.#socket.destroy();
  }

  #fail(failure: Failure): void {
    const sink = this.#sink;
    this.#sink = undefined;
    this.#upload = undefined;
    this.#socket.destroy();
    sink?.onFailure(failure);
  }

  #closed(): void {
    this.#parser.free();
    this.#deps.onClosed(this);
    this.#fail(this.connected ? "broken" : "refused");
  }
}

function uncork(socket: Socket): void {
  socket.uncork();
}

function ignoreError(): void {
  // `close` follows, and tells.
}
