// Hints of an engine that something changed: they wake whoever waits for that component, or put it on the loop's list. Losing one costs time, never truth.
import { setTimeout as delay } from "node:timers/promises";
import type { Db } from "../db/pool.ts";
import type { Log } from "../db/log.ts";
import type { Engine, Ref } from "../engines/engine.ts";
import { enqueue } from "../reconcile/queue.ts";

export interface Hints {
  waitForHint(ref: Ref, ms: number, signal: AbortSignal): Promise<void>;
  /** Runs until the signal; connects again when the engine was away. */
  run(signal: AbortSignal): Promise<void>;
}

export function createHints(options: { readonly db: Db; readonly engine: Engine; readonly cluster: string; readonly log: Log }): Hints {
  const waiting = new Map<string, Set<() => void>>();
  const pending = new Map<string, Ref>();
  let flushing = false;

  function onChange(ref: Ref): void {
    const key = `${ref.stack}/${ref.component}`;
    const waiters = waiting.get(key);
    if (waiters !== undefined) {
      for (const wake of waiters) wake();
      return;
    }
    pending.set(key, ref);
    if (!flushing) void flush();
  }

  /** A burst of hints for the same component is one row. */
  async function flush(): Promise<void> {
    flushing = true;
    try {
      while (pending.size > 0) {
        await delay(20);
        const refs = [...pending.values()];
        pending.clear();
        for (const ref of refs) {
          const row = await options.db.selectFrom("components as c").innerJoin("stacks as s", "s.id", "c.stack_id").select("c.id").where("s.name", "=", ref.stack).where("c.name", "=", ref.component).executeTakeFirst();
          if (row !== undefined) await enqueue(options.db, { kind: "component", key: row.id, cluster: options.cluster });
        }
      }
    } catch (error) {
      options.log.warn({ error: String(error) }, "a hint was lost; resync will see the change");
    } finally {
      flushing = false;
    }
  }

  return {
    async waitForHint(ref, ms, signal) {
      const key = `${ref.stack}/${ref.component}`;
      const { promise, resolve } = Promise.withResolvers<void>();
      const waiters = waiting.get(key) ?? new Set();
      waiting.set(key, waiters.add(resolve));
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => { resolve(); }, { once: true });
      await promise;
      clearTimeout(timer);
      waiters.delete(resolve);
      if (waiters.size === 0) waiting.delete(key);
    },
    async run(signal) {
      const { engine } = options;
      if (engine.watch === undefined) return;
      while (!signal.aborted) {
        try {
          await engine.watch(onChange, signal);
        } catch (error) {
          if (!signal.aborted) options.log.info({ error: String(error) }, "the engine's hints stopped; connecting again");
        }
        await delay(500, undefined, { signal }).catch(() => undefined);
      }
    },
  };
}
