// Promise 3 in full: 500,000 requests, and clients that stay, through rounds of everything that may happen on an ordinary day; none fails.
// BERTH_TEST_SCALE makes it smaller or larger.
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestBerth } from "./harness.ts";
import { newSeed } from "./load/crash.ts";
import { told } from "./load/verdict.ts";
import { loadThroughChanges } from "./load/zero-loss.ts";

const seed = process.env["BERTH_TEST_SEED"] ?? newSeed();
const requests = Math.ceil(500_000 * Number(process.env["BERTH_TEST_SCALE"] ?? 1));

let berth: TestBerth;
beforeAll(async () => {
  // Some of the connections as few are served, and the others as many are.
  berth = await TestBerth.start({}, { routerLimits: { restFrom: 20 } });
}, 120_000);
afterAll(async () => {
  await berth?.stop();
}, 120_000);

test(`0 of ${requests.toLocaleString("en")} requests fail, and no stream is cut (seed ${seed})`, async () => {
  const { report, faults } = await loadThroughChanges(berth, {
    requests,
    seed,
    connections: 40,
    processes: 2,
    pause: 5,
    say: (line) => {
      console.log(line);
    },
  });
  expect(told(report.faults)).toBe("");
  expect(report.requests).toBeGreaterThanOrEqual(requests);
  expect(faults).toEqual([]);
}, 3_000_000);
