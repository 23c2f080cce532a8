// LISTEN and NOTIFY: hints that something changed. Must never be relied on: after a lost connection every subscriber is told to
// look by itself, and whoever must not miss anything polls as well.
import pg from "pg";
import { clientConfig, type DatabaseAddress } from "./pool.ts";
import type { Log } from "./log.ts";

/** Gets the payload, or undefined when hints may have been missed. */
export type OnHint = (payload: string | undefined) => void;

export interface Listener {
  /** Subscribes; the returned function ends it. */
  on(channel: string, onHint: OnHint): () => void;
  /** Resolves when the connection listens for the first time. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/** Opens one connection of its own and keeps it open, with growing pauses while the database is away. */
export function createListener(options: { readonly address: DatabaseAddress; readonly log: Log }): Listener {
  const subscribers = new Map<string, Set<OnHint>>();
  const closing = new AbortController();
  let client: pg.Client | undefined;
  let ready: () => void = () => undefined;
  const firstReady = new Promise<void>((resolve) => {
    ready = resolve;
  });

  function tellAll(): void {
    for (const set of subscribers.values()) for (const onHint of set) onHint(undefined);
  }

  async function listenOn(channel: string): Promise<void> {
    try {
      await client?.query(`listen ${pg.escapeIdentifier(channel)}`);
    } catch (error) {
      options.log.warn({ error: String(error), channel }, "could not listen; reconnecting");
    }
  }

  /** One connection's life: ends when it is lost. */
  async function connection(): Promise<void> {
    const own = new pg.Client({ ...clientConfig(options), application_name: "berth-listen" });
    const lost = new Promise<void>((resolve) => {
      own.on("end", resolve);
      own.on("error", (error) => {
        options.log.warn({ error: error.message }, "the listening connection was lost");
        resolve();
      });
    });
    own.on("notification", ({ channel, payload }) => {
      for (const onHint of subscribers.get(channel) ?? []) onHint(payload);
    });
    try {
      await own.connect();
      client = own;
      for (const channel of subscribers.keys()) await own.query(`listen ${pg.escapeIdentifier(channel)}`);
      ready();
      tellAll();
      await Promise.race([lost, aborted(closing.signal)]);
    } finally {
      client = undefined;
      await own.end().catch(() => undefined);
    }
  }

  async function keepConnected(): Promise<void> {
    for (let pause = 100; !closing.signal.aborted; pause = Math.min(pause * 2, 5_000)) {
      const since = performance.now();
      await connection().catch((error: unknown) => {
        options.log.warn({ error: String(error) }, "cannot listen to the database; trying again");
      });
      if (performance.now() - since > 10_000) pause = 100;
      await aborted(closing.signal, pause);
    }
  }

  const kept = keepConnected();
  return {
    ready: firstReady,
    on(channel, onHint) {
      const set = subscribers.get(channel) ?? new Set<OnHint>();
      const fresh = set.size === 0;
      subscribers.set(channel, set.add(onHint));
      // Hints sent before LISTEN took effect are missed, so look once after it.
      if (fresh && client !== undefined)
        void listenOn(channel).then(() => {
          if (set.has(onHint)) onHint(undefined);
        });
      return () => {
        set.delete(onHint);
      };
    },
    async close() {
      closing.abort();
      await kept;
    },
  };
}

/** Resolves when the signal aborts, or after `ms`. */
function aborted(signal: AbortSignal, ms?: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = ms === undefined ? undefined : setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    if (signal.aborted) done();
    else signal.addEventListener("abort", done, { once: true });
  });
}
