// Work under one name happens one after another; under different names side by side.

export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Begins when everything that was asked for under this name before has ended, well or badly. */
  take(name: string, act: () => Promise<void>): Promise<void> {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(act);
    const settled = turn.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(name, settled);
    void settled.then(() => {
      if (this.#last.get(name) === settled) this.#last.delete(name);
    });
    return turn;
  }
}
