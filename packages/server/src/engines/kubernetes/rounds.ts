// What several ask for at the same moment is done once for all of them. A run that began before somebody asked may have seen what was before: it does not count for them, and
// the next one does, which all have in common who ask until it begins.

class Round<T> {
  readonly ended: Promise<void>;
  readonly #answer = Promise.withResolvers<T>();
  readonly #end = new AbortController();
  #wanting = 0;
  hasBegun = false;
  next: Round<T> | undefined;

  constructor(after: Promise<void>, run: (signal: AbortSignal) => Promise<T>) {
    this.ended = this.#answer.promise.then(
      () => undefined,
      () => undefined,
    );
    void after.then(() => {
      this.hasBegun = true;
      if (this.#end.signal.aborted) this.#answer.reject(this.#end.signal.reason);
      else run(this.#end.signal).then(this.#answer.resolve, this.#answer.reject);
    });
  }

  async answer(signal: AbortSignal): Promise<T> {
    this.#wanting += 1;
    const given = Promise.withResolvers<never>();
    const giveUp = (): void => {
      given.reject(signal.reason as Error);
      this.#wanting -= 1;
      if (this.#wanting === 0) this.#end.abort(signal.reason);
    };
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      return await Promise.race([this.#answer.promise, given.promise]);
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }
}

export class Rounds<T> {
  /** The one that runs. */
  readonly #now = new Map<string, Round<T>>();

  /** What `run` gives, begun after this was asked. Who gives up waits no longer, and the run goes on for others, if there are any. Errors: those of the run; the signal's reason. */
  join(key: string, run: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const now = this.#now.get(key);
    if (now === undefined) return this.#begin(key, new Round(Promise.resolve(), run)).answer(signal);
    if (!now.hasBegun) return now.answer(signal);
    now.next ??= new Round(now.ended, run);
    return now.next.answer(signal);
  }

  #begin(key: string, round: Round<T>): Round<T> {
    this.#now.set(key, round);
    void round.ended.then(() => {
      if (round.next === undefined) this.#now.delete(key);
      else this.#begin(key, round.next);
    });
    return round;
  }
}
