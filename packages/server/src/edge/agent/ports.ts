// Gives instances loopback ports of their own. A port is kept over restarts and given to nobody else while its instance is known.
import { createServer } from "node:net";

export class Ports {
  readonly #from: number;
  readonly #to: number;
  readonly #held = new Map<number, string>();
  readonly #random: () => number;

  constructor(range: { readonly from: number; readonly to: number }, random: () => number) {
    this.#from = range.from;
    this.#to = range.to;
    this.#random = random;
  }

  /** Remembers ports that an adopted instance has. */
  keep(instance: string, ports: Iterable<number>): void {
    for (const port of ports) this.#held.set(port, instance);
  }

  release(instance: string): void {
    for (const [port, holder] of this.#held) if (holder === instance) this.#held.delete(port);
  }

  /** A port on which nobody listens now, on any address. Throws a RangeError when the whole range is in use. */
  async take(instance: string): Promise<number> {
    const size = this.#to - this.#from + 1;
    const first = Math.floor(this.#random() * size);
    for (let step = 0; step < size; step += 1) {
      const port = this.#from + ((first + step) % size);
      if (this.#held.has(port)) continue;
      // Held before the check, so that two callers at once never try the same one.
      this.#held.set(port, instance);
      if (await isFree(port)) return port;
      this.#held.delete(port);
    }
    throw new RangeError(`all ports from ${this.#from} to ${this.#to} are in use`);
  }
}

/** Whether a program could listen on this port now, whichever address it chooses. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "0.0.0.0", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
