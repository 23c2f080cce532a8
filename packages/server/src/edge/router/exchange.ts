// One request and its answer on their way through the router. One object per request, which is also the handler of the endpoint's answer: no closures on the way.
// It sends a request again only where the endpoint cannot have acted on it (RFC 9110, 9.2.2), and never buffers a body.
import { ServerResponse, type IncomingMessage } from "node:http";
import type { Dispatcher } from "undici";
import { absoluteTarget, hostName } from "../hosts.ts";
import { probeHeader, releaseHeader, verifyProbe, type ProbePin } from "../probe-header.ts";
import type { Endpoint, PortTarget, Track } from "./component.ts";
import { plainAddress, type Direct, type RouterContext } from "./context.ts";
import { requestHeaders, responseHeaders, saneRequestId } from "./headers.ts";
import { refusalAnswer, type RefusalKind } from "./pages.ts";
import { endpointMayCome, select } from "./selection.ts";
import { UploadBody } from "./upload.ts";
import type { UpstreamConnection } from "./upstream.ts";

/** A response that knows its exchange, so that its events need no closure. */
export class EdgeResponse extends ServerResponse<IncomingMessage> { exchange: Exchange | undefined }

const idempotent = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
/** Attempts on a connection that turned out closed; one that was refused may be tried until `holdFor` is over. */
const mostRepeats = 3;
/** ms that a client may go on sending a body that nobody wants any more. */
const lingerFor = 10_000;

export class Exchange implements Dispatcher.DispatchHandler {
  readonly #ctx: RouterContext;
  readonly #req: IncomingMessage;
  readonly #res: EdgeResponse;
  readonly #start: number;
  readonly #expectsContinue: boolean;
  readonly #requestId: string;
  readonly #remote: string;
  #host = "";
  #path = "";
  #target: PortTarget | undefined;
  #pin: ProbePin | undefined;
  #headers: string[] = [];
  #body: UploadBody | undefined;

  #endpoint: Endpoint | undefined;
  #track: Track | undefined;
  #remember = false;
  #connection: UpstreamConnection | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** The request (or a part) was written to the endpoint. */
  #written = false;
  /** The endpoint sent at least one byte of its answer. */
  #answering = false;
  #reused = false;
  #retries = 0;
  #deadline = -1;

  #status = 0;
  #bytesOut = 0;
  #flushed = false;
  #brokeOff = false;
  #ended = false;

  constructor(ctx: RouterContext, req: IncomingMessage, res: EdgeResponse, expectsContinue: boolean) {
    this.#ctx = ctx;
    this.#req = req;
    this.#res = res;
    this.#expectsContinue = expectsContinue;
    this.#start = ctx.now();
    const given = req.headers["x-request-id"];
    this.#requestId = saneRequestId(given) ? given : ctx.requestId();
    this.#remote = plainAddress(req.socket.remoteAddress);
    res.exchange = this;
    res.on("close", onResponseClose);
  }

