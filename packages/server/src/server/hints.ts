// Hints of an engine that something changed: they wake whoever waits for that component, or put it on the loop's list. Losing one costs time, never truth.
import { setTimeout as delay } from "node:timers/promises";
import type { Db } from "../db/pool.ts";
import type { Log } from "../db/log.ts";
import type { Engine, Ref } from "../engines/engine.ts";
import { enqueue } from "../reconcile/queue.ts";

export interface Hints {
  /** For who works on the component: a hint is for them, and wakes nobody else. */
  waitForHint(ref: Ref, ms: number, signal: AbortSignal): Promise<void>;
  /** For who only wants to know: the hint goes on to who works on the component. */
  overhear(ref: Ref, ms: number, signal: AbortSignal): Promise<void>;
  /** Listens to an engine until the signal; connects again when it was away. */
  listen(cluster: string, engine: Pick<Engine, "watch">, signal: AbortSignal): Promise<void>;
}

type Waiting = Map<string, Set<() => void>>;

async function wait(among: Waiting, ref: Ref, ms: number, signal: AbortSignal): Promise<void> {
  const key = `${ref.stack}/${ref.component}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  const waiters = among.get(key) ?? new Set();
  among.set(key, waiters.add(resolve));
  const timer = setTimeout(resolve, ms);
  const onAbort = (): void => {
    resolve();
  };
  signal.addEventListener("abort", onAbort, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", onAbort);
  waiters.delete(resolve);
  if (waiters.size === 0) among.delete(key);
}

export function createHints(options: { readonly db: Db; readonly log: Log }): Hints {
  const waiting: Waiting = new Map();
  const listening: Waiting = new Map();
  const pending = new Map<string, { readonly ref: Ref; readonly cluster: string }>();
  let flushing = false;

  function onChange(cluster: string, ref: Ref): void {
    const key = `${ref.stack}/${ref.component}`;
    for (const wake of listening.get(key) ?? []) wake();
    const waiters = waiting.get(key);
    if (waiters !== undefined) {
      for (const wake of waiters) wake();
      return;
    }
    pending.set(key, { ref, cluster });
    if (!flushing) void flush();
  }

  /** A burst of hints for the same component is one row. */
  async function flush(): Promise<void> {
    flushing = true;
    try {
      while (pending.size > 0) {
        await delay(20);
        const hinted = [...pending.values()];
        pending.clear();
        for (const { ref, cluster } of hinted) {
          const row = await options.db
            .selectFrom("components as c")
            .innerJoin("stacks as s", "s.id", "c.stack_id")
            .select("c.id")
            .where("s.name", "=", ref.stack)
            .where("c.name", "=", ref.component)
            .executeTakeFirst();
          if (row !== undefined) await enqueue(options.db, { kind: "component", key: row.id, cluster });
        }
      }
    } catch (error) {
      options.log.warn({ error: String(error) }, "a hint was lost; resync will see the change");
    } finally {
      flushing = false;
    }
  }

  return {
    waitForHint: (ref, ms, signal) => wait(waiting, ref, ms, signal),
    overhear: (ref, ms, signal) => wait(listening, ref, ms, signal),
    async listen(cluster, engine, signal) {
      if (engine.watch === undefined) return;
      while (!signal.aborted) {
        try {
          await engine.watch((ref) => onChange(cluster, ref), signal);
        } catch (error) {
          if (!signal.aborted) options.log.info({ error: String(error) }, "the engine's hints stopped; connecting again");
        }
        await delay(500, undefined, { signal }).catch(() => undefined);
      }
    },
  };
}
