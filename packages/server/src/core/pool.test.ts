import { expect, it } from "vitest";
import { isPool, overlap, subnetsIn, toNumber, toText } from "./pool.ts";

it("is cut into networks of one size, none of which overlaps another", () => {
  const all = [...subnetsIn({ base: "10.64.0.0/14", size: 16 })];
  expect(all.map(({ first }) => toText(first))).toEqual(["10.64.0.0", "10.65.0.0", "10.66.0.0", "10.67.0.0"]);
  expect(all.some((one) => all.some((other) => one !== other && overlap(one, other)))).toBe(false);
  expect(overlap({ first: toNumber("10.64.0.0"), count: 2 ** 18 }, { first: toNumber("10.65.7.0"), count: 256 })).toBe(true);
});

it.each([
  [{ base: "10.208.0.0/12", size: 22 }, true],
  [{ base: "10.208.0.0/12", size: 11 }, false],
  [{ base: "10.208.0.1/12", size: 22 }, false],
  [{ base: "10.0.0.0", size: 22 }, false],
  [{ base: "10.0.0.256/24", size: 24 }, false],
  [{ base: "10.0.0.0/24", size: 27 }, false],
])("%j: %s", (pool, is) => {
  expect(isPool(pool)).toBe(is);
});
