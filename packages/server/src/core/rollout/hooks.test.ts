// Which rollout runs a shared release command: never one that another of them would wait for in vain.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { releaseRunner, type HookCandidate } from "./hooks.ts";

const rollout = (id: string, order: number, parts: Partial<HookCandidate> = {}): HookCandidate => ({
  id,
  order,
  kind: "worker",
  waitsFor: [],
  ...parts,
});
const runner = (...among: HookCandidate[]): string | undefined =>
  releaseRunner(among, new Map(among.map(({ id, waitsFor }) => [id, waitsFor])));

describe("a shared release command", () => {
  it("is run by the web component, else by the first that was accepted", () => {
    expect(runner(rollout("a", 0), rollout("b", 1, { kind: "web" }))).toBe("b");
    expect(runner(rollout("b", 1), rollout("a", 0))).toBe("a");
    expect(runner()).toBeUndefined();
  });
  it("is not run by one that waits for another of them, also over a third", () => {
    expect(runner(rollout("a", 0), rollout("b", 1, { kind: "web", waitsFor: ["a"] }))).toBe("a");
    expect(releaseRunner([rollout("a", 0), rollout("b", 1, { kind: "web", waitsFor: ["db"] })], new Map([["db", ["a"]]]))).toBe("a");
    expect(releaseRunner([rollout("a", 0), rollout("b", 1, { kind: "web", waitsFor: ["db"] })], new Map([["db", []]]))).toBe("b");
  });
  it("always finds one, and with dependencies that have no circle nobody waits for ever", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ kind: fc.constantFrom("web" as const, "worker" as const), shares: fc.boolean(), needs: fc.array(fc.nat(8)) }),
          { minLength: 1, maxLength: 8 },
        ),
        (items) => {
          // A rollout waits only for earlier ones, as acceptance orders them.
          const all = items.map((item, order) => ({
            ...rollout(`r${order}`, order, {
              kind: item.kind,
              waitsFor: [...new Set(item.needs.filter((need) => need < order).map((need) => `r${need}`))],
            }),
            shares: item.shares,
          }));
          const among = all.filter(({ shares }) => shares);
          const chosen = releaseRunner(among, new Map(all.map(({ id, waitsFor }) => [id, waitsFor])));
          expect(chosen === undefined).toBe(among.length === 0);
          if (chosen === undefined) return;
          const done = new Set<string>();
          for (let moved = true; moved;) {
            moved = false;
            for (const one of all) {
              if (done.has(one.id) || !one.waitsFor.every((id) => done.has(id))) continue;
              // What shares the command goes on when it is its runner, or when the runner has gone through.
              if (one.shares && one.id !== chosen && !done.has(chosen)) continue;
              done.add(one.id);
              moved = true;
            }
          }
          expect(done.size).toBe(all.length);
        },
      ),
    );
  });
});
