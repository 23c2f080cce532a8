// Connections of one router to one endpoint: a stack of idle ones, the most recently used on top, and those in use.
// It never queues: who takes a connection gets it at once.
import { UpstreamConnection, type ConnectionDeps } from "./connection.ts";
import { lookEvery } from "./looks.ts";

/** Requests that may not be repeated take only connections used this recently (ms) whose end is not near, or a new one: an idle one could be closing right now. */
const safeIdle = 250;
/** ms between two looks at what took too long. */
const mostBetweenChecks = 250;

export interface PoolDeps {
  readonly host: string;
  readonly port: number;
  readonly responseTimeout: number;
  readonly now: () => number;
}

export class UpstreamPool {
  readonly #deps: ConnectionDeps;
  readonly #idle: UpstreamConnection[] = [];
  readonly #all = new Set<UpstreamConnection>();
  readonly #checkEvery: number;
  #checker: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: PoolDeps) {
    this.#deps = {
      ...deps,
      onIdle: (connection, idleFor) => {
        this.#keep(connection, idleFor);
      },
      onClosed: (connection) => {
        this.#forget(connection);
      },
    };
    this.#checkEvery = deps.responseTimeout === 0 ? mostBetweenChecks : Math.min(mostBetweenChecks, Math.max(10, deps.responseTimeout / 4));
  }

  /** A connection for one request; it comes back by itself after a whole answer. `repeatable`: the request could be sent again on another one. */
  take(repeatable: boolean, now: number): UpstreamConnection {
    for (let top = this.#idle.at(-1); top !== undefined; top = this.#idle.at(-1)) {
      if (!repeatable && now - top.idleSince > Math.min(safeIdle, top.promised - 1)) return this.#open(true);
      this.#idle.pop();
      if (top.usable && now <= top.idleUntil) return top;
      top.destroy();
    }
    return this.#open(false);
  }

  /** Closes idle connections now and the others after their answer. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #open(extra: boolean): UpstreamConnection {
    const connection = new UpstreamConnection(this.#deps, extra);
    this.#all.add(connection);
    this.#checker ??= lookEvery(this.#checkEvery, () => {
      this.#check();
    });
    return connection;
  }

  #keep(connection: UpstreamConnection, idleFor: number): void {
    // One for each POST would soon be hundreds.
    if (this.#closed || (connection.extra && connection.promised === 0 && this.#idle.length > 0)) {
      connection.destroy();
      return;
    }
    const now = this.#deps.now();
    connection.idleSince = now;
    connection.idleUntil = now + idleFor;
    this.#idle.push(connection);
  }

  #forget(connection: UpstreamConnection): void {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#all.size > 0) return;
    clearInterval(this.#checker);
    this.#checker = undefined;
  }

  #check(): void {
    const now = this.#deps.now();
    for (const connection of this.#all) connection.check(now);
  }
}
