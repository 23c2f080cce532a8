// Promise 2 in full: 200 kills of the control plane at random instants while ten stacks are worked on, and 40 of everything else. BERTH_TEST_SEED repeats a
// run as far as chance goes, BERTH_TEST_SCALE makes it smaller or larger.
import { expect, test } from "vitest";
import { crash, newSeed } from "./load/crash.ts";

const seed = process.env["BERTH_TEST_SEED"] ?? newSeed();
const scaled = (count: number): number => Math.ceil(count * Number(process.env["BERTH_TEST_SCALE"] ?? 1));
const kills = {
  "control plane": scaled(200),
  router: scaled(40),
  agent: scaled(40),
  collector: scaled(40),
  instance: scaled(40),
  database: scaled(40),
  "edge primary": scaled(40),
};

test(`of any process change no outcome (seed ${seed})`, async () => {
  const result = await crash({
    seed,
    kills,
    within: 4_000,
    stacks: 8,
    loadedStacks: 2,
    connections: 20,
    say: (line) => {
      console.log(line);
    },
  });
  expect(result.findings, result.findings.join("\n")).toEqual([]);
  expect(result.kills).toBe(Object.values(kills).reduce((sum, count) => sum + count, 0));
}, 2_400_000);
