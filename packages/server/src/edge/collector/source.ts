// Reads one instance's two pipes into its component's store. A pipe is looked at every few milliseconds at most and only 64 KiB at a time: so a flood
// waits in its own pipe instead of starving others, and hardly anything is ever in the hands of this process when it is killed.
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { LineSplitter } from "./lines.ts";
import { createMask } from "./mask.ts";
import type { ComponentStore } from "./store.ts";

const chunkBytes = 65_536;
/** ms between two looks at one pipe: at most about 6 MiB a second. */
const pace = 10;
/** The most that a pipe holds, unless somebody privileged made it larger. */
const pipeBytes = 1024 * 1024;
/** ms after which a line without an end is shown all the same, e.g. a prompt. */
const idle = 1_000;

export interface SourceOf {
  readonly dir: string;
  readonly instance: string;
  readonly secrets: readonly string[];
  readonly maxLineBytes: number;
}

class Pipe {
  readonly #path: string;
  readonly #heldFile: string;
  readonly #splitter: LineSplitter;
  readonly #onLines: (lines: readonly string[]) => void;
  readonly #now: () => number;
  readonly #onTrouble: (error: unknown) => void;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastByte: number;
  #isNoted = true;

  constructor(
    of: SourceOf,
    name: "stdout" | "stderr",
    onLines: (lines: readonly string[]) => void,
    { now, onTrouble }: { readonly now: () => number; readonly onTrouble: (error: unknown) => void },
  ) {
    this.#path = join(of.dir, name);
    this.#heldFile = join(of.dir, `held-${name}`);
    const held = existsSync(this.#heldFile) ? readFileSync(this.#heldFile) : Buffer.alloc(0);
    this.#splitter = new LineSplitter(createMask(of.secrets), of.maxLineBytes, held);
    this.#onLines = onLines;
    this.#now = now;
    this.#onTrouble = onTrouble;
    this.#lastByte = now();
  }

  open(): void {
    // Read-write: then it never ends, however often the program at the other end is started again.
    const handle = openSync(this.#path, constants.O_RDWR | constants.O_NONBLOCK);
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const socket = new Socket({
      fd: handle,
      readable: true,
      writable: false,
      onread: {
        buffer,
        callback: (length: number) => {
          try {
            this.#take(buffer.subarray(0, length));
          } catch (error) {
            // Nobody else must lose lines for it.
            this.#onTrouble(error);
          }
          this.#timer = setTimeout(() => socket.resume(), pace);
          return false;
        },
      },
    });
    socket.on("error", () => socket.destroy());
    this.#socket = socket;
  }

  #take(bytes: Buffer): void {
    this.#lastByte = this.#now();
    this.#write(this.#splitter.push(bytes));
  }

  /** Lines first, then the note of what is held: a kill between the two repeats the beginning of a line, and loses none. */
  #write(lines: readonly string[]): void {
    this.#onLines(lines);
    const { held } = this.#splitter;
    try {
      if (held.length > 0) writeFileSync(this.#heldFile, held, { mode: 0o600 });
      else if (existsSync(this.#heldFile)) rmSync(this.#heldFile, { force: true });
      this.#isNoted = true;
    } catch (error) {
      // It is for whoever comes after a kill; what is written meanwhile must not wait for it.
      if (this.#isNoted) this.#onTrouble(error);
      this.#isNoted = false;
    }
  }

  flushIdle(): void {
    if (this.#splitter.held.length === 0 || this.#now() - this.#lastByte < idle) return;
    const lines = this.#splitter.flush(false);
    if (lines.length > 0) this.#write(lines);
  }

  /** Nobody writes any more: takes what is left. */
  drain(): void {
    this.#empty(Number.POSITIVE_INFINITY, () => this.close());
    this.#write(this.#splitter.flush(true));
  }

  /** Takes what was written until now. Who writes without end is not waited for: a pipe holds only so much. */
  catchUp(): void {
    if (this.#socket !== undefined) this.#empty(pipeBytes);
  }

  /** `opened`: called once the pipe has this reader as well. */
  #empty(most: number, opened: () => void = () => undefined): void {
    const handle = openSync(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      opened();
      const buffer = Buffer.allocUnsafe(chunkBytes);
      for (let taken = 0, length = 1; length > 0 && taken < most; taken += length) {
        length = read(handle, buffer);
        if (length > 0) this.#take(buffer.subarray(0, length));
      }
    } finally {
      closeSync(handle);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

/** Bytes read; 0 when the pipe is empty. */
function read(handle: number, buffer: Buffer): number {
  try {
    return readSync(handle, buffer);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
    throw error;
  }
}

/** Where lines come from: an instance's pipes, or its daemon. */
export interface LogSource {
  readonly store: ComponentStore;
  readonly instance: string;
  open(): void;
  /** Shows what waits for the end of its line for too long. */
  flushIdle(): void;
  /** true when the instance has ended for good and all its lines are written. */
  look(): boolean;
  /** Resolves when what was written until now is in the store, as far as that can be known. */
  catchUp(): Promise<void>;
  close(): void;
}

export class Source implements LogSource {
  readonly #of: SourceOf;
  readonly store: ComponentStore;
  readonly instance: string;
  readonly #pipes: readonly Pipe[];

  /** `onTrouble`: told of what fails while it reads by itself. */
  constructor(of: SourceOf, store: ComponentStore, now: () => number, onTrouble: (error: unknown) => void) {
    this.#of = of;
    this.store = store;
    this.instance = of.instance;
    this.#pipes = (["stdout", "stderr"] as const).map(
      (name) => new Pipe(of, name, (lines) => store.appendOrLose(of.instance, name, lines), { now, onTrouble }),
    );
  }

  open(): void {
    this.store.begin(this.#of.instance);
    for (const pipe of this.#pipes) pipe.open();
  }

  flushIdle(): void {
    for (const pipe of this.#pipes) pipe.flushIdle();
  }

  /** true when the instance has ended for good and all its lines are written. */
  look(): boolean {
    if (!existsSync(join(this.#of.dir, "ended"))) return false;
    for (const pipe of this.#pipes) pipe.drain();
    this.store.end(this.#of.instance);
    writeFileSync(join(this.#of.dir, "drained"), "", { mode: 0o600 });
    return true;
  }

  catchUp(): Promise<void> {
    for (const pipe of this.#pipes) pipe.catchUp();
    return Promise.resolve();
  }

  close(): void {
    for (const pipe of this.#pipes) pipe.close();
  }
}
