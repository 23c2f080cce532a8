// One request and its answer on their way through the router. One object per request, which is also the sink of the endpoint's answer: no closures on the way.
// It sends a request again where no endpoint can have acted on it, or where acting twice is the same as once (RFC 9110, 9.2.2), and never buffers a body.
import { probeHeader, releaseHeader, verifyProbe, type ProbePin } from "../probe-header.ts";
import { destination, readNoMore } from "./acceptable.ts";
import type { Endpoint, PortTarget, Track } from "./component.ts";
import type { AnswerSink, Failure, UpstreamCall } from "./connection.ts";
import { clientBehind, plainAddress } from "./clientaddress.ts";
import type { AnswerOwner, ClientAnswer, ClientRequest } from "./client.ts";
import type { Direct, RouterContext } from "./context.ts";
import { copyOf } from "./copies.ts";
import { answerHead, headerIn, requestHead, requestHeaders, saneRequestId, type AnswerHead } from "./headers.ts";
import { detailsOf, mayKnow } from "./details.ts";
import { grpcRefusal, isGrpc } from "./h2/grpc.ts";
import { streamHead } from "./h2/upstream.ts";
import { refusalAnswer, type Details, type RefusalKind } from "./pages.ts";
import { record } from "./record.ts";
import { redirect } from "./redirect.ts";
import { endpointMayCome, select } from "./selection.ts";
import { Upload, type UploadOwner } from "./upload.ts";

/** Methods whose requests say how long their body is even when they have none (RFC 9110, 8.6). */
const bodyExpected = new Set(["POST", "PUT", "PATCH"]);
const idempotent = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
/** Times that a request is sent again after an endpoint broke off, so that one which ends programs cannot end all of them; where none was reached, it is tried until `holdFor` is over. */
const mostRepeats = 2;
/** Bytes of a body that go out in one write with the head, when they came with it. */
const smallBody = 16 * 1024;
/** ms that a client may go on sending a body that nobody wants any more. */
const lingerFor = 10_000;

export class Exchange implements AnswerSink, AnswerOwner, UploadOwner {
  readonly #ctx: RouterContext;
  readonly #req: ClientRequest;
  readonly #res: ClientAnswer;
  readonly #start: number;
  readonly #expectsContinue: boolean;
  readonly #requestId: string;
  readonly #isGrpc: boolean;
  /** The client; behind a trusted proxy whom that one names. */
  #remote: string;
  #host = "";
  #path = "";
  #target: PortTarget | undefined;
  #pin: ProbePin | undefined;
  #secure = false;
  #headers: string[] = [];
  /** The body is passed on in chunks: its length is not known. */
  #chunked = false;
  #upload: Upload | undefined;

  #endpoint: Endpoint | undefined;
  #track: Track | undefined;
  #remember = false;
  /** Set while the endpoint works on this request. */
  #connection: UpstreamCall | undefined;
  #retries = 0;
  #repeats = 0;
  #deadline = -1;

  #status = 0;
  #code: RefusalKind | "" = "";
  #bytesOut = 0;
  /** The start of the body (latin1), not yet written: the rest may come at once. */
  #first: string | undefined;
  #headWritten = false;
  #brokeOff = false;
  #ended = false;

  constructor(ctx: RouterContext, req: ClientRequest, res: ClientAnswer, expectsContinue: boolean) {
    this.#ctx = ctx;
    this.#req = req;
    this.#res = res;
    this.#expectsContinue = expectsContinue;
    this.#start = ctx.now();
    const given = req.headers["x-request-id"];
    this.#requestId = saneRequestId(given) ? given : ctx.requestId();
    this.#remote = plainAddress(req.socket.remoteAddress);
    this.#isGrpc = req.viaHttp2 === true && isGrpc(req.headers);
    ctx.exchanges += 1;
    res.belongsTo(this);
  }

