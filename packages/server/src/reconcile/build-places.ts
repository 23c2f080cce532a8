// Places for builds that work, in this process: the steps of no more than so many run at once, however many builds are called running. After a crash those that
// only kept their outcome begin again from their source, beside others that were given their places.

export class BuildPlaces {
  #free: number;
  readonly #line: (() => void)[] = [];

  constructor(total: number) {
    this.#free = total;
  }

  /** Waits for a place; what is answered gives it back, at the first call. Throws the signal's reason. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free === 0) await this.#turn(signal);
    else this.#free -= 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#line.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#line.splice(this.#line.indexOf(turn), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#line.push(turn);
    });
  }
}
