// Hints of an engine that something changed: they wake whoever waits for that component, or put it on the loop's list. Losing one costs time, never truth.
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type { Db } from "../db/pool.ts";
import type { Log } from "../db/log.ts";
import type { Engine, Ref } from "../engines/engine.ts";
import type { RefIn } from "../reconcile/component/deps.ts";
import { enqueue } from "../reconcile/queue.ts";

export interface Hints {
  /** For who works on the component: a hint is for them, and wakes nobody else. */
  waitForHint(ref: RefIn, ms: number, signal: AbortSignal): Promise<void>;
  /** For who only wants to know: the hint goes on to who works on the component. */
  overhear(ref: RefIn, ms: number, signal: AbortSignal): Promise<void>;
  /** Listens to an engine until the signal; connects again when it was away. */
  listen(cluster: string, engine: Pick<Engine, "watch">, signal: AbortSignal): Promise<void>;
}

interface Hinted {
  readonly ref: Ref;
  readonly cluster: string;
}

/** Hints that are put on the list at once: all components of a large cluster are hinted at when it is connected. */
const atOnce = 4;

/** Puts them on the loop's list, but for those that are due there already and for what the database does not know. Each by itself: whoever locks several rows waits for others. */
async function wake(db: Db, hinted: readonly Hinted[]): Promise<void> {
  const { rows } = await sql<{ readonly id: string; readonly cluster: string }>`
    select c.id, hinted.cluster
    from unnest(${hinted.map(({ ref }) => ref.stack)}::text[], ${hinted.map(({ ref }) => ref.component)}::text[], ${hinted.map(({ cluster }) => cluster)}::text[]) as hinted (stack, component, cluster)
    join stacks s on s.name = hinted.stack
    join clusters k on k.name = hinted.cluster
    join components c on c.stack_id = s.id and c.name = hinted.component and coalesce(c.cluster_id, s.cluster_id) = k.id
    where not exists (select 1 from due d where d.kind = 'component' and d.key = c.id::text and d.lease_holder is null and d.due_at <= now())`.execute(
    db,
  );
  const hand = async (): Promise<void> => {
    for (let row = rows.pop(); row !== undefined; row = rows.pop())
      await enqueue(db, { kind: "component", key: row.id, cluster: row.cluster });
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, rows.length) }, hand));
}

const keyOf = ({ cluster, stack, component }: RefIn): string => `${cluster}/${stack}/${component}`;

type Waiting = Map<string, Set<() => void>>;

async function wait(among: Waiting, ref: RefIn, ms: number, signal: AbortSignal): Promise<void> {
  const key = keyOf(ref);
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
  const pending = new Map<string, Hinted>();
  let flushing = false;

  function onChange(cluster: string, ref: Ref): void {
    const key = keyOf({ ...ref, cluster });
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
        await wake(options.db, hinted);
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
