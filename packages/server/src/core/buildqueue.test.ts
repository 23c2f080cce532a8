// Fair order between stacks and both bounds, for every queue.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chooseNextBuilds, type QueuedBuild } from "./buildqueue.ts";

const ids = (builds: readonly QueuedBuild[]): string[] => builds.map((build) => build.id);
const build = (id: string, stackId: string, queuedAt: number): QueuedBuild => ({ id, stackId, queuedAt });
const stack = fc.constantFrom("a", "b", "c", "d");
const queue = fc
  .array(fc.record({ stackId: stack, queuedAt: fc.integer({ min: 0, max: 20 }) }), { maxLength: 30 })
  .map((items) => items.map((item, index) => ({ ...item, id: `b${String(index)}` })));
const running = fc.array(fc.record({ stackId: stack }), { maxLength: 8 });
const limits = fc.record({ total: fc.integer({ min: 0, max: 10 }), perStack: fc.integer({ min: 0, max: 4 }) });

function counts(builds: readonly { stackId: string }[]): Map<string, number> {
  const map = new Map<string, number>();
  for (const one of builds) map.set(one.stackId, (map.get(one.stackId) ?? 0) + 1);
  return map;
}

describe("chooseNextBuilds", () => {
  it("lets a stack with nothing running go before the older builds of a busy one", () => {
    const queued = [build("old1", "busy", 1), build("old2", "busy", 2), build("new", "idle", 9)];
    expect(ids(chooseNextBuilds(queued, [{ stackId: "busy" }], { total: 2, perStack: 4 }))).toEqual(["new"]);
    expect(ids(chooseNextBuilds(queued, [], { total: 3, perStack: 4 }))).toEqual(["old1", "new", "old2"]);
  });
  it("gives stacks that have many builds each one turn after another, whoever asked first", () => {
    const stacks = ["a", "b", "c"];
    // All of a's were there first, then b's, then c's.
    let queued = stacks.flatMap((name, place) => [1, 2, 3].map((n) => build(`${name}${String(n)}`, name, place * 10 + n)));
    const served = new Map<string, number>();
    const order: string[] = [];
    for (let now = 1; queued.length > 0; now += 1) {
      // Another is running all the time, and this one ended.
      const [next] = chooseNextBuilds(queued, [{ stackId: "other" }], { total: 2, perStack: 2 }, served);
      if (next === undefined) break;
      order.push(next.id);
      served.set(next.stackId, now);
      queued = queued.filter((one) => one !== next);
    }
    expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]);
    expect(
      ids(chooseNextBuilds([build("x", "late", 1), build("y", "never", 2)], [], { total: 1, perStack: 1 }, new Map([["late", 5]]))),
    ).toEqual(["y"]);
  });
  it("keeps both bounds and chooses each build once", () => {
    fc.assert(
      fc.property(queue, running, limits, (queued, active, bounds) => {
        const chosen = chooseNextBuilds(queued, active, bounds);
        expect(new Set(ids(chosen)).size).toBe(chosen.length);
        if (chosen.length > 0) expect(active.length + chosen.length).toBeLessThanOrEqual(bounds.total);
        const after = counts([...active, ...chosen]);
        for (const one of chosen) expect(after.get(one.stackId)).toBeLessThanOrEqual(bounds.perStack);
      }),
    );
  });
  it("leaves nothing waiting that could start", () => {
    fc.assert(
      fc.property(queue, running, limits, (queued, active, bounds) => {
        const chosen = chooseNextBuilds(queued, active, bounds);
        const after = counts([...active, ...chosen]);
        const left = queued.filter((one) => !chosen.some((other) => other.id === one.id));
        if (active.length + chosen.length < bounds.total)
          for (const one of left) expect(after.get(one.stackId) ?? 0).toBeGreaterThanOrEqual(bounds.perStack);
      }),
    );
  });
  it("never starts a build while a stack with fewer running ones could start one, nor a younger before an older of the same stack", () => {
    fc.assert(
      fc.property(queue, running, limits, (queued, active, bounds) => {
        const chosen = chooseNextBuilds(queued, active, bounds);
        const now = counts(active);
        const waiting = new Map(queued.map((one) => [one.id, one]));
        for (const one of chosen) {
          for (const other of waiting.values()) {
            const mine = now.get(one.stackId) ?? 0;
            const theirs = now.get(other.stackId) ?? 0;
            expect(theirs < mine && theirs < bounds.perStack).toBe(false);
            if (other.stackId === one.stackId) expect(other.queuedAt).toBeGreaterThanOrEqual(one.queuedAt);
          }
          waiting.delete(one.id);
          now.set(one.stackId, (now.get(one.stackId) ?? 0) + 1);
        }
      }),
    );
  });
  it("does not depend on the order of the list", () => {
    fc.assert(
      fc.property(
        queue.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        running,
        limits,
        ([list, shuffled], active, bounds) => {
          expect(ids(chooseNextBuilds(shuffled, active, bounds))).toEqual(ids(chooseNextBuilds(list, active, bounds)));
        },
      ),
    );
  });
});
