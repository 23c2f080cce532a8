// Connections of one router to one endpoint: a stack of undici clients with one connection each, the most recently used on top.
// It never retries and never queues: who takes a connection gets it at once.
import type { Client as UndiciClient } from "undici";
// The client alone: the whole package costs 15 MB more in every router.
import Client from "undici/lib/dispatcher/client.js";

/** ms a connection may idle when the endpoint did not say how long it keeps it: below the shortest common server setting (2 s). */
const idleTimeout = 1_500;
/** Requests that may not be repeated take only connections used this recently (ms), or a new one: an idle one could be closing right now. */
const safeIdle = 250;

export interface UpstreamConnection {
  readonly client: UndiciClient;
  /** true once a request on its present connection was answered: a later failure may be the endpoint closing an idle connection. */
  used: boolean;
  idle: boolean;
  idleSince: number;
}

export class UpstreamPool {
  readonly #origin: string;
  readonly #headersTimeout: number;
  readonly #idle: UpstreamConnection[] = [];
  #closed = false;

  constructor(host: string, port: number, headersTimeout: number) {
    this.#origin = `http://${host.includes(":") ? `[${host}]` : host}:${String(port)}`;
    this.#headersTimeout = headersTimeout;
  }

  /** A connection for one request; give it back with `release`. `repeatable`: the request could be sent again on another one. */
  take(repeatable: boolean, now: number): UpstreamConnection {
    const top = this.#idle[this.#idle.length - 1];
    if (top === undefined || (!repeatable && now - top.idleSince > safeIdle)) return this.#open();
    this.#idle.pop();
    top.idle = false;
    return top;
  }

  release(connection: UpstreamConnection, now: number): void {
    if (this.#closed) {
      void connection.client.close();
      return;
    }
    connection.used = true;
    connection.idle = true;
    connection.idleSince = now;
    this.#idle.push(connection);
  }

  /** After an error: whatever is left of the connection is thrown away. */
  discard(connection: UpstreamConnection): void {
    // Not at once: this is called from within the client's own error handling.
    queueMicrotask(() => { void connection.client.destroy(); });
  }

  /** Closes idle connections now and the others when they are given back. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle.splice(0)) void connection.client.close();
  }

  #open(): UpstreamConnection {
    const client = new Client(this.#origin, {
      pipelining: 1, headersTimeout: this.#headersTimeout, bodyTimeout: 0, connectTimeout: 5_000, maxHeaderSize: 64 * 1024,
      keepAliveTimeout: idleTimeout, keepAliveTimeoutThreshold: 1_000, keepAliveMaxTimeout: 60_000, allowH2: false, autoSelectFamily: false,
    });
    const connection: UpstreamConnection = { client, used: false, idle: false, idleSince: 0 };
    client.on("connect", () => { connection.used = false; });
    client.on("disconnect", () => { if (connection.idle) this.#forget(connection); });
    return connection;
  }

  #forget(connection: UpstreamConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    connection.idle = false;
    void connection.client.close();
  }
}