  /** `direct`: the port whose own listener was connected to; otherwise host and path decide. */
  begin(direct: Direct | undefined): void {
    const req = this.#req;
    let path = req.url ?? "/";
    let authority = req.headers.host ?? "";
    if (path.charCodeAt(0) !== 47) {
      const absolute = absoluteTarget(path);
      if (absolute !== undefined) ({ path, authority } = absolute);
      else if (path !== "*") return this.#refuse("bad_request");
    }
    this.#path = path;
    this.#host = hostName(authority);
    if (repeatsHost(req.rawHeaders)) return this.#refuse("bad_request");
    const target = direct?.target ?? this.#ctx.table.find(this.#host, path);
    if (target === undefined) return this.#refuse("not_found");
    if (path === "*") return this.#refuse("method");
    this.#target = target;
    const probe = req.headers[probeHeader];
    if (typeof probe === "string") this.#pin = this.#verified(probe, target);
    const remote = this.#remote;
    const trusted = direct?.sibling === true || this.#ctx.isTrusted(remote);
    this.#headers = requestHeaders(req, { host: authority, requestId: this.#requestId, remote, port: req.socket.localPort ?? 0, trusted });
    if (hasBody(req)) this.#body = new UploadBody(req, this.#continue);
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
    const repeatable = this.#retries === 0 && this.#body === undefined && idempotent.has(this.#req.method ?? "");
    this.#endpoint = endpoint;
    this.#track = track;
    this.#remember = selection.remember;
    this.#controller = undefined;
    this.#written = false;
    this.#answering = false;
    endpoint.counters.inFlight += 1;
    endpoint.counters.requests += 1;
    this.#connection = endpoint.pool.take(repeatable, now);
    this.#connection.client.dispatch({ method: (this.#req.method ?? "GET") as Dispatcher.HttpMethod, path: this.#path, headers: this.#headers, body: this.#body ?? null }, this);
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

  readonly #continue = (): void => {
    if (this.#expectsContinue && !this.#res.headersSent) this.#res.writeContinue();
  };

  // Handler of the endpoint's answer (undici).

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#written = true;
    this.#reused = this.#connection?.used ?? false;
    if (this.#ended) controller.abort(new ClientGone());
  }

  /** The first byte of an answer. */
  onResponseStarted(): void {
    this.#answering = true;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>, message?: string): void {
    this.#answering = true;
    if (status < 200) return this.#inform(status, headers);
    const out = responseHeaders(headers);
    if (headers["x-request-id"] === undefined) out.push("x-request-id", this.#requestId);
    const sticky = this.#target?.component.entry.sticky;
    if (this.#remember && sticky !== undefined) out.push("set-cookie", `${sticky.cookie}=${this.#track?.name ?? ""}; Path=/; Max-Age=${String(Math.floor(sticky.maxAge / 1000))}; HttpOnly; SameSite=Lax`);
    if (this.#pin !== undefined && this.#endpoint !== undefined) out.push(releaseHeader, this.#endpoint.releaseHash);
    if (this.#ctx.retiring) out.push("connection", "close");
    this.#status = status;
    if (message === undefined || message === "") this.#res.writeHead(status, out);
    else this.#res.writeHead(status, message, out);
    flushSoon(this);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#flushed = true;
    this.#bytesOut += chunk.length;
    if (!this.#res.write(chunk) && !this.#ended) {
      controller.pause();
      this.#res.once("drain", onResponseDrain);
    }
  }

  onResponseEnd(_controller: Dispatcher.DispatchController, trailers: Record<string, string | string[] | undefined>): void {
    this.#flushed = true;
    const list = responseHeaders(trailers);
    if (list.length > 0) this.#res.addTrailers(pairs(list));
    this.#settle(true);
    if (this.#status >= 500 && this.#endpoint !== undefined) this.#endpoint.counters.errors += 1;
    this.#res.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#settle(false);
    const code = "code" in error ? String(error.code) : "";
    if (this.#ended || error instanceof ClientGone) return;
    if (code === "UND_ERR_INVALID_ARG" || code === "UND_ERR_NOT_SUPPORTED") return this.#refuse("bad_request");
    if (!this.#written) return this.#refused();
    if (this.#reused && !this.#answering && this.#body === undefined && this.#retries < mostRepeats && idempotent.has(this.#req.method ?? "")) return this.#again();
    if (this.#endpoint !== undefined) this.#endpoint.counters.errors += 1;
    if (this.#res.headersSent) {
      // The client must see that the answer is not whole: no end, but a broken connection.
      this.#brokeOff = true;
      this.#res.destroy();
      return;
    }
    this.#refuse(code === "UND_ERR_HEADERS_TIMEOUT" ? "timeout" : "bad_gateway");
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

  /** The endpoint is done with this request; its connection may serve another. */
  #settle(whole: boolean): void {
    const connection = this.#connection;
    const endpoint = this.#endpoint;
    if (connection === undefined || endpoint === undefined) return;
    this.#connection = undefined;
    endpoint.counters.inFlight -= 1;
    if (whole) endpoint.pool.release(connection, this.#ctx.now());
    else endpoint.pool.discard(connection);
  }

  #inform(status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status === 102) this.#res.writeProcessing();
    const link = headers["link"];
    if (status !== 103 || link === undefined || this.#req.httpVersionMinor === 0) return;
    try {
      this.#res.writeEarlyHints({ link });
    } catch {
      // Node refuses links that are not well-formed; hints are optional, and the final answer follows.
    }
  }

  #refuse(kind: RefusalKind): void {
    if (this.#res.headersSent || this.#ended) {
      this.#res.destroy();
      return;
    }
    const { status, headers, body } = refusalAnswer(kind, this.#req.headers.accept, this.#requestId);
    // A client that was not told to continue may or may not send its body: only a new connection is sure.
    if (this.#ctx.retiring || (this.#expectsContinue && this.#body?.begun !== true)) headers.push("connection", "close");
    this.#status = status;
    this.#bytesOut += this.#req.method === "HEAD" ? 0 : Buffer.byteLength(body);
    this.#res.writeHead(status, headers);
    this.#res.end(body);
  }

  /** Sends the head when no body came with it: event streams begin with a pause. */
  flush(): void {
    if (!this.#flushed && !this.#ended) this.#res.flushHeaders();
  }

  drained(): void {
    this.#controller?.resume();
  }

  /** The answer is out, or the client is gone. */
  finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    const whole = this.#res.writableFinished;
    if (this.#connection !== undefined) this.#controller?.abort(new ClientGone());
    this.#body?.destroy();
    if (!this.#req.complete && !this.#req.socket?.destroyed) setTimeout(dropUnfinished, lingerFor, this.#req).unref();
    this.#record(whole && !this.#brokeOff);
  }

  #record(whole: boolean): void {
    const ctx = this.#ctx;
    const milliseconds = ctx.now() - this.#start;
    // 499 (as others call it): the client left before there was an answer.
    const status = this.#status === 0 ? 499 : this.#status;
    const stats = this.#track?.stats ?? this.#target?.component.noTrack;
    const bytesIn = this.#body?.bytes ?? 0;
    if (stats === undefined) ctx.stats.countUnrouted(status);
    else {
      stats.finish(status, milliseconds);
      stats.bytesIn += bytesIn;
      stats.bytesOut += this.#bytesOut;
      if (!whole) stats.interrupted += 1;
    }
    const query = this.#path.indexOf("?");
    const ref = this.#target?.component.ref;
    ctx.log.write({
      at: Date.now(), requestId: this.#requestId, remote: this.#remote, host: this.#host, method: this.#req.method ?? "",
      path: query < 0 ? this.#path : this.#path.slice(0, query), status, bytesIn, bytesOut: this.#bytesOut, milliseconds,
      stack: ref?.stack ?? "", component: ref?.component ?? "", track: this.#track?.name ?? "", instance: this.#endpoint?.instance ?? "", release: this.#endpoint?.releaseHash ?? "",
      retried: this.#retries, interrupted: !whole,
    });
  }
}

class ClientGone extends Error {
  constructor() {
    super("the client closed its connection");
  }
}

/** Heads that wait for the end of the current turn: one write with the body when it is there already. */
let unflushed: Exchange[] = [];

function flushSoon(exchange: Exchange): void {
  if (unflushed.push(exchange) === 1) queueMicrotask(flushAll);
}

function flushAll(): void {
  const all = unflushed;
  unflushed = [];
  for (const exchange of all) exchange.flush();
}

function onResponseClose(this: EdgeResponse): void {
  this.exchange?.finish();
}

function onResponseDrain(this: EdgeResponse): void {
  this.exchange?.drained();
}

function dropUnfinished(req: IncomingMessage): void {
  if (!req.complete) req.socket?.destroy();
}

function hasBody(req: IncomingMessage): boolean {
  const length = req.headers["content-length"];
  return req.headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
}

/** Two Host headers are an attack on whoever reads the other one (RFC 9112, 3.2). */
function repeatsHost(raw: readonly string[]): boolean {
  let hosts = 0;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
  }
  return hosts > 1;
}

function pairs(flat: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let index = 0; index + 1 < flat.length; index += 2) list.push([flat[index] ?? "", flat[index + 1] ?? ""]);
  return list;
}