  /** `direct`: the port whose own listener was connected to; otherwise host and path decide. */
  begin(direct: Direct | undefined, secure: boolean): void {
    const req = this.#req;
    const { authority, host, path, refusal } = destination(req);
    this.#path = path;
    this.#host = host;
    this.#secure = secure;
    if (refusal !== undefined) {
      if (refusal.ends) readNoMore(req, this.#res);
      return this.#refuse(refusal.kind);
    }
    if (!secure && direct === undefined) {
      const proof = this.#ctx.proofs.answerTo(req.method, host, path);
      if (proof !== undefined) return this.#prove(proof);
    }
    const target = direct?.target ?? this.#ctx.table.find(host, path);
    if (target === undefined) return this.#refuse("not_found");
    if (path === "*") return this.#refuse("method");
    this.#target = target;
    const probe = req.headers[probeHeader];
    if (typeof probe === "string") this.#pin = this.#verified(probe, target);
    const remote = this.#remote;
    const proxied = this.#ctx.isTrusted(remote);
    const trusted = proxied || direct?.sibling === true;
    if (proxied) this.#remote = clientBehind(remote, req.headers["x-forwarded-for"], this.#ctx.isTrusted);
    if (target.redirects !== undefined && !secure && direct === undefined) {
      const location = this.#pin === undefined ? redirect(this.#ctx, req, target.redirects, { host, path }, trusted) : undefined;
      if (location !== undefined) return this.#redirect(location);
    }
    const headers = requestHeaders(req, {
      host: authority,
      requestId: this.#requestId,
      remote,
      proto: secure ? "https" : "http",
      port: req.socket.localPort ?? 0,
      trusted,
    });
    const chunked = req.headers["transfer-encoding"] !== undefined;
    const length = req.headers["content-length"];
    const hasBody = chunked || (length !== undefined && length !== "0");
    // Berth's own question whether a release answers is never too much.
    if (target.component.isFull && this.#pin === undefined) {
      target.component.noTrack.overLimit += 1;
      return hasBody ? this.#refuseRest("busy") : this.#refuse("busy");
    }
    const { maxBody } = target.component;
    if (length !== undefined && Number(length) > maxBody) return this.#refuseRest("body_too_large");
    if (hasBody) this.#upload = new Upload(req, chunked, maxBody, this, this.#ctx.uploads);
    else if (length === undefined && bodyExpected.has(req.method ?? "")) headers.push("content-length", "0");
    this.#headers = headers;
    this.#chunked = chunked;
    this.#attempt(target);
  }

  #verified(header: string, target: PortTarget): ProbePin | undefined {
    const pin = verifyProbe(header, this.#ctx.probeKey, Date.now());
    const { stack, component } = target.component.ref;
    return pin !== undefined && pin.stack === stack && pin.component === component ? pin : undefined;
  }

  #attempt(target: PortTarget): void {
    const selection = select(target, this.#req.headers, this.#pin, this.#ctx.random);
    if (selection === undefined) {
      void this.#hold(target);
      return;
    }
    const { endpoint, track } = selection;
    const now = this.#ctx.now();
    // The second time on a new connection: another idle one could be closing just so.
    const repeatable = this.#repeats === 0 && this.#mayRepeat();
    this.#endpoint = endpoint;
    this.#track = track;
    this.#remember = selection.remember;
    endpoint.counters.inFlight += 1;
    endpoint.counters.requests += 1;
    const method = this.#req.method ?? "GET";
    if (endpoint.streams === undefined) {
      const connection = endpoint.pool.take(repeatable, now);
      this.#connection = connection;
      connection.send(this, requestHead(method, this.#path, this.#headers, this.#chunked), method === "HEAD", this.#upload);
    } else {
      const stream = endpoint.streams.take();
      this.#connection = stream;
      stream.send(this, streamHead(method, this.#path, this.#headers), method === "HEAD", this.#upload);
    }
  }

  /** Waits for an endpoint as long as the entry allows, then tries again or gives up. */
  async #hold(target: PortTarget): Promise<void> {
    const { entry } = target.component;
    const now = this.#ctx.now();
    const stats = this.#track?.stats ?? target.component.noTrack;
    if (this.#deadline < 0) {
      this.#deadline = now + entry.holdFor;
      if (!entry.stopped && entry.holdFor > 0) stats.holds += 1;
    }
    const may = await endpointMayCome(target, this.#deadline - now);
    if (this.#ended) return;
    if (may && this.#ctx.now() < this.#deadline) {
      this.#attempt(target);
      return;
    }
    if (!target.component.entry.stopped) stats.holdTimeouts += 1;
    this.#refuse(target.component.entry.stopped ? "stopped" : this.#retries > 0 ? "bad_gateway" : "not_ready");
  }

  // What comes of the body (see UploadOwner).

  onUploadBegin(): void {
    if (this.#expectsContinue && !this.#res.headersSent) this.#res.writeContinue();
  }

  onUploadTooLarge(): void {
    this.#refuseRest("body_too_large");
  }

  onUploadStalled(): void {
    // Once an answer has begun, and with gRPC from the start, both sides may speak when they like, and the component knows what it waits for.
    if (!this.#res.headersSent && !this.#isGrpc) this.#refuseRest("body_timeout");
  }

  /** Nothing more of this request is wanted, from whoever sends it or works on it; its connection ends with the answer. */
  #refuseRest(kind: RefusalKind): void {
    this.#connection?.destroy();
    this.#settle();
    this.#res.shouldKeepAlive = false;
    this.#refuse(kind);
  }

  // What comes of the request (see AnswerSink).

  onInform(status: number, raw: readonly string[]): void {
    if (status === 102) this.#res.writeProcessing();
    const link = headerIn(raw, "link");
    if (status !== 103 || link === undefined || this.#req.httpVersionMinor === 0) return;
    try {
      this.#res.writeEarlyHints({ link });
    } catch {
      // Node refuses links that are not well-formed; hints are optional, and the final answer follows.
    }
  }

  onHead(status: number, message: string, head: AnswerHead): void {
    const out = head.fields;
    if (this.#requestId !== "" && !head.hasRequestId) out.push("x-request-id", this.#requestId);
    const sticky = this.#target?.component.entry.sticky;
    if (this.#remember && sticky !== undefined)
      out.push(
        "set-cookie",
        `${sticky.cookie}=${this.#track?.name ?? ""}; Path=/; Max-Age=${String(Math.floor(sticky.maxAge / 1000))}; HttpOnly; SameSite=Lax`,
      );
    if (this.#pin !== undefined && this.#endpoint !== undefined) out.push(releaseHeader, this.#endpoint.releaseHash);
    this.#stayWithHttps(out);
    if (this.#ctx.retiring) out.push("connection", "close");
    this.#status = status;
    if (message === "") this.#res.writeHead(status, out);
    else this.#res.writeHead(status, message, out);
  }

  /** Only where a certificate covers the host, and never against the component's own word (RFC 6797, 7.2). */
  #stayWithHttps(out: string[]): void {
    const { hstsSeconds, certificates } = this.#ctx;
    if (!this.#secure || hstsSeconds === 0 || !certificates.covers(this.#host)) return;
    if (headerIn(out, "strict-transport-security") === undefined) out.push("strict-transport-security", `max-age=${String(hstsSeconds)}`);
  }

  onBody(buffer: Buffer, start: number, end: number): boolean {
    this.#bytesOut += end - start;
    if (!this.#headWritten && this.#first === undefined && end - start <= smallBody) {
      this.#first = buffer.toString("latin1", start, end);
      return true;
    }
    this.onPause();
    const { bytes, release } = copyOf(buffer, start, end);
    if (this.#res.write(bytes, release)) return true;
    this.#res.whenDrained();
    return this.#ended;
  }

  /** Sends what there is, the head alone too: event streams begin with a pause. */
  onPause(): void {
    if (this.#headWritten || !this.#res.headersSent || this.#ended) return;
    this.#headWritten = true;
    this.#res.write(this.#first ?? "", "latin1");
    this.#first = undefined;
  }

  onEnd(trailers: readonly string[]): void {
    this.#settle();
    if (trailers.length > 0) this.#res.addTrailers(pairs(answerHead(trailers).fields));
    if (this.#status >= 500 && this.#endpoint !== undefined) this.#endpoint.counters.errors += 1;
    if (this.#first === undefined) this.#res.end();
    else this.#res.end(this.#first, "latin1");
  }

  onFailure(failure: Failure): void {
    const connection = this.#connection;
    if (failure === "unprocessed") this.#upload?.takeBack();
    this.#settle();
    if (this.#ended || connection === undefined) return;
    if (failure === "refused") return this.#refused();
    const again =
      failure === "unprocessed" ? this.#upload?.begun !== true : failure === "broken" && !connection.answering && this.#mayRepeat();
    if (again && this.#repeats < mostRepeats) {
      this.#repeats += 1;
      return this.#again();
    }
    if (this.#endpoint !== undefined) this.#endpoint.counters.errors += 1;
    if (failure === "timeout") return this.#refuse("timeout");
    // Counted and reported, never hidden: an endpoint had this request and ended before its answer did.
    this.#brokeOff = true;
    // A client that has part of the answer must see that it is not whole: no end, but a broken connection.
    if (this.#res.headersSent) this.#breakOff("interrupted");
    else this.#refuse(this.#mayRepeat() ? "bad_gateway" : "interrupted");
  }

  /** Acting on it twice is the same as once (RFC 9110, 9.2.2), and there is no body that is gone. */
  #mayRepeat(): boolean {
    return this.#upload === undefined && idempotent.has(this.#req.method ?? "");
  }

  /** No connection was made, so nothing was sent: another endpoint may do, or this one in a moment. */
  #refused(): void {
    if (this.#endpoint !== undefined) this.#target?.suspect(this.#endpoint, this.#ctx.now());
    if (this.#deadline < 0 && this.#target !== undefined) this.#deadline = this.#ctx.now() + this.#target.component.entry.holdFor;
    this.#again();
  }

  #again(): void {
    this.#retries += 1;
    if (this.#track !== undefined) this.#track.stats.retries += 1;
    if (this.#target !== undefined) this.#attempt(this.#target);
  }

  /** The endpoint is done with this request. */
  #settle(): void {
    if (this.#connection === undefined || this.#endpoint === undefined) return;
    this.#connection = undefined;
    this.#endpoint.counters.inFlight -= 1;
    // After a refused connection it was not touched, and may go to another endpoint.
    if (this.#upload?.begun === true) this.#upload.stop();
  }

  /** What a developer is told beside it; undefined for everybody else. */
  #details(): Details | undefined {
    const { errorDetails } = this.#ctx;
    if (!mayKnow(errorDetails, { host: this.#host, remote: this.#remote, headers: this.#req.headers })) return undefined;
    return detailsOf(this.#host, this.#path, this.#target, this.#endpoint);
  }

  #refuse(kind: RefusalKind): void {
    this.#code = kind;
    if (this.#res.headersSent || this.#ended) return this.#breakOff(kind);
    if (this.#isGrpc) return this.#refuseGrpc(kind);
    const { status, headers, body } = refusalAnswer(kind, this.#req.headers.accept, this.#requestId, this.#details());
    // A client that was not told to continue may or may not send its body: only a new connection is sure.
    if (this.#ctx.retiring || (this.#expectsContinue && this.#upload?.begun !== true)) headers.push("connection", "close");
    this.#stayWithHttps(headers);
    this.#status = status;
    this.#bytesOut += this.#req.method === "HEAD" ? 0 : Buffer.byteLength(body);
    this.#res.writeHead(status, headers);
    this.#res.end(body);
  }

  /** Of an answer that has begun, and will not be whole. */
  #breakOff(kind: RefusalKind): void {
    if (!this.#isGrpc || this.#ended) {
      this.#res.destroy();
      return;
    }
    this.#res.addTrailers(grpcRefusal(kind, this.#requestId, this.#details()).trailers);
    this.#res.end();
  }

  #refuseGrpc(kind: RefusalKind): void {
    const { status, trailers } = grpcRefusal(kind, this.#requestId, this.#details());
    const fields = ["content-type", "application/grpc", ...trailers.flat()];
    if (this.#requestId !== "") fields.push("x-request-id", this.#requestId);
    this.#status = status;
    this.#res.writeHead(200, fields);
    this.#res.end();
  }

  /** As the authority wants it (RFC 8555, 8.3). A body that came along is nobody's. */
  #prove(answer: string): void {
    this.#status = 200;
    if (!this.#req.complete) this.#res.shouldKeepAlive = false;
    const length = String(Buffer.byteLength(answer));
    this.#bytesOut += this.#req.method === "HEAD" ? 0 : answer.length;
    this.#res.writeHead(200, ["content-type", "application/octet-stream", "content-length", length, "x-request-id", this.#requestId]);
    this.#res.end(answer);
  }

  /** Permanent for programs too: method and body stay (RFC 9110, 15.4.9). */
  #redirect(location: string): void {
    this.#status = 308;
    if (!this.#req.complete) this.#res.shouldKeepAlive = false;
    this.#res.writeHead(308, ["location", location, "content-length", "0", "x-request-id", this.#requestId]);
    this.#res.end();
  }

  /** The rest of the request could not be read: it is answered in its place among pipelined ones, and is the last on its connection. */
  malformed(): void {
    readNoMore(this.#req, this.#res);
    this.#refuse("bad_request");
  }

  drained(): void {
    this.#connection?.resume();
  }

  /** The answer is out, or the client is gone. */
  finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#ctx.exchanges -= 1;
    const whole = this.#res.writableFinished && !this.#brokeOff;
    this.#connection?.destroy();
    this.#settle();
    if (!this.#req.complete && this.#req.viaHttp2 === undefined && !this.#req.socket?.destroyed) {
      this.#upload?.stop();
      setTimeout(dropUnfinished, lingerFor, this.#req).unref();
    }
    record(this.#ctx, {
      target: this.#target,
      track: this.#track,
      endpoint: this.#endpoint,
      requestId: this.#requestId,
      remote: this.#remote,
      host: this.#host,
      method: this.#req.method ?? "",
      path: this.#path,
      // 499 (as others call it): the client left before there was an answer.
      status: this.#status === 0 ? 499 : this.#status,
      start: this.#start,
      bytesIn: this.#upload?.bytes ?? 0,
      bytesOut: this.#bytesOut,
      retried: this.#retries,
      whole,
      code: this.#code,
      protocol: this.#req.viaHttp2 === true ? "HTTP/2" : "",
    });
  }
}

function dropUnfinished(req: ClientRequest): void {
  if (!req.complete) req.socket?.destroy();
}

function pairs(flat: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let index = 0; index + 1 < flat.length; index += 2) list.push([flat[index] ?? "", flat[index + 1] ?? ""]);
  return list;
}
