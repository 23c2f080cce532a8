// Whether the wall clock was set while this process ran. What waits for something is measured by the wall clock, as its beginning is kept in rows; a jump is no
// time that went by, so that nothing counts from before it.

/** ms that the two clocks may drift apart between two looks without being a jump. */
const tolerance = 5_000;

export class ClockWatch {
  readonly #now: () => number;
  readonly #steady: () => number;
  #ahead: number;
  #jumpedAt: number | undefined;

  /** `now`: unix ms; `steady`: ms that only go forward. */
  constructor(now: () => number = Date.now, steady: () => number = () => performance.now()) {
    this.#now = now;
    this.#steady = steady;
    this.#ahead = now() - steady();
  }

  /** ms that the wall clock jumped since the last look; 0: it did not. What is adjusted slowly is no jump. */
  look(): number {
    const ahead = this.#now() - this.#steady();
    const jump = ahead - this.#ahead;
    this.#ahead = ahead;
    if (Math.abs(jump) < tolerance) return 0;
    this.#jumpedAt = this.#now();
    return jump;
  }

  /** The instant from which to count what began at `at`: never one before the last jump, nor one that is still to come. Unix ms. */
  from(at: number): number {
    this.look();
    const now = this.#now();
    // What was written before a jump back lies ahead.
    if (at > now) return this.#jumpedAt ?? now;
    return this.#jumpedAt === undefined ? at : Math.max(at, this.#jumpedAt);
  }
}
