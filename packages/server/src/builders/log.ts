// Turns what build steps print into masked, bounded lines. However much a build prints, memory and log stay small, and its last lines are kept.
import type { BuildEvent, BuildLine } from "./builder.ts";
import type { Mask } from "../core/mask.ts";
import { ErrorScan } from "../core/builderrors.ts";

export interface LogBounds {
  /** Bytes of text in the whole log, but for the end of a step that printed more. */
  readonly total: number;
  /** Characters of one line; the rest of it is cut. */
  readonly line: number;
  /** Characters of each stream's end that are kept when the log is full. */
  readonly tail: number;
}
export const logBounds: LogBounds = { total: 16 * 1024 * 1024, line: 8192, tail: 64 * 1024 };

/** Characters without a line break after which a line is taken as complete. */
const longest = 64 * 1024;

export class BuildLog {
  readonly #emit: (event: BuildEvent) => void;
  readonly #mask: Mask;
  readonly #now: () => Date;
  readonly #folder: string | undefined;
  readonly bounds: LogBounds;
  #spent = 0;

  constructor(deps: {
    readonly onEvent: (event: BuildEvent) => void;
    readonly mask: Mask;
    readonly clock: () => Date;
    /** Where the build's source lies. */
    readonly folder?: string;
    readonly bounds?: LogBounds;
  }) {
    this.#emit = deps.onEvent;
    this.#mask = deps.mask;
    this.#now = deps.clock;
    this.#folder = deps.folder;
    this.bounds = deps.bounds ?? logBounds;
  }

  get full(): boolean {
    return this.#spent >= this.bounds.total;
  }

  /** For causes: a text in which no secret value stays. */
  masked(text: string): string {
    return this.#mask(text);
  }

  /** A line in Berth's own name. */
  say(text: string, step?: string): void {
    this.#send({ at: this.#now().toISOString(), stream: "berth", ...(step === undefined ? {} : { step }), text: this.#mask(text) });
  }

  /** A line of the build; returns it as it was sent: masked and cut. */
  line(stream: "stdout" | "stderr", step: string, text: string): BuildLine {
    const masked = this.#mask(text.endsWith("\r") ? text.slice(0, -1) : text);
    // The end of a line that was taken before its line break may hold the start of a secret.
    const safe = text.length >= longest ? masked.slice(0, Math.max(0, masked.length - this.#mask.longest)) : masked;
    const line: BuildLine = {
      at: this.#now().toISOString(),
      stream,
      step,
      text: safe.length > this.bounds.line ? `${safe.slice(0, this.bounds.line)} [cut]` : safe,
    };
    this.#send(line);
    return line;
  }

  /** For people: files of the source as their author knows them. The log itself stays what was printed. */
  named(text: string): string {
    return this.#folder === undefined ? text : text.replaceAll(`${this.#folder}/`, "");
  }

  #send(line: BuildLine): void {
    this.#spent += line.text.length + 32;
    this.#emit({ type: "log", line });
  }

  step(name: string): StepLog {
    return new StepLog(this, name);
  }
}

/** The output of one step; `scan` has seen every line that was logged. */
export class StepLog {
  readonly scan = new ErrorScan();
  readonly #log: BuildLog;
  readonly #name: string;
  readonly #streams = {
    stdout: { decoder: new TextDecoder(), rest: "", dropping: false, tail: [] as Buffer[], tailSize: 0 },
    stderr: { decoder: new TextDecoder(), rest: "", dropping: false, tail: [] as Buffer[], tailSize: 0 },
  };
  #said = false;

  constructor(log: BuildLog, name: string) {
    this.#log = log;
    this.#name = name;
  }

  push(stream: "stdout" | "stderr", data: Buffer): void {
    const state = this.#streams[stream];
    if (this.#log.full) {
      if (!this.#said) {
        this.#said = true;
        this.#log.say("The log is full; of what follows only the end is kept.", this.#name);
      }
      this.#keepTail(state, data);
      return;
    }
    const text = state.rest + state.decoder.decode(data, { stream: true });
    const lines = text.split("\n");
    state.rest = lines.pop() ?? "";
    for (const line of lines) {
      if (state.dropping) {
        state.dropping = false;
        continue;
      }
      this.#take(stream, line.slice(0, longest));
    }
    if (state.dropping) state.rest = "";
    else if (state.rest.length >= longest) {
      this.#take(stream, state.rest.slice(0, longest));
      state.rest = "";
      state.dropping = true;
    }
  }

  #keepTail(state: { tail: Buffer[]; tailSize: number }, data: Buffer): void {
    state.tail.push(data);
    state.tailSize += data.length;
    while (state.tailSize - (state.tail[0]?.length ?? 0) >= this.#log.bounds.tail) state.tailSize -= state.tail.shift()?.length ?? 0;
  }

  #take(stream: "stdout" | "stderr", text: string): void {
    const line = this.#log.line(stream, this.#name, text);
    this.scan.add(line.at, this.#log.named(line.text));
  }

  /** Logs what has no line break yet, and the kept end of what did not fit. */
  end(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const state = this.#streams[stream];
      const rest = state.rest + state.decoder.decode();
      // With a kept end, this is the first half of a line, and could be the first half of a secret.
      if (rest !== "" && !state.dropping && state.tail.length === 0) this.#take(stream, rest.slice(0, longest));
      if (state.tail.length === 0) continue;
      // The first line of the kept end is not whole: it could hide the start of a secret from the mask.
      const lines = Buffer.concat(state.tail)
        .toString("utf8")
        .slice(-this.#log.bounds.tail)
        .split("\n")
        .slice(1)
        .filter((line, index, all) => line !== "" || index < all.length - 1);
      for (const line of lines.slice(-200)) this.#take(stream, line);
    }
  }
}
