// Asking the person at the terminal. Questions go to stderr; nothing typed as a secret is shown.
import { createInterface } from "node:readline/promises";
import type { Readable } from "node:stream";
import type { Output, TextSink } from "./output/output.ts";
import { Interrupted } from "./failure.ts";

/** process.stdin, or what stands in for it. */
export interface Keyboard extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(mode: boolean): unknown;
}
export interface Prompt {
  /** Whether somebody can be asked. */
  readonly possible: boolean;
  ask(question: string, signal: AbortSignal): Promise<string>;
  askSecret(question: string, signal: AbortSignal): Promise<string>;
  /** All of stdin, without a last line end: for `echo value | berth …`. */
  readAll(): Promise<string>;
}

export function createPrompt(stdin: Keyboard, stderr: TextSink, out: Output): Prompt {
  return {
    possible: stdin.isTTY === true && out.errIsTerminal,
    async ask(question, signal) {
      const reader = createInterface({ input: stdin, output: stderr });
      // readline turns Ctrl-C into an event of its own.
      const stop = new AbortController();
      reader.on("SIGINT", () => {
        stop.abort(new Interrupted());
      });
      try {
        return await reader.question(question, { signal: AbortSignal.any([signal, stop.signal]) });
      } catch (error) {
        throw stop.signal.aborted ? new Interrupted() : error;
      } finally {
        reader.close();
      }
    },
    async askSecret(question) {
      // Before the question: what is typed at once must not be shown either.
      stdin.setRawMode?.(true);
      out.err(question);
      try {
        return await typedLine(stdin);
      } finally {
        stdin.setRawMode?.(false);
        stdin.pause();
        out.err("\n");
      }
    },
    async readAll() {
      const pieces: Buffer[] = [];
      for await (const piece of stdin) pieces.push(Buffer.from(piece as Uint8Array));
      return Buffer.concat(pieces)
        .toString("utf8")
        .replace(/\r?\n$/, "");
    },
  };
}

/** Characters until Enter, with backspace, Ctrl-U, Ctrl-C and Ctrl-D as a terminal understands them. */
function typedLine(stdin: Keyboard): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const done = (settle: () => void): void => {
      stdin.off("data", onData);
      settle();
    };
    const onData = (piece: Buffer | string): void => {
      for (const character of piece.toString()) {
        if (character === "\r" || character === "\n" || character === "\u0004")
          return done(() => {
            resolve(text);
          });
        if (character === "\u0003")
          return done(() => {
            reject(new Interrupted());
          });
        if (character === "\u007f" || character === "\b") text = Array.from(text).slice(0, -1).join("");
        else if (character === "\u0015") text = "";
        else if (character >= " ") text += character;
      }
    };
    stdin.on("data", onData).resume();
  });
}
