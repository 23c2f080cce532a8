// A stream of HTTP/2 as an exchange sees it: a request that reads as one of HTTP/1.1 does, and an answer whose head goes out with the first byte behind it.
// What nghttp2 lets through is well-formed (RFC 9113, 8.2 and 8.3); what is left to refuse here would be read differently by an endpoint.
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { IncomingHttpHeaders as HttpHeaders } from "node:http";
import type { Socket } from "node:net";
import type { AnswerOwner, ClientAnswer, ClientRequest } from "../client.ts";
import { codes } from "./module.ts";

/** A target that no route has and no endpoint gets: it is refused as malformed. */
const malformedTarget = "malformed";
/** RFC 3986: what is more than this was not encoded, and programs differ in what they make of it. */
const plainTarget = /^[!-~]*$/;

export class StreamRequest implements ClientRequest {
  readonly viaHttp2 = true;
  readonly httpVersionMajor = 1;
  readonly httpVersionMinor = 1;
  readonly method: string;
  readonly url: string;
  readonly headers: HttpHeaders;
  readonly rawHeaders: string[];
  readonly socket: Socket;
  complete: boolean;
  readableEnded = false;
  readonly #stream: ServerHttp2Stream;
  #onEnd: (() => void) | undefined;

  /** `ended`: the head was all of it. `raw`: names and values with the pseudo-headers, flat. */
  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[], ended: boolean, socket: Socket) {
    this.#stream = stream;
    this.socket = socket;
    this.complete = ended;
    this.method = headers[":method"] ?? "";
    const { fields, authority, bare } = fieldsOf(raw);
    this.rawHeaders = fields;
    const named = authority ?? headers.host;
    const asked = headers[":path"] ?? malformedTarget;
    const scheme = headers[":scheme"];
    const strange =
      (authority !== undefined && headers.host !== undefined && authority.toLowerCase() !== headers.host.toLowerCase()) ||
      (scheme !== "http" && scheme !== "https") ||
      !plainTarget.test(asked) ||
      (asked.startsWith("/") ? asked.includes("#") : asked !== "*" || this.method !== "OPTIONS");
    this.url = strange ? malformedTarget : asked;
    this.headers = headers as HttpHeaders;
    if (named !== undefined) {
      this.headers.host = named;
      fields.push("host", named);
    }
    // A body whose length nobody said, as HTTP/1.1 would announce it.
    if (!ended && headers["content-length"] === undefined) this.headers["transfer-encoding"] = "chunked";
    else if (bare) delete this.headers["transfer-encoding"];
    if (!ended) stream.once("end", this.#ended);
  }

  on(event: "data", listener: (chunk: Buffer) => void): this;
  on(event: "end", listener: () => void): this;
  on(event: "data" | "end", listener: ((chunk: Buffer) => void) | (() => void)): this {
    if (event === "data") this.#stream.on("data", listener as (chunk: Buffer) => void);
    else this.#onEnd = listener as () => void;
    return this;
  }

  off(event: "data", listener: (chunk: Buffer) => void): this;
  off(event: "end", listener: () => void): this;
  off(event: "data" | "end", listener: ((chunk: Buffer) => void) | (() => void)): this {
    if (event === "data") this.#stream.off("data", listener as (chunk: Buffer) => void);
    else this.#onEnd = undefined;
    return this;
  }

  pause(): this {
    this.#stream.pause();
    return this;
  }

  resume(): this {
    this.#stream.resume();
    return this;
  }

  isPaused(): boolean {
    return this.#stream.isPaused();
  }

  /** Node ends a stream that the client reset without an error as if it were whole; a body that is not must never pass for one that is. */
  readonly #ended = (): void => {
    if (this.#stream.aborted || this.#stream.destroyed) return;
    this.complete = true;
    this.readableEnded = true;
    this.#onEnd?.();
  };
}

/** Without pseudo-headers and `host`; cookies, which HTTP/2 may send in pieces, in one (RFC 9113, 8.2.3). */
function fieldsOf(raw: readonly string[]): { readonly fields: string[]; readonly authority: string | undefined; readonly bare: boolean } {
  const fields: string[] = [];
  let authority: string | undefined;
  let cookie: string | undefined;
  let bare = false;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? "";
    const value = raw[index + 1] ?? "";
    if (name.charCodeAt(0) === 58) {
      if (name === ":authority") authority = value;
    } else if (name === "cookie") cookie = cookie === undefined ? value : `${cookie}; ${value}`;
    else if (name === "transfer-encoding") bare = true;
    else if (name !== "host") fields.push(name, value);
  }
  if (cookie !== undefined) fields.push("cookie", cookie);
  return { fields, authority, bare };
}

/** Fields of a connection that HTTP/2 does without (RFC 9113, 8.2.2). */
const ofConnections = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
const trailing = { waitForTrailers: true } as const;
const complete = { endStream: true } as const;

