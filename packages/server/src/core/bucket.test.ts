import { expect, it } from "vitest";
import { createBucket } from "./bucket.ts";

it("lets through so many at once, and then as many as time brings", () => {
  const bucket = createBucket({ burst: 3, perSecond: 2 });
  expect([0, 0, 0, 0].map((now) => bucket.take("a", now))).toEqual([0, 0, 0, 1]);
  expect(bucket.take("b", 0)).toBe(0);
  expect([500, 500, 600].map((now) => bucket.take("a", now))).toEqual([0, 1, 1]);
  // A clock that was put back takes nothing away, and gives nothing.
  expect(bucket.take("a", 100)).toBe(1);
  expect([60_000, 60_000, 60_000, 60_000].map((now) => bucket.take("a", now))).toEqual([0, 0, 0, 1]);
});

it("does not remember for ever", () => {
  const bucket = createBucket({ burst: 1, perSecond: 1 });
  for (let n = 0; n < 5_000; n += 1) expect(bucket.take(String(n), n * 1_000)).toBe(0);
});
