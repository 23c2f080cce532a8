// A request body on its way to an endpoint. It never tears down the client's connection when an endpoint fails:
// what the endpoint no longer wants is read and dropped, and the client still gets its answer.
import type { ClientRequest } from "./client.ts";

/** Where a body goes to: a connection whose request's head was written. */
export interface BodySink {
  /** Strings are latin1. false: hold back until `Upload.resume`. */
  write(data: Buffer | string): boolean;
  cork(): void;
  uncork(): void;
  /** It knows by itself where a body ends, whatever its length. */
  readonly frames?: true;
  /** That was all. */
  uploaded(): void;
}

/** Who sends the body on. */
export interface UploadOwner {
  /** Its first byte is wanted. */
  onUploadBegin(): void;
  onUploadTooLarge(): void;
  /** The client sends nothing more, and has not ended. */
  onUploadStalled(): void;
}

export class Upload {
  readonly #req: ClientRequest;
  readonly #chunked: boolean;
  readonly #owner: UploadOwner;
  readonly #watch: Set<Upload>;
  readonly #most: number;
  #to: BodySink | undefined;
  /** Bytes handed on. */
  bytes = 0;
  /** Reading began: the request cannot be sent again. Nothing was promised to the client before (100-continue). */
  begun = false;

  #seenBytes = 0;
  #seenAt = -1;

  /** `chunked`: the length is not known beforehand. `most`: bytes at most. `watch`: where it is while it is being sent. */
  constructor(req: ClientRequest, chunked: boolean, most: number, owner: UploadOwner, watch: Set<Upload>) {
    this.#req = req;
    this.#chunked = chunked;
    this.#most = most;
    this.#owner = owner;
    this.#watch = watch;
  }

  /** Called now and then: tells the owner when the client sent nothing for `limit` ms although it was listened to. */
  check(now: number, limit: number): void {
    if (this.bytes !== this.#seenBytes || this.#seenAt < 0 || this.#req.isPaused()) {
      this.#seenBytes = this.bytes;
      this.#seenAt = now;
    } else if (now - this.#seenAt >= limit) {
      this.#watch.delete(this);
      this.#owner.onUploadStalled();
    }
  }

  /** Begins to pass it on. */
  start(to: BodySink): void {
    this.#to = to;
    this.begun = true;
    this.#watch.add(this);
    this.#owner.onUploadBegin();
    this.#req.on("data", this.#onData).on("end", this.#onEnd);
  }

  /** The connection took what it was given. */
  resume(): void {
    if (this.#to !== undefined) this.#req.resume();
  }

  /** Nobody wants the rest. */
  stop(): void {
    this.#watch.delete(this);
    this.#to = undefined;
    this.#req.off("data", this.#onData).off("end", this.#onEnd);
    if (!this.#req.complete) this.#req.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    const to = this.#to;
    if (to === undefined) return;
    this.bytes += chunk.length;
    if (this.bytes > this.#most) {
      this.#owner.onUploadTooLarge();
      return;
    }
    if (!(this.#chunked && to.frames === undefined ? writeChunk(to, chunk) : to.write(chunk))) this.#req.pause();
  };

  readonly #onEnd = (): void => {
    this.#watch.delete(this);
    if (this.#chunked && this.#to?.frames === undefined) this.#to?.write("0\r\n\r\n");
    this.#to?.uploaded();
  };
}

function writeChunk(to: BodySink, chunk: Buffer): boolean {
  to.cork();
  to.write(`${chunk.length.toString(16)}\r\n`);
  to.write(chunk);
  const more = to.write("\r\n");
  to.uncork();
  return more;
}
