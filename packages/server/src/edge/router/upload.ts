// A request body on its way to an endpoint. It is apart from the client's request so that a failing endpoint never tears down the client's connection:
// what the endpoint no longer wants is read and dropped, and the client still gets its answer.
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

export class UploadBody extends Readable {
  readonly #req: IncomingMessage;
  readonly #onBegin: () => void;
  /** Bytes handed on. Above 0 the request cannot be sent again. */
  bytes = 0;
  /** Reading began: nothing was promised to the client before (100-continue). */
  begun = false;

  constructor(req: IncomingMessage, onBegin: () => void) {
    super({ highWaterMark: 65_536 });
    this.#req = req;
    this.#onBegin = onBegin;
    // Errors reach the exchange by undici or by the response's close; without a listener they would be thrown.
    this.on("error", ignoreError);
  }

  override _read(): void {
    if (this.begun) {
      this.#req.resume();
      return;
    }
    this.begun = true;
    this.#onBegin();
    this.#req.on("data", this.#onData).on("end", this.#onEnd).on("error", this.#onError).on("close", this.#onClose);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#req.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onClose);
    if (!this.#req.complete) this.#req.resume();
    callback(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.bytes += chunk.length;
    if (!this.push(chunk)) this.#req.pause();
  };
  readonly #onEnd = (): void => { this.push(null); };
  readonly #onError = (error: Error): void => { this.destroy(error); };
  readonly #onClose = (): void => { if (!this.#req.complete) this.destroy(new Error("the client closed its connection")); };
}

function ignoreError(): void {
  // see the constructor
}
