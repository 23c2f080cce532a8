// Many deployments at one moment: all of them arrive, and no stack waits for another's whole line. The shortened form of `npm run bench:queue`.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployAtOnce, stacksOf } from "../bench/queue/measure.ts";
import { TestBerth } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
}, 180_000);
afterAll(() => berth?.stop(), 180_000);

describe("20 deployments of 4 stacks asked for at once", () => {
  it("all succeed, and the stacks' builds take turns", { timeout: 600_000 }, async () => {
    const found = await deployAtOnce(berth, stacksOf(4, 5, 1));
    expect(found.lost).toEqual([]);
    expect(found.deployments).toBe(20);
    expect(found.lead).toBeLessThanOrEqual(2);
  });
});
