// The queue under everything that goes wrong: wakes during work, dead holders, holders that come back, claimers in a crowd.
import fc from "fast-check";
import type { KyselyPlugin } from "kysely";
import { beforeEach, describe, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { transaction } from "../db/transaction.ts";
import {
  afterSetBack,
  assertHeld,
  claim,
  commitUnder,
  enqueue,
  fail,
  finish,
  freeLeases,
  queueStats,
  release,
  renew,
  type Claim,
} from "./queue.ts";

const database = useTestDatabase();
const db = () => database().db;
const take = (options: Partial<Parameters<typeof claim>[1]> = {}) =>
  claim(db(), { kinds: ["k"], clusters: "all", limit: 10, holder: "h", leaseMs: 60_000, ...options });
const ask = (key = "a", more: { cluster?: string; at?: Date } = {}) => enqueue(db(), { kind: "k", key, cluster: "local", ...more });
const rows = () => db().selectFrom("due").selectAll().orderBy("key").execute();
const loseLease = (key = "a") =>
  db()
    .updateTable("due")
    .set({ lease_until: new Date(0) })
    .where("key", "=", key)
    .execute();

/** A database that answers so many statements. */
function diesAfter(statements: number): KyselyPlugin {
  let left = statements;
  return {
    transformQuery: ({ node }) => {
      if (left === 0) throw new Error("Connection terminated unexpectedly");
      left -= 1;
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  };
}

async function takeOne(): Promise<Claim> {
  const [row, ...more] = await take();
  if (row === undefined || more.length > 0) throw new Error(`expected one row, got ${more.length + (row === undefined ? 0 : 1)}`);
  return row;
}

beforeEach(async () => {
  await db().deleteFrom("due").execute();
});

describe("the queue", () => {
  it("hands a row to one holder, and forgets it when the work ended and nobody asked again", async () => {
    await ask();
    await ask();
    const row = await takeOne();
    expect(row).toMatchObject({ kind: "k", key: "a", cluster: "local", attempts: 1 });
    expect(await take()).toEqual([]);
    expect(await finish(db(), row)).toBe(true);
    expect(await rows()).toEqual([]);
  });

  it("leaves nothing lying for an instant of a clock that was set back, and no lease with a dead holder for as long", async () => {
    const hour = 3_600_000;
    await ask("due", { at: new Date(Date.now() + hour) });
    await ask("held");
    expect(await take()).toMatchObject([{ key: "held" }]);
    await db()
      .updateTable("due")
      .set({ lease_until: new Date(Date.now() + hour) })
      .where("key", "=", "held")
      .execute();
    await enqueue(db(), { kind: "other", key: "x", cluster: "local", at: new Date(Date.now() + hour) });
    await afterSetBack(db(), { kinds: ["k"], leaseMs: 60_000 });
    expect(await take()).toMatchObject([{ key: "due" }]);
    const held = (await rows()).find(({ key }) => key === "held");
    expect((held?.lease_until?.getTime() ?? 0) - Date.now()).toBeLessThanOrEqual(61_000);
    // Rows of other loops are theirs.
    expect(await take({ kinds: ["other"] })).toEqual([]);
  });

  it("keeps a wake that comes during the work", async () => {
    await ask();
    const row = await takeOne();
    await ask();
    expect(await take()).toEqual([]);
    expect(await finish(db(), row)).toBe(true);
    expect((await takeOne()).fence).toBeGreaterThan(row.fence);
  });

  it("keeps a wake whose transaction commits only after the work ended", async () => {
    await ask();
    const row = await takeOne();
    let commit: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      commit = resolve;
    });
    const started = Promise.withResolvers<void>();
    const slow = transaction(db(), async (trx) => {
      await enqueue(trx, { kind: "k", key: "a", cluster: "local" });
      started.resolve();
      await asked;
    });
    await started.promise;
    const finished = finish(db(), row);
    commit();
    await Promise.all([slow, finished]);
    expect((await takeOne()).key).toBe("a");
  });

  it("lets the earlier of two instants win", async () => {
    const later = new Date(Date.now() + 3_600_000);
    await ask("a", { at: later });
    expect(await take()).toEqual([]);
    await ask("a");
    await ask("a", { at: later });
    const row = await takeOne();
    await ask("a", { at: new Date(later.getTime() + 1) });
    await finish(db(), row, { again: later });
    expect((await rows())[0]?.due_at).toEqual(later);
  });

  it("takes only kinds and clusters that the caller can reach", async () => {
    await ask("here", { cluster: "local" });
    await ask("there", { cluster: "far" });
    await enqueue(db(), { kind: "other", key: "x", cluster: "local" });
    expect((await take({ clusters: ["local"] })).map((row) => row.key)).toEqual(["here"]);
    expect((await take({ clusters: [] })).map((row) => row.key)).toEqual([]);
    expect((await take({ clusters: ["far", "local"] })).map((row) => row.key)).toEqual(["there"]);
  });

  it("gives the row of a silent holder to another, whose fence is higher; the first can then do nothing", async () => {
    await ask();
    const first = await takeOne();
    await loseLease();
    const second = await takeOne();
    expect(second.fence).toBeGreaterThan(first.fence);
    expect(second.attempts).toBe(2);
    expect(await renew(db(), first, 60_000)).toBe(false);
    expect(await renew(db(), second, 60_000)).toBe(true);
    expect(await finish(db(), first)).toBe(false);
    expect(await fail(db(), first, { error: "late", backoffMs: 0 })).toBe(false);
    expect(await release(db(), first)).toBe(false);
    await expect(transaction(db(), (trx) => assertHeld(trx, first))).rejects.toMatchObject({ code: "stale_generation" });
    await transaction(db(), (trx) => assertHeld(trx, second));
    expect(await finish(db(), second)).toBe(true);
    await expect(transaction(db(), (trx) => assertHeld(trx, second))).rejects.toMatchObject({ code: "stale_generation" });
  });

  it("renews its leases beside a transaction that wakes one of the things before it asks whether it still has the other", async () => {
    await ask("a");
    await ask("b");
    const [a, b] = await take({ limit: 2 }).then((rows) => rows.toSorted((one, other) => (one.key < other.key ? -1 : 1)));
    if (a === undefined || b === undefined) throw new Error("not both were taken");
    const woken = Promise.withResolvers<void>();
    const renewed = Promise.withResolvers<void>();
    const writing = db()
      .transaction()
      .execute(async (trx) => {
        await enqueue(trx, { kind: b.kind, key: b.key, cluster: b.cluster });
        woken.resolve();
        await renewed.promise;
        await assertHeld(trx, a);
      });
    await woken.promise;
    const renewing = [renew(db(), a, 60_000).finally(renewed.resolve), renew(db(), b, 60_000)];
    await writing;
    expect(await Promise.all(renewing)).toEqual([true, true]);
  });

  it("says stale_generation of work that failed because the next holder had removed what it works on, and the work's own error otherwise", async () => {
    await ask();
    const first = await takeOne();
    const gone = new Error("the row is gone");
    const fails = () => Promise.reject(gone);
    await expect(commitUnder(db(), first)(fails)).rejects.toBe(gone);
    await loseLease();
    const second = await takeOne();
    await expect(commitUnder(db(), first)(fails)).rejects.toMatchObject({ code: "stale_generation", cause: gone });
    await expect(commitUnder(db(), second)(fails)).rejects.toBe(gone);
    await finish(db(), second);
    await expect(commitUnder(db(), second)(fails)).rejects.toMatchObject({ code: "stale_generation" });
  });

  it("frees at a start what the process before held, with a higher fence, and only for its own clusters", async () => {
    await ask("a");
    await ask("b", { cluster: "elsewhere" });
    const held = await take();
    expect(await freeLeases(db(), ["local"])).toBe(1);
    const again = await takeOne();
    expect(again.key).toBe("a");
    const before = held.find((row) => row.key === "a");
    expect(again.fence).toBeGreaterThan(before?.fence ?? Infinity);
    expect(before === undefined ? true : await finish(db(), before)).toBe(false);
  });

  it("never repeats a fence, not even after the row went away and came back", async () => {
    await ask();
    const first = await takeOne();
    await finish(db(), first);
    await ask();
    expect((await takeOne()).fence).toBeGreaterThan(first.fence);
  });

  it("leaves no row that is neither held nor due, whichever statement of an ending the database dies at", async () => {
    for (let survived = 0; ; survived += 1) {
      await ask();
      const row = await takeOne();
      const dying = diesAfter(survived);
      const ended = await finish(db().withPlugin(dying), row).catch(() => "died");
      expect(await rows()).toEqual(ended === true ? [] : [expect.objectContaining({ lease_holder: "h" })]);
      if (ended === true) break;
      await finish(db(), row);
    }
  });

  it("waits after a failure, keeps its words, and counts; a wake ends the wait", async () => {
    await ask();
    await fail(db(), await takeOne(), { error: "no luck", backoffMs: 3_600_000 });
    expect(await take()).toEqual([]);
    expect(await queueStats(db())).toMatchObject([{ kind: "k", waiting: 0, held: 0, failing: 1 }]);
    expect((await rows())[0]?.last_error).toBe("no luck");
    await ask();
    const second = await takeOne();
    expect(second.attempts).toBe(2);
    await finish(db(), second, { again: new Date(0) });
    expect((await takeOne()).attempts).toBe(1);
    expect((await rows())[0]?.last_error).toBeNull();
  });

  it("hands work on without counting it as an attempt", async () => {
    await ask();
    await release(db(), await takeOne());
    expect((await takeOne()).attempts).toBe(1);
  });

  it("uses its indexes when there is much that is not due", async () => {
    await db().executeQuery({
      sql: "insert into due (kind, key, cluster, due_at) select 'k', 'far' || n, 'local', now() + interval '1 day' from generate_series(1, 5000) n",
      parameters: [],
      query: { kind: "RawNode", sqlFragments: [], parameters: [] },
      queryId: { queryId: "fill" },
    });
    await database().pool.query("analyze due");
    const plan = await database().pool.query<{ "QUERY PLAN": string }>(
      "explain select kind, key from due where lease_holder is null and due_at <= now() and kind = any('{k}'::text[]) order by due_at limit 10 for update skip locked",
    );
    expect(plan.rows.map((row) => row["QUERY PLAN"]).join("\n")).toContain("due_free");
  });
});

