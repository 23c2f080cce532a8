// Takes an endpoint's answers apart, as they arrive. The parsing is llhttp's, the parser inside Node (here as WebAssembly, from undici): this file
// only feeds it and hands on what it finds. It is strict, and what llhttp refuses is refused.
import code from "undici/lib/llhttp/llhttp_simd-wasm.js";

/** Who hears what was found. All calls come from within `execute` or `finish`; an answer's calls are in this order, and informational ones have a head only. */
export interface AnswerEvents {
  /** `raw`: names as they were sent, and values, flat. Returns whether a body can follow; undefined refuses the answer. */
  onHead(status: number, message: string, raw: string[]): boolean | undefined;
  /** A part of the body: these bytes of the buffer given to `execute`, valid during the call only. */
  onBody(buffer: Buffer, start: number, end: number): void;
  /** The final answer is whole. `persistent`: its framing lets another one follow on this connection. */
  onWhole(trailers: string[], persistent: boolean): void;
}

interface Llhttp {
  readonly memory: { readonly buffer: ArrayBuffer };
  _initialize(): void;
  malloc(size: number): number;
  llhttp_alloc(type: number): number;
  llhttp_free(parser: number): void;
  llhttp_execute(parser: number, data: number, length: number): number;
  llhttp_finish(parser: number): number;
  llhttp_should_keep_alive(parser: number): number;
}

const typeResponse = 2;
const refuse = -1;
const proceed = 0;
const noBody = 1;
/** Bytes of names and values in one head, or in one trailer. */
const mostHeadBytes = 64 * 1024;

/** The parser that is being fed. Calls of llhttp carry only numbers, and nothing else runs between them. */
let current: AnswerParser | undefined;

const lib = new WebAssembly.Instance(new WebAssembly.Module(code), {
  env: {
    wasm_on_message_begin: () => proceed,
    wasm_on_url: () => proceed,
    wasm_on_status: (_parser, at = 0, length = 0) => current?.onStatus(at, length) ?? refuse,
    wasm_on_header_field: (_parser, at = 0, length = 0) => current?.onField(at, length) ?? refuse,
    wasm_on_header_value: (_parser, at = 0, length = 0) => current?.onValue(at, length) ?? refuse,
    wasm_on_headers_complete: (_parser, status = 0) => current?.onHeadersComplete(status) ?? refuse,
    wasm_on_body: (_parser, at = 0, length = 0) => current?.onBody(at, length) ?? refuse,
    wasm_on_message_complete: () => current?.onMessageComplete() ?? refuse,
  },
}).exports as Llhttp;
lib._initialize();

/** Where the bytes have to be for llhttp to see them: shared by all parsers, since only one is fed at a time. */
const inputSize = 64 * 1024;
const input = lib.malloc(inputSize);
let inputView = new Uint8Array(lib.memory.buffer, input, inputSize);

function feed(parser: AnswerParser, work: () => number): number {
  current = parser;
  try {
    return work();
  } finally {
    current = undefined;
  }
}

export class AnswerParser {
  readonly #events: AnswerEvents;
  #parser = lib.llhttp_alloc(typeResponse);
  #buffer: Buffer = Buffer.alloc(0);
  #length = 0;
  /** The first bytes of `#buffer` as text, from which names and values are cut. */
  #text = "";
  #status = 0;
  #message = "";
  /** Names and values, flat. llhttp reports an empty value too, so that an odd length means a name whose end or value is still to come. */
  #pairs: string[] = [];
  #size = 0;

  constructor(events: AnswerEvents) {
    this.#events = events;
  }

  /** Parses the first `length` (at most 64 KiB) bytes of `buffer`. false: this is not an answer, or was refused. */
  execute(buffer: Buffer, length: number): boolean {
    // The memory moves when llhttp needs more of it.
    if (inputView.buffer !== lib.memory.buffer) inputView = new Uint8Array(lib.memory.buffer, input, inputSize);
    inputView.set(length === buffer.length ? buffer : buffer.subarray(0, length));
    this.#buffer = buffer;
    this.#length = length;
    this.#text = "";
    return feed(this, () => lib.llhttp_execute(this.#parser, input, length)) === 0;
  }

  /** The connection ended. true: that was the end of an answer whose length only this tells. */
  finish(): boolean {
    return feed(this, () => lib.llhttp_finish(this.#parser)) === 0;
  }

  /** Gives its memory back; it must not be used after this. */
  free(): void {
    if (this.#parser === 0) return;
    lib.llhttp_free(this.#parser);
    this.#parser = 0;
  }

  onStatus(at: number, length: number): number {
    this.#message += this.#cut(at, length);
    return proceed;
  }

  onField(at: number, length: number): number {
    const pairs = this.#pairs;
    if (pairs.length % 2 === 0) pairs.push(this.#cut(at, length));
    else pairs[pairs.length - 1] = `${pairs[pairs.length - 1] ?? ""}${this.#cut(at, length)}`;
    return this.#grown(length);
  }

  onValue(at: number, length: number): number {
    const pairs = this.#pairs;
    if (pairs.length % 2 === 1) pairs.push(this.#cut(at, length));
    else pairs[pairs.length - 1] = `${pairs[pairs.length - 1] ?? ""}${this.#cut(at, length)}`;
    return this.#grown(length);
  }

  onHeadersComplete(status: number): number {
    const pairs = this.#take();
    const message = this.#message;
    this.#message = "";
    this.#status = status;
    const body = this.#events.onHead(status, message, pairs);
    return body === undefined ? refuse : body ? proceed : noBody;
  }

  onBody(at: number, length: number): number {
    const start = at - input;
    this.#events.onBody(this.#buffer, start, start + length);
    return proceed;
  }

  onMessageComplete(): number {
    if (this.#status >= 200) this.#events.onWhole(this.#take(), lib.llhttp_should_keep_alive(this.#parser) === 1);
    return proceed;
  }

  #take(): string[] {
    const pairs = this.#pairs;
    for (let index = 1; index < pairs.length; index += 2) {
      const value = pairs[index] ?? "";
      const last = value.charCodeAt(value.length - 1);
      if (last === 32 || last === 9) pairs[index] = value.trimEnd();
    }
    this.#pairs = [];
    this.#size = 0;
    return pairs;
  }

  #grown(length: number): number {
    this.#size += length;
    return this.#size > mostHeadBytes ? refuse : proceed;
  }

  /** Cutting from one string is several times as quick as making each from its bytes. Heads are nearly always below 4 KiB. */
  #cut(at: number, length: number): string {
    const start = at - input;
    const end = start + length;
    if (end > this.#text.length)
      this.#text = this.#buffer.toString("latin1", 0, Math.min(this.#length, Math.max(end, 4096, 2 * this.#text.length)));
    return this.#text.slice(start, end);
  }
}