export class StreamAnswer implements ClientAnswer {
  shouldKeepAlive = true;
  readonly #stream: ServerHttp2Stream;
  readonly #request: StreamRequest;
  /** Trailers may follow: the client takes them (`te: trailers`). */
  readonly #mayTrail: boolean;
  #owner: AnswerOwner | undefined;
  /** Set until it is sent. */
  #head: string[] | undefined;
  #begun = false;
  #sent = false;
  #trailing = false;
  #written = 0;
  #trailers: [string, string][] = [];

  constructor(stream: ServerHttp2Stream, request: StreamRequest) {
    this.#stream = stream;
    this.#request = request;
    this.#mayTrail = request.headers.te !== undefined;
    stream.on("error", ignore);
  }

  get headersSent(): boolean {
    return this.#begun;
  }

  get writableFinished(): boolean {
    return this.#sent && this.#stream.writableFinished && !this.#stream.aborted;
  }

  /** Bytes that the client took, in the pieces in which they were written (64 KiB at most). */
  get taken(): number {
    return this.#written - this.#stream.writableLength;
  }

  belongsTo(owner: AnswerOwner): void {
    this.#owner = owner;
    this.#stream.once("close", () => {
      owner.finish();
    });
  }

  whenDrained(): void {
    this.#stream.once("drain", () => {
      this.#owner?.drained();
    });
  }

  writeContinue(): void {
    this.#inform({ ":status": 100 });
  }

  writeProcessing(): void {
    this.#inform({ ":status": 102 });
  }

  writeEarlyHints({ link }: { readonly link: string }): void {
    this.#inform({ ":status": 103, link });
  }

  writeHead(status: number, fields: string[]): void;
  writeHead(status: number, message: string, fields: string[]): void;
  writeHead(status: number, given: string | string[], after?: string[]): void {
    this.#begun = true;
    const head = [":status", String(status)];
    const fields = after ?? (given as string[]);
    for (let index = 0; index + 1 < fields.length; index += 2) {
      const name = (fields[index] ?? "").toLowerCase();
      if (!ofConnections.has(name)) head.push(name, fields[index + 1] ?? "");
    }
    this.#head = head;
  }

  addTrailers(trailers: [string, string][]): void {
    this.#trailers = trailers;
  }

  write(text: string, encoding: "latin1"): boolean;
  write(bytes: Buffer, written: () => void): boolean;
  write(data: string | Buffer, more: "latin1" | (() => void)): boolean {
    if (!this.#send(false)) {
      if (typeof more !== "string") more();
      return true;
    }
    this.#written += data.length;
    if (typeof data !== "string") return this.#stream.write(data, typeof more === "string" ? ignore : more);
    return data === "" || this.#stream.write(data, "latin1");
  }

  /** A text in another encoding than latin1 is Berth's own. */
  end(): void;
  end(text: string): void;
  end(text: string, encoding: "latin1"): void;
  end(text = "", encoding: "latin1" | "utf8" = "utf8"): void {
    const stream = this.#stream;
    const open = this.#send(text === "" && this.#trailers.length === 0);
    if (open) {
      if (text === "") stream.end();
      else {
        this.#written += Buffer.byteLength(text, encoding);
        stream.end(text, encoding);
      }
    }
    if (!this.#trailing) this.#letGo();
  }

  destroy(): void {
    if (!this.#stream.closed) this.#stream.close(codes.internalError);
  }

  #inform(fields: Record<string, string | number>): void {
    if (!this.#stream.closed && !this.#stream.headersSent) this.#stream.additionalHeaders(fields);
  }

  /** Sends the head if it was not yet; `whole`: nothing follows it. false: nothing can or may follow. */
  #send(whole: boolean): boolean {
    const stream = this.#stream;
    if (stream.closed || stream.destroyed) return false;
    const head = this.#head;
    if (head !== undefined) {
      this.#head = undefined;
      this.#sent = true;
      this.#trailing = !whole && (this.#mayTrail || this.#trailers.length > 0) && this.#request.method !== "HEAD";
      if (this.#trailing) stream.once("wantTrailers", this.#sendTrailers);
      try {
        stream.respond(head as never, whole ? complete : this.#trailing ? trailing : undefined);
      } catch {
        // A status or a field that HTTP/2 has no form for.
        stream.respond({ ":status": 502 }, complete);
      }
    }
    return !stream.writableEnded;
  }

  readonly #sendTrailers = (): void => {
    const fields: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
    for (const [given, value] of this.#trailers) {
      const name = given.toLowerCase();
      if (!ofConnections.has(name)) (fields[name] ??= []).push(value);
    }
    if (this.#stream.closed) return;
    this.#stream.sendTrailers(fields);
    // Node hands them on with the next turn.
    setImmediate(() => setImmediate(this.#letGo));
  };

  /** What is still on its way is nobody's: the client is told not to go on (RFC 9113, 8.1). */
  readonly #letGo = (): void => {
    if (!this.#request.complete && !this.#stream.closed) this.#stream.close(codes.noError);
  };
}

function ignore(): void {
  // `close` follows, and tells.
}
