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

/** Bytes of a body that are kept in case that an endpoint says it did not act on its request. */
const mostKept = 64 * 1024;

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

  /** What was handed on, for as long as it can be taken back. */
  #kept: Buffer[] | undefined;
  #keptBytes = 0;
  #ended = false;
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
    const before = this.#kept;
    this.#to = to;
    this.begun = true;
    this.#owner.onUploadBegin();
    this.#kept = to.frames === undefined ? undefined : (before ?? []);
    let mayGoOn = true;
    for (const chunk of before ?? []) mayGoOn = this.#write(to, chunk);
    // It may have ended while nobody listened.
    if (this.#ended || this.#req.readableEnded) {
      this.#ended = true;
      this.#finish(to);
      return;
    }
    this.#watch.add(this);
    this.#req.on("data", this.#onData).on("end", this.#onEnd);
    if (before === undefined) return;
    if (mayGoOn) this.#req.resume();
    else this.#req.pause();
  }

  /** Who got it did not act on it: makes it ready to be begun again, if all of it is still here. */
  takeBack(): void {
    if (this.#kept === undefined || !this.begun) return;
    this.#watch.delete(this);
    this.#to = undefined;
    this.begun = false;
    this.#req.off("data", this.#onData).off("end", this.#onEnd);
    if (!this.#ended) this.#req.pause();
  }

  /** An answer has begun: it will not be taken back. */
  forget(): void {
    this.#kept = undefined;
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
    if (this.#kept !== undefined) this.#keep(this.#kept, chunk);
    if (!this.#write(to, chunk)) this.#req.pause();
  };

  #write(to: BodySink, chunk: Buffer): boolean {
    return this.#chunked && to.frames === undefined ? writeChunk(to, chunk) : to.write(chunk);
  }

  #keep(kept: Buffer[], chunk: Buffer): void {
    this.#keptBytes += chunk.length;
    if (this.#keptBytes > mostKept) this.#kept = undefined;
    else kept.push(chunk);
  }

  #finish(to: BodySink): void {
    if (this.#chunked && to.frames === undefined) to.write("0\r\n\r\n");
    to.uploaded();
  }

  readonly #onEnd = (): void => {
    this.#watch.delete(this);
    this.#ended = true;
    if (this.#to !== undefined) this.#finish(this.#to);
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
