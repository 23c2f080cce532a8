// Every list and show route of an installation with some history, asked as `npm run bench:api` asks them: each has to be answered, and none may take long.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askApart } from "../bench/api/asking.ts";
import { deployAll } from "../bench/api/deployments.ts";
import { seed } from "../bench/api/seed.ts";
import { costOf, percentile } from "../bench/shared/watch.ts";
import { TestBerth } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
}, 180_000);
afterAll(() => berth?.stop(), 180_000);

describe("an installation with 300 components and 1,500 releases", () => {
  it("answers every list and show route", { timeout: 400_000 }, async () => {
    const size = { stacks: 30, components: 10, releases: 5, events: 10 };
    await seed(berth, size);
    await deployAll(berth, ["live"]);
    const asking = { url: berth.url, token: berth.token, size, live: ["live"], rounds: 5, seconds: 10 };
    const answered = await askApart(asking);
    expect(answered.size).toBeGreaterThan(90);
    // 20 ms is the promise on a machine without other work; a list that asks for each of its rows by itself is far above this on any.
    const slow = [...answered].filter(([, times]) => percentile(times, 50) > 1_500).map(([name]) => name);
    expect(slow).toEqual([]);
    const { resident } = (await costOf(berth, 1, 1))["control plane"];
    // 200 MB is the promise of an idle one.
    expect(resident / 1e6).toBeLessThan(260);
  });
});
