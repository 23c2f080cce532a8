// Where results, progress and notes go: results to stdout, everything else to stderr, so that a pipe gets results only.
import type { Writable } from "node:stream";
import { painter, type Paint } from "./colour.ts";
import { table, type Column } from "./table.ts";

/** process.stdout and process.stderr, or what stands in for them. */
export interface TextSink extends Writable {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}
export interface OutputOptions {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly colour: boolean | undefined;
  readonly columns: number | undefined;
  /** The terminal cannot move its cursor (TERM=dumb): nothing is drawn twice. */
  readonly dumb?: boolean;
}

/** Columns and rows of a terminal that does not say, or says 0, as serial lines and some pseudo-terminals do. */
const usual = { columns: 80, rows: 24 };

export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Colours for stdout and for stderr; each only when that stream is a terminal. */
  readonly paint: Paint;
  readonly errPaint: Paint;
  readonly #options: OutputOptions;

  constructor(options: OutputOptions) {
    this.#options = options;
    this.json = options.json;
    this.quiet = options.quiet;
    this.paint = painter(options.colour ?? options.stdout.isTTY === true);
    this.errPaint = painter(options.colour ?? options.stderr.isTTY === true);
  }

  /** Columns of stdout; undefined when it is no terminal: then nothing is cut. */
  get width(): number | undefined {
    return this.#width(this.#options.stdout);
  }
  get errWidth(): number | undefined {
    return this.#width(this.#options.stderr);
  }
  get errRows(): number {
    return sizeOr(this.#options.stderr.rows, usual.rows);
  }
  get outIsTerminal(): boolean {
    return this.#options.stdout.isTTY === true;
  }
  get errIsTerminal(): boolean {
    return this.#options.stderr.isTTY === true;
  }
  /** Whether what was drawn there can be drawn over. */
  get outIsLive(): boolean {
    return this.outIsTerminal && this.#options.dumb !== true;
  }
  get errIsLive(): boolean {
    return this.errIsTerminal && this.#options.dumb !== true;
  }

  #width(stream: TextSink): number | undefined {
    if (this.#options.columns !== undefined) return this.#options.columns;
    return stream.isTTY === true ? sizeOr(stream.columns, usual.columns) : undefined;
  }

  /** A line of the result. */
  line(text = ""): void {
    this.#options.stdout.write(`${text}\n`);
  }
  lines(texts: readonly string[]): void {
    if (texts.length > 0) this.#options.stdout.write(`${texts.join("\n")}\n`);
  }
  /** The API's object as it came. */
  object(value: unknown): void {
    this.#options.stdout.write(`${JSON.stringify(value, null, this.outIsTerminal ? 2 : 0)}\n`);
  }
  table<T>(columns: readonly Column<T>[], rows: readonly T[]): void {
    this.lines(table(columns, rows, { width: this.width, head: this.paint.dim }));
  }

  /** Raw bytes or text of the result; resolves when the reader keeps up. */
  async write(chunk: Uint8Array | string): Promise<void> {
    if (!this.#options.stdout.write(chunk)) await drained(this.#options.stdout);
  }
  async writeErr(chunk: Uint8Array | string): Promise<void> {
    if (!this.#options.stderr.write(chunk)) await drained(this.#options.stderr);
  }

  /** A line about what is being done; --quiet leaves it out. */
  progress(text: string): void {
    if (!this.quiet) this.#options.stderr.write(`${text}\n`);
  }
  /** Something to know that is no failure. */
  note(text: string): void {
    if (!this.quiet) this.#options.stderr.write(`${this.errPaint.dim(text)}\n`);
  }
  /** Failures, and what the live display draws; never left out. */
  err(text: string): void {
    this.#options.stderr.write(text);
  }
}

/** A terminal's size as it says it, where it does. */
export function sizeOr(said: number | undefined, fallback: number): number {
  return said === undefined || said <= 0 ? fallback : said;
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done).off("close", done).off("error", done);
      resolve();
    };
    stream.on("drain", done).on("close", done).on("error", done);
  });
}