describe("a crowd of claimers that crash", () => {
  /** Workers take rows at random, and finish, fail, crash (fall silent), or come back after their lease was taken. */
  it("loses no wake, and never has two holders with a valid fence on one row", { timeout: 60_000 }, async () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ type: fc.constant("ask" as const), key: fc.integer({ min: 0, max: 3 }) }) },
      { weight: 3, arbitrary: fc.record({ type: fc.constant("claim" as const), limit: fc.integer({ min: 1, max: 3 }) }) },
      {
        weight: 3,
        arbitrary: fc.record({ type: fc.constantFrom("finish" as const, "fail" as const, "release" as const), pick: fc.nat(9) }),
      },
      { weight: 2, arbitrary: fc.record({ type: fc.constant("expire" as const), key: fc.integer({ min: 0, max: 3 }) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { minLength: 3, maxLength: 12 }), async (rounds) => {
        await db().deleteFrom("due").execute();
        const everHeld: Claim[] = [];
        const asked = new Map<string, number>();
        const served = new Map<string, number>();
        let clock = 0;
        for (const round of rounds) {
          // The steps of a round run at the same time.
          await Promise.all(
            round.map(async (one) => {
              switch (one.type) {
                case "ask":
                  // Before, since a claim at the same moment may take what was asked for and be answered first.
                  asked.set(String(one.key), ++clock);
                  await ask(String(one.key));
                  return;
                case "claim": {
                  for (const row of await take({ limit: one.limit })) {
                    served.set(row.key, ++clock);
                    everHeld.push(row);
                  }
                  return;
                }
                case "expire":
                  await db()
                    .updateTable("due")
                    .set({ lease_until: new Date(0) })
                    .where("key", "=", String(one.key))
                    .where("lease_holder", "is not", null)
                    .execute();
                  return;
                case "finish":
                case "fail":
                case "release": {
                  const row = everHeld[one.pick % Math.max(everHeld.length, 1)];
                  if (row === undefined) return;
                  if (one.type === "finish") await finish(db(), row);
                  else if (one.type === "fail") await fail(db(), row, { error: "x", backoffMs: 0 });
                  else await release(db(), row);
                  return;
                }
                default:
                  return one satisfies never;
              }
            }),
          );
          // At most one claim of a row is valid at any time.
          const valid: Claim[] = [];
          for (const row of everHeld) if (await renew(db(), row, 60_000)) valid.push(row);
          const keys = valid.map((row) => row.key);
          expect(new Set(keys).size).toBe(keys.length);
        }
        // Whoever asked after the row was last taken is served once the holders are gone.
        await db()
          .updateTable("due")
          .set({ lease_until: new Date(0) })
          .where("lease_holder", "is not", null)
          .execute();
        const left = new Set((await take({ limit: 100 })).map((row) => row.key));
        for (const [key, at] of asked) if (at > (served.get(key) ?? 0)) expect(left).toContain(key);
      }),
      { numRuns: 25 },
    );
  });

  it("does each of many rows exactly once with eight claimers at once", { timeout: 30_000 }, async () => {
    const wanted = Array.from({ length: 120 }, (_, n) => `row${n}`);
    await Promise.all(wanted.map((key) => ask(key)));
    const done: string[] = [];
    async function worker(): Promise<void> {
      for (let got = await take({ limit: 4 }); got.length > 0; got = await take({ limit: 4 })) {
        for (const row of got) if (await finish(db(), row)) done.push(row.key);
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker));
    // A claimer may find rows locked by another and leave early; nobody's row is left behind for it.
    await worker();
    expect(done.sort()).toEqual(wanted.sort());
  });
});
