// What one router was asked and has not answered yet. Every question ends: by its answer, by the router's end, or by a time after which the router is ended.
import type { FromRouter, ToRouter } from "../ipc.ts";

/** ms a router has for an answer: far beyond what work takes, so only one that hangs is killed. */
const answerWithin = 10_000;

type Asked = Extract<ToRouter, { type: "entry" | "applied" | "metrics" | "sync" | "tls" | "proofs" }>;
export type Question = Asked extends infer Q ? (Q extends Asked ? Omit<Q, "seq"> : never) : never;

export class Questions {
  readonly #open = new Map<number, (answer: FromRouter | undefined) => void>();
  #seq = 0;

  /** undefined: the router ended before it answered. `onSilent` has to end it. */
  ask(question: Question, send: (message: ToRouter) => void, onSilent: () => void): Promise<FromRouter | undefined> {
    this.#seq += 1;
    const seq = this.#seq;
    return new Promise((resolve) => {
      const late = setTimeout(onSilent, answerWithin);
      this.#open.set(seq, (answer) => {
        clearTimeout(late);
        resolve(answer);
      });
      send({ ...question, seq } as Asked);
    });
  }

  answer(seq: number, message: FromRouter): void {
    const settle = this.#open.get(seq);
    this.#open.delete(seq);
    settle?.(message);
  }

  /** The router ended: nothing is answered any more. */
  end(): void {
    for (const settle of this.#open.values()) settle(undefined);
    this.#open.clear();
  }
}
