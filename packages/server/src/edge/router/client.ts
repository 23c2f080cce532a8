// What an exchange asks of a client's request and of the answer to it, whichever HTTP version the client speaks. Requests of HTTP/2 are made to read as those of
// HTTP/1.1 do (h2/incoming.ts), so that one set of rules decides for both.
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";

export interface ClientRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  readonly headers: IncomingHttpHeaders;
  /** Names and values, flat. */
  readonly rawHeaders: string[];
  /** Nothing more of it comes. */
  readonly complete: boolean;
  /** All of it was read. */
  readonly readableEnded: boolean;
  readonly socket: Socket;
  /** Present: it came as a stream of HTTP/2. */
  readonly viaHttp2?: true;
  on(event: "data", listener: (chunk: Buffer) => void): this;
  on(event: "end", listener: () => void): this;
  off(event: "data", listener: (chunk: Buffer) => void): this;
  off(event: "end", listener: () => void): this;
  pause(): this;
  resume(): this;
  isPaused(): boolean;
}

/** Who hears what becomes of an answer. */
export interface AnswerOwner {
  /** The client took what waited for it. */
  drained(): void;
  /** The answer is out, or the client is gone. */
  finish(): void;
  /** The rest of the request could not be read. */
  malformed(): void;
}

export interface ClientAnswer {
  /** Ends what is specific to this request when it is false: the connection, or with HTTP/2 the stream. */
  shouldKeepAlive: boolean;
  readonly headersSent: boolean;
  readonly writableFinished: boolean;
  /** `owner` hears of its end from now on. */
  belongsTo(owner: AnswerOwner): void;
  /** Tells the owner once. */
  whenDrained(): void;
  writeContinue(): void;
  writeProcessing(): void;
  writeEarlyHints(hints: { readonly link: string }): void;
  writeHead(status: number, fields: string[]): unknown;
  writeHead(status: number, message: string, fields: string[]): unknown;
  addTrailers(trailers: [string, string][]): void;
  write(text: string, encoding: "latin1"): boolean;
  write(bytes: Buffer, written: () => void): boolean;
  end(): unknown;
  end(text: string): unknown;
  end(text: string, encoding: "latin1"): unknown;
  /** Breaks it off, so that the client sees that it is not whole. */
  destroy(): unknown;
}
