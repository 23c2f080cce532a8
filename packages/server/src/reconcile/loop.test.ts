// The loop: bounded, undisturbed by a stuck handler, quick to wake, and safe when its lease or the database goes away.
import type { KyselyPlugin } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { createListener, type Listener } from "../db/listen.ts";
import { silentLog } from "../db/log.ts";
import { enqueue, type Claim } from "./queue.ts";
import { defaultBackoff, startLoop, type Handler, type Loop, type LoopAbort, type LoopOptions, type Outcome } from "./loop.ts";

const database = useTestDatabase();
const db = () => database().db;
let loops: Loop[] = [];
let listeners: Listener[] = [];
let outcomes: Outcome[] = [];

beforeEach(async () => {
  outcomes = [];
  await db().deleteFrom("due").execute();
});
afterEach(async () => {
  await Promise.all(loops.map((loop) => loop.stop(0)));
  await Promise.all(listeners.map((listener) => listener.close()));
  loops = [];
  listeners = [];
});

function run(handler: Handler, more: Partial<LoopOptions> = {}): Loop {
  const loop = startLoop({
    db: db(),
    kinds: ["k"],
    clusters: () => "all",
    handler,
    concurrency: 4,
    holder: "test",
    log: silentLog,
    pollMs: 20,
    metrics: {
      ended: (_, outcome) => {
        outcomes.push(outcome);
      },
    },
    ...more,
  });
  loops.push(loop);
  return loop;
}
const ask = (key: string) => enqueue(db(), { kind: "k", key, cluster: "local" });
const rows = () => db().selectFrom("due").selectAll().orderBy("key").execute();
const forever = () => new Promise<never>(() => undefined);
const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener(
      "abort",
      () => {
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });

