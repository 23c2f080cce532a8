// Promise 3, shortened: no request is lost by anything that is not a crash. The long form (zero-loss.long.test.ts) sends 500,000.
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestBerth } from "./harness.ts";
import { told } from "./load/verdict.ts";
import { loadThroughChanges } from "./load/zero-loss.ts";

let berth: TestBerth;
beforeAll(async () => {
  // Some of the connections as few are served, and the others as many are.
  berth = await TestBerth.start({}, { routerLimits: { restFrom: 5 } });
});
afterAll(async () => {
  await berth?.stop();
});

test("0 of 10,000 requests fail while everything is released, restarted, scaled, rolled back and upgraded", async () => {
  const { report, streams, faults } = await loadThroughChanges(berth, {
    requests: 10_000,
    seed: "short",
    connections: 20,
    processes: 1,
    // The machine is to be busy with the changes, not with the asking.
    pause: 30,
    say: (line) => {
      console.log(line);
    },
  });
  expect(told(report.faults)).toBe("");
  expect(report.requests).toBeGreaterThanOrEqual(10_000);
  expect(faults).toEqual([]);
  // A release, a restart, a scale-down and a rollback: each ended those that it had to.
  expect(streams).toBeGreaterThanOrEqual(6);
}, 1_200_000);
