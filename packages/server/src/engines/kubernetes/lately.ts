// What was done a moment ago, and is taken to be so still: what changed since by other hands, a watch or the next attempt finds out.

/** ms for which it is taken to be so. */
const holds = 30_000;

export class Lately {
  /** What was done -> when, ms of this process. */
  readonly #at = new Map<string, number>();

  has(key: string): boolean {
    const at = this.#at.get(key);
    return at !== undefined && performance.now() - at < holds;
  }

  note(key: string): void {
    for (const [old, at] of this.#at) if (performance.now() - at >= holds) this.#at.delete(old);
    this.#at.set(key, performance.now());
  }

  /** All whose keys begin so. */
  forget(prefix: string): void {
    for (const key of this.#at.keys()) if (key.startsWith(prefix)) this.#at.delete(key);
  }
}