describe("the loop", () => {
  it("looks again at each instant that a handler asked for, the later ones too, without a poll", async () => {
    const listener = createListener({ address: database().address, log: silentLog });
    listeners.push(listener);
    await listener.ready;
    await Promise.all(["a", "b"].map(ask));
    const began = new Map<string, number>();
    const again = new Map([
      ["a", 50],
      ["b", 400],
    ]);
    const seen: string[] = [];
    run(
      async (row) => {
        if (began.has(row.key)) {
          seen.push(row.key);
          return;
        }
        began.set(row.key, Date.now());
        return { again: new Date(Date.now() + (again.get(row.key) ?? 0)) };
      },
      { pollMs: 600_000, listener },
    );
    await expect.poll(() => seen.toSorted()).toEqual(["a", "b"]);
  });

  it("takes what there was no room for as soon as there is some, without a poll", async () => {
    const listener = createListener({ address: database().address, log: silentLog });
    listeners.push(listener);
    await listener.ready;
    const keys = Array.from({ length: 40 }, (_, index) => `k${String(index)}`);
    const done = new Set<string>();
    run(
      async (row) => {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
        done.add(row.key);
      },
      { pollMs: 600_000, listener, concurrency: 3 },
    );
    await Promise.all(keys.map(ask));
    await expect.poll(() => done.size).toBe(keys.length);
  });

  it("tells who works on a row whether others may wait for a hand", async () => {
    const told = new Map<string, boolean>();
    const all = Promise.withResolvers<void>();
    let begun = 0;
    run(
      async (row, { isCrowded }) => {
        if (row.key === "alone") told.set(row.key, isCrowded?.() ?? true);
        else {
          begun += 1;
          if (begun === 2) all.resolve();
          await all.promise;
          told.set(row.key, isCrowded?.() ?? false);
        }
      },
      { concurrency: 2 },
    );
    await ask("alone");
    await expect.poll(() => told.get("alone")).toBe(false);
    await Promise.all(["a", "b"].map(ask));
    await expect.poll(() => told.get("a") ?? told.get("b")).toBe(true);
  });

  it("works on everything that is due, so many at once and no more", async () => {
    let now = 0;
    let most = 0;
    const done: string[] = [];
    await Promise.all(["a", "b", "c", "d", "e", "f", "g"].map(ask));
    run(
      async (row) => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setImmediate(resolve));
        now -= 1;
        done.push(row.key);
      },
      { concurrency: 3 },
    );
    await expect.poll(() => done.sort()).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
    await expect.poll(rows).toEqual([]);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(3);
  });

  it("looks again when the handler says so, and when somebody asked meanwhile", async () => {
    const seen: number[] = [];
    await ask("a");
    run(
      async () => {
        seen.push(performance.now());
        return seen.length < 3 ? { again: new Date(Date.now() + 30) } : undefined;
      },
      { pollMs: 10_000 },
    );
    await expect.poll(() => seen.length).toBe(3);
    await expect.poll(rows).toEqual([]);
  });

  it("is woken by a hint, long before its poll", async () => {
    const listener = createListener({ address: database().address, log: silentLog });
    listeners.push(listener);
    const done: string[] = [];
    run(
      async (row) => {
        done.push(row.key);
      },
      { pollMs: 600_000, listener },
    );
    await listener.ready;
    await ask("a");
    await expect.poll(() => done).toEqual(["a"]);
  });

  it("keeps working while one handler is stuck, and takes its slot back after the deadline", async () => {
    const done: string[] = [];
    await ask("stuck");
    let stuckRuns = 0;
    run(
      async (row) => {
        if (row.key === "stuck" && ++stuckRuns === 1) return forever();
        done.push(row.key);
      },
      { concurrency: 2, deadlineMs: 200, abandonMs: 50, backoff: () => 10 },
    );
    await expect.poll(() => stuckRuns).toBeGreaterThan(0);
    await ask("other");
    await expect.poll(() => done).toContain("other");
    await expect.poll(() => done).toContain("stuck");
    await expect.poll(() => outcomes).toContain("stuck");
  });

  it("records a failure and tries again after the back-off", async () => {
    let tries = 0;
    await ask("a");
    run(
      async () => {
        if (++tries < 3) throw new Error("not yet");
      },
      { backoff: (attempts) => attempts * 20 },
    );
    await expect.poll(() => tries).toBe(3);
    await expect.poll(rows).toEqual([]);
    await expect.poll(() => outcomes.toSorted()).toEqual(["done", "failed", "failed"]);
  });

  it("keeps a lease as long as the work takes", async () => {
    // Many times what a busy machine keeps a process waiting: a lease that was not renewed for so long is lost, as it should be.
    const leaseMs = 6_000;
    let runs = 0;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    await ask("a");
    run(
      async () => {
        runs += 1;
        await ended;
      },
      { leaseMs },
    );
    const until = async () => (await rows())[0]?.lease_until?.getTime() ?? 0;
    await expect.poll(until).toBeGreaterThan(0);
    const first = await until();
    await expect.poll(until).toBeGreaterThan(first + leaseMs);
    expect(runs).toBe(1);
    end();
    await expect.poll(rows).toEqual([]);
    await expect.poll(() => outcomes).toEqual(["done"]);
    expect(runs).toBe(1);
  });

  it("holds what it works on when the wall clock is set ahead, though its lease seems to be over", async () => {
    let ahead = 0;
    let runs = 0;
    const end = Promise.withResolvers<undefined>();
    await ask("a");
    const handler = async (): Promise<void> => {
      runs += 1;
      await end.promise;
    };
    const loop = run(handler, { pollMs: 600_000, now: () => Date.now() + ahead });
    await expect.poll(() => runs).toBe(1);
    // What the database sees of a lease when its clock is set ahead.
    await db()
      .updateTable("due")
      .set({ lease_until: new Date(0) })
      .execute();
    ahead = 3_600_000;
    loop.wake();
    await expect.poll(async () => (await rows())[0]?.lease_until?.getTime() ?? 0).toBeGreaterThan(Date.now());
    loop.wake();
    end.resolve(undefined);
    await expect.poll(() => outcomes).toEqual(["done"]);
    expect(await rows()).toEqual([]);
    expect(runs).toBe(1);
  });

  it("looks at what is due later when the wall clock is set back", async () => {
    let ahead = 0;
    let runs = 0;
    await ask("a");
    const loop = run(
      () => {
        runs += 1;
        // As somebody says who means a moment, by the clock as it was.
        return Promise.resolve(runs === 1 ? { again: new Date(Date.now() + 3_600_000) } : undefined);
      },
      { pollMs: 600_000, now: () => Date.now() + ahead },
    );
    await expect.poll(() => outcomes).toEqual(["done"]);
    ahead = -3_600_000;
    loop.wake();
    await expect.poll(() => runs).toBe(2);
  });

  it("aborts the handler when its lease was taken, and does not end the row that is another's now", async () => {
    let reason: LoopAbort | undefined;
    const claims: Claim[] = [];
    await ask("a");
    run(
      async (row, { signal }) => {
        claims.push(row);
        if (claims.length === 1)
          await untilAborted(signal).catch((error: unknown) => {
            reason = error as LoopAbort;
          });
        else await untilAborted(signal);
      },
      { leaseMs: 6_000 },
    );
    await expect.poll(() => claims.length).toBe(1);
    await db()
      .updateTable("due")
      .set({ fence: 999_999_999, lease_holder: "another", lease_until: new Date(Date.now() + 60_000) })
      .execute();
    await expect.poll(() => reason?.why).toBe("lease_lost");
    await expect.poll(() => outcomes).toEqual(["lease_lost"]);
    expect(await rows()).toMatchObject([{ lease_holder: "another", fence: 999_999_999 }]);
  });

  it("gives up by itself before the lease runs out when the database is away", async () => {
    const own = database().open({ max: 2 });
    const leaseMs = 500;
    let reason: string | undefined;
    let isOver = false;
    await Promise.all([own.pool.query("select 1"), own.pool.query("select 1")]);
    run(
      async (_, { signal }) => {
        // From here on this process cannot reach the database.
        await own.close();
        // With some of the lease left, in which it can heed the signal. Timers come in the order of their instants, however late they are.
        const over = setTimeout(() => {
          isOver = true;
        }, 0.95 * leaseMs);
        await untilAborted(signal).catch((error: unknown) => {
          reason = isOver ? "the end of its lease" : (error as LoopAbort).why;
        });
        clearTimeout(over);
      },
      { db: own.db, leaseMs, pollMs: 10 },
    );
    // Taken soon after the loop's first look: its fourth beat is a little less than four fifths of the lease later, and its fifth is too late.
    await ask("a");
    await expect.poll(() => reason).toBe("lease_lost");
  });

  it("hands a row back when the database is there again, not when the lease is over", async () => {
    let away = false;
    const refused: string[] = [];
    const outage: KyselyPlugin = {
      transformQuery: ({ node }) => {
        if (!away) return node;
        refused.push(node.kind);
        throw new Error("Connection terminated unexpectedly");
      },
      transformResult: ({ result }) => Promise.resolve(result),
    };
    await ask("ends");
    await ask("fails");
    const tried: string[] = [];
    const gone = Promise.withResolvers<void>();
    run(
      async ({ key }) => {
        tried.push(key);
        await gone.promise;
        if (key === "fails" && tried.length === 2) throw new Error("the database is away");
      },
      { db: db().withPlugin(outage), leaseMs: 600_000, pollMs: 600_000, backoff: () => 1 },
    );
    await expect.poll(() => tried.toSorted()).toEqual(["ends", "fails"]);
    away = true;
    gone.resolve();
    await expect.poll(() => refused.length).toBeGreaterThan(1);
    away = false;
    await expect.poll(rows).toEqual([]);
    expect(tried.toSorted()).toEqual(["ends", "fails", "fails"]);
    await expect.poll(() => outcomes.toSorted()).toEqual(["done", "done", "failed"]);
  });

  it("stops gracefully: waits for handlers, then hands their rows on at once", async () => {
    const started: string[] = [];
    let finishQuick: () => void = () => undefined;
    const quick = new Promise<void>((resolve) => {
      finishQuick = resolve;
    });
    await ask("quick");
    await ask("slow");
    const loop = run(async (row, { signal }) => {
      started.push(row.key);
      await (row.key === "quick" ? quick : untilAborted(signal));
    });
    await expect.poll(() => started.length).toBe(2);
    const stopped = loop.stop(300);
    finishQuick();
    await stopped;
    expect(outcomes.sort()).toEqual(["done", "released"]);
    expect(await rows()).toMatchObject([{ key: "slow", lease_holder: null, attempts: 0 }]);
    await ask("late");
    expect(started).toHaveLength(2);
  });

  it("backs off exponentially, within bounds", () => {
    expect(defaultBackoff(1, () => 0.5)).toBe(500);
    expect(defaultBackoff(4, () => 0.5)).toBe(4_000);
    expect(defaultBackoff(1_000, () => 1)).toBe(150_000);
  });
});
