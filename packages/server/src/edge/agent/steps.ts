// Steps of one thing happen one after another. A wish for one during a step means one more, however many there were.

export class Steps {
  readonly #act: () => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #isRunning = false;
  #again = false;
  #closed = false;

  constructor(act: () => Promise<void>, onError: (error: unknown) => void) {
    this.#act = act;
    this.#onError = onError;
  }

  get closed(): boolean {
    return this.#closed;
  }

  wish(): void {
    this.#again = true;
    if (this.#isRunning || this.#closed) return;
    this.#isRunning = true;
    this.#run()
      .catch(this.#onError)
      .finally(() => {
        this.#isRunning = false;
      });
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#act();
    }
  }

  /** No step begins any more. */
  close(): void {
    this.#closed = true;
  }
}
