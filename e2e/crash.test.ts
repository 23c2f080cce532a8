// Promise 2, shortened: kill anything at any instant, and every accepted order still ends as it should. The long form is crash.long.test.ts.
import { expect, test } from "vitest";
import { crash, newSeed } from "./load/crash.ts";

const seed = process.env["BERTH_TEST_SEED"] ?? newSeed();

test(`whatever is killed, every order is kept, nothing is left over and no request fails that could be saved (seed ${seed})`, async () => {
  const result = await crash({
    seed,
    kills: { "control plane": 6, router: 2, agent: 2, collector: 1, instance: 2, database: 1, "edge primary": 2 },
    within: 2_000,
    stacks: 3,
    loadedStacks: 1,
    connections: 6,
    say: (line) => {
      console.log(line);
    },
  });
  expect(result.findings, result.findings.join("\n")).toEqual([]);
  expect(result.kills).toBe(16);
  expect(result.requests).toBeGreaterThan(500);
}, 1_200_000);
