import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { editDistance, nearest } from "./nearest.ts";

describe("the nearest name", () => {
  const names = ["web", "worker", "postgres", "api", "api-gateway"];
  it.each([
    ["wbe", "web"],
    ["wob", "web"],
    ["workr", "worker"],
    ["wroker", "worker"],
    ["postgress", "postgres"],
    ["postgers", "postgres"],
    ["api-gatway", "api-gateway"],
    ["post", "postgres"],
    ["ap", "api"],
    ["api", "api"],
  ])("of %s is %s", (typed, wanted) => {
    expect(nearest(typed, names)).toBe(wanted);
  });
  it.each(["x", "mysql", "wxyz", "wrkrrr", ""])("of %j is none", (typed) => {
    expect(nearest(typed, names)).toBeUndefined();
  });
  it("is the closer one of two, and of two alike the first", () => {
    expect(nearest("stable", ["table", "stables", "stabled"])).toBe("stables");
    expect(nearest("bat", ["cat", "hat"])).toBe("cat");
  });
  it("allows short names one edit only", () => {
    expect([nearest("ab", ["cd"]), nearest("abc", ["xyc"]), nearest("abcd", ["abxy"])]).toEqual([undefined, undefined, undefined]);
  });
});

describe("the edit distance", () => {
  it("counts insertions, deletions, substitutions and swaps of neighbours as one", () => {
    expect([
      editDistance("", ""),
      editDistance("abc", "abc"),
      editDistance("abc", "ab"),
      editDistance("ab", "abc"),
      editDistance("abc", "axc"),
      editDistance("abc", "acb"),
      editDistance("kitten", "sitting"),
    ]).toEqual([0, 0, 1, 1, 1, 1, 3]);
  });
  it("is the same both ways, zero only for equal words, and never more than the longer word", () => {
    const word = fc.string({ maxLength: 8 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(editDistance(b, a)).toBe(distance);
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
      { numRuns: 300 },
    );
  });
  it("gives up beyond its limit", () => {
    expect(editDistance("a", "abcdefgh", 2)).toBe(3);
  });
});
