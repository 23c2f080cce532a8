// The loop over several clusters: one that is slow, or goes away in the middle of the work, holds up none of the others.
import { afterEach, beforeEach, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { BerthError } from "../core/errors.ts";
import { silentLog } from "../db/log.ts";
import { enqueue, hurryFailed } from "./queue.ts";
import { LoopAbort, roomOf, startLoop, type Handler, type Loop, type LoopOptions } from "./loop.ts";

const database = useTestDatabase();
const db = () => database().db;
const loops: Loop[] = [];

beforeEach(async () => {
  await db().deleteFrom("due").execute();
});
afterEach(async () => {
  await Promise.all(loops.splice(0).map((loop) => loop.stop(0)));
});

function run(clusters: () => readonly string[], handler: Handler, more: Partial<LoopOptions> = {}): void {
  loops.push(startLoop({ db: db(), kinds: ["k"], clusters, handler, concurrency: 4, holder: "test", log: silentLog, pollMs: 20, ...more }));
}
const ask = (key: string, cluster: string) => enqueue(db(), { kind: "k", key, cluster });
const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });

it("gives each cluster hands of its own: one whose work hangs delays no other", async () => {
  const worked: string[] = [];
  for (let number = 0; number < 30; number++) await ask(`slow${String(number)}`, "slow");
  for (const cluster of ["own", "far"]) for (let number = 0; number < 10; number++) await ask(`${cluster}${String(number)}`, cluster);
  let hanging = 0;
  run(
    () => ["slow", "own", "far"],
    async (row, { signal }) => {
      if (row.cluster === "slow") {
        hanging += 1;
        await untilAborted(signal);
      }
      worked.push(row.key);
    },
  );
  await expect.poll(() => worked.length).toBe(20);
  expect(hanging).toBe(4);
});

it("has four times the hands for many clusters, and at most an eighth of them for one", () => {
  expect(roomOf(16, 1)).toEqual({ all: 16, each: 16 });
  expect(roomOf(16, 2)).toEqual({ all: 32, each: 16 });
  expect(roomOf(16, 100)).toEqual({ all: 64, each: 8 });
  expect(roomOf(1, 100)).toEqual({ all: 4, each: 1 });
});

it("lets go of work for a cluster that goes away, and takes it up when the cluster is back, as if it had not been tried", async () => {
  let there = ["own", "far"];
  const attempts: number[] = [];
  const reasons: unknown[] = [];
  await ask("a", "far");
  run(
    () => there,
    async (row, { signal }) => {
      attempts.push(row.attempts);
      if (attempts.length === 1)
        await untilAborted(signal).catch((error: unknown) => {
          reasons.push(error);
          throw error;
        });
    },
  );
  await expect.poll(() => attempts.length).toBe(1);
  there = ["own"];
  await expect.poll(() => reasons).toEqual([expect.any(LoopAbort)]);
  expect((reasons[0] as LoopAbort).why).toBe("unreachable");
  // Its hand is free, and its row waits.
  await ask("b", "own");
  await expect.poll(() => attempts.length).toBe(2);
  const due = () => db().selectFrom("due").select(["key", "lease_holder"]).execute();
  await expect.poll(due).toEqual([{ key: "a", lease_holder: null }]);
  there = ["own", "far"];
  await expect.poll(() => attempts).toEqual([1, 1, 1]);
});

it("goes on with what is the machine's own, whatever becomes of the cluster that it is for", async () => {
  let there = ["far"];
  const end = Promise.withResolvers<void>();
  const seen: boolean[] = [];
  await ask("a", "far");
  run(
    () => there,
    async (_row, { signal }) => {
      seen.push(signal.aborted);
      await end.promise;
      seen.push(signal.aborted);
    },
    { at: "machine" },
  );
  await expect.poll(() => seen.length).toBe(1);
  there = [];
  await new Promise((resolve) => setTimeout(resolve, 200));
  end.resolve();
  await expect.poll(() => seen).toEqual([false, false]);
});

it("tries again within seconds what failed because its place did not answer, however often it has", async () => {
  const tries: string[] = [];
  for (const key of ["away", "wrong"]) await ask(key, "far");
  run(
    () => ["far"],
    (row) => {
      tries.push(row.key);
      return Promise.reject(row.key === "away" ? new BerthError("engine_unavailable", { cluster: "far", reason: "no" }) : new Error("no"));
    },
    { backoff: () => 3_600_000 },
  );
  await expect.poll(() => tries.toSorted()).toEqual(["away", "away", "wrong"]);
});

it("tries at once what failed while a cluster was away, and leaves alone what waits for another reason", async () => {
  const tried: string[] = [];
  const hour = new Date(Date.now() + 3_600_000);
  for (const [key, cluster] of [
    ["a", "far"],
    ["b", "other"],
  ] as const)
    await ask(key, cluster);
  await enqueue(db(), { kind: "k", key: "later", cluster: "far", at: hour });
  run(
    () => ["far", "other"],
    (row) => {
      tried.push(row.key);
      return Promise.reject(new Error("it is away"));
    },
    { backoff: () => 3_600_000 },
  );
  await expect.poll(() => tried.toSorted()).toEqual(["a", "b"]);
  await expect.poll(async () => (await db().selectFrom("due").select("key").where("last_error", "is not", null).execute()).length).toBe(2);
  await hurryFailed(db(), "far");
  await expect.poll(() => tried.toSorted()).toEqual(["a", "a", "b"]);
});
