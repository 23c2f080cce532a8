// Guarantees of the choice of track and endpoint.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byWeight, chooseTrack, compileRules, cookieValue, lessBusy, patternProblem, type ChoiceTrack } from "./routing.ts";

interface E {
  readonly id: string;
  readonly inFlight: number;
}
const e = (id: string, inFlight = 0): E => ({ id, inFlight });
const track = (name: string, weight: number, ...usable: E[]): ChoiceTrack<E> => ({ name, weight, usable });
const none = { headers: {} };

const tracks = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom("stable", "candidate", "other"),
    weight: fc.integer({ min: 0, max: 100 }),
    usable: fc.array(fc.record({ id: fc.string(), inFlight: fc.nat(50) }), { maxLength: 4 }),
  }),
  { selector: (one) => one.name, maxLength: 3 },
);
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("chooseTrack", () => {
  it("never chooses a track without a usable endpoint, nor one with weight 0 without a rule", () => {
    fc.assert(
      fc.property(tracks, random, fc.option(fc.constantFrom("stable", "candidate", "gone"), { nil: undefined }), (all, r, sticky) => {
        const choice = chooseTrack<E, ChoiceTrack<E>>(all, [], sticky, none, r);
        if (choice === undefined) return all.every((one) => one.weight === 0 || one.usable.length === 0);
        return choice.track.usable.length > 0 && choice.track.weight > 0;
      }),
    );
  });

  it("gives each track its share over all random numbers", () => {
    fc.assert(
      fc.property(tracks, (all) => {
        const usable = all.filter((one) => one.weight > 0 && one.usable.length > 0);
        const total = usable.reduce((sum, one) => sum + one.weight, 0);
        const steps = 1000;
        const counts = new Map<string, number>();
        for (let step = 0; step < steps; step += 1) {
          const name = byWeight<E, ChoiceTrack<E>>(all, (step + 0.5) / steps)?.name ?? "";
          counts.set(name, (counts.get(name) ?? 0) + 1);
        }
        return usable.every((one) => Math.abs((counts.get(one.name) ?? 0) / steps - one.weight / total) < 0.01);
      }),
      { numRuns: 50 },
    );
  });

  it("keeps a client on its track by the sticky cookie, unless that track takes no traffic any more", () => {
    const all = [track("stable", 90, e("a")), track("candidate", 10, e("b"))];
    expect(chooseTrack(all, [], "candidate", none, 0)).toMatchObject({ by: "sticky", track: { name: "candidate" } });
    expect(chooseTrack([track("stable", 100, e("a")), track("candidate", 0, e("b"))], [], "candidate", none, 0)).toMatchObject({
      by: "weight",
      track: { name: "stable" },
    });
    expect(chooseTrack([track("stable", 90, e("a")), track("candidate", 10)], [], "candidate", none, 0.99)).toMatchObject({
      by: "weight",
      track: { name: "stable" },
    });
  });

  it("obeys the first rule that holds before cookie and weights, also for a track of weight 0", () => {
    const rules = compileRules([
      {
        track: "candidate",
        conditions: [
          { in: "header", name: "X-Beta", match: "exact", value: "yes" },
          { in: "cookie", name: "group", match: "prefix", value: "b" },
        ],
      },
      { track: "stable", conditions: [{ in: "header", name: "user-agent", match: "regex", value: "curl/[0-9]+" }] },
    ]);
    const all = [track("stable", 100, e("a")), track("candidate", 0, e("b"))];
    const pick = (headers: Record<string, string>): string | undefined => chooseTrack(all, rules, "stable", { headers }, 0)?.track.name;
    expect(pick({ "x-beta": "yes", cookie: "x=1; group=b7" })).toBe("candidate");
    expect(pick({ "x-beta": "yes", cookie: "group=a" })).toBe("stable");
    expect(chooseTrack(all, rules, undefined, { headers: { "user-agent": "curl/8" } }, 0)?.by).toBe("rule");
  });

  it("falls back to the weights when the ruled track has no usable endpoint", () => {
    const rules = compileRules([{ track: "candidate", conditions: [{ in: "header", name: "a", match: "present", value: "" }] }]);
    expect(chooseTrack([track("stable", 1, e("a")), track("candidate", 0)], rules, undefined, { headers: { a: "" } }, 0)).toMatchObject({
      by: "weight",
      track: { name: "stable" },
    });
  });

  it("runs patterns in linear time and refuses those that cannot be", () => {
    const rules = compileRules([{ track: "candidate", conditions: [{ in: "header", name: "a", match: "regex", value: "^(a+)+$" }] }]);
    const started = performance.now();
    expect(
      chooseTrack(
        [track("stable", 1, e("a")), track("candidate", 1, e("b"))],
        rules,
        undefined,
        { headers: { a: `${"a".repeat(4000)}!` } },
        0,
      )?.by,
    ).toBe("weight");
    expect(performance.now() - started).toBeLessThan(200);
    expect(patternProblem("(a)\\1")).toContain("linear");
    expect(patternProblem("(")).toBeDefined();
    expect(patternProblem("^v[0-9]+$")).toBeUndefined();
  });
});

describe("lessBusy", () => {
  it("always picks one of the endpoints, and of two the less busy one", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ id: fc.string(), inFlight: fc.nat(9) }), { minLength: 1, maxLength: 9 }), random, (all, r) => {
        const picked = lessBusy(all, r);
        return (
          picked !== undefined &&
          all.includes(picked) &&
          (all.length !== 2 || picked.inFlight === Math.min(...all.map((one) => one.inFlight)))
        );
      }),
    );
    expect(lessBusy([], 0.5)).toBeUndefined();
  });

  it("can reach every endpoint and never compares one with itself", () => {
    const all = [e("a"), e("b"), e("c"), e("d")];
    const seen = new Set<string>();
    for (let step = 0; step < 1000; step += 1) seen.add(lessBusy(all, step / 1000)?.id ?? "");
    expect([...seen].sort()).toEqual(["a", "b", "c", "d"]);
    // The busiest of all loses every comparison, so it is picked only if it was compared with itself.
    const busy = [e("a", 1), e("b", 9), e("c", 1)];
    for (let step = 0; step < 1000; step += 1) expect(lessBusy(busy, step / 1000)?.id).not.toBe("b");
  });
});

describe("cookieValue", () => {
  it("finds a cookie among others and nothing that only looks like it", () => {
    expect(cookieValue("a=1; berth=candidate; b=2", "berth")).toBe("candidate");
    expect(cookieValue("xberth=no;berth=yes", "berth")).toBe("yes");
    expect(cookieValue("berthx=no", "berth")).toBeUndefined();
    expect(cookieValue(undefined, "berth")).toBeUndefined();
  });
});
