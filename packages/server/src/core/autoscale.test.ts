// What may be scaled by what its instances use, and what a percentage comes to.
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { expect, it } from "vitest";
import { autoscaleProblem, wantedUse, within } from "./autoscale.ts";

const web: ComponentSpec = { ...defaultSpec("web"), resources: { cpu: 0.5, memory: 100_000_000 }, autoscale: { min: 2, max: 5, cpu: 70 } };

it.each<[string, Partial<ComponentSpec>, RegExp]>([
  ["a schedule", { kind: "cron" }, /of the kind cron/],
  ["what has a volume of its own", { kind: "stateful" }, /of the kind stateful/],
  ["what may end", { restart: "on-failure" }, /may end by itself/],
  ["what only one may hold", { strategy: { type: "recreate" } }, /recreate/],
  ["limits the wrong way round", { autoscale: { min: 3, max: 2, cpu: 70 } }, /its most, 2, is below its least, 3/],
  ["nothing to go by", { autoscale: { min: 1, max: 2 } }, /how much an instance should use/],
  ["a percentage of no cpu limit", { resources: { memory: 100_000_000 } }, /percentage of its cpu takes a limit/],
  [
    "a percentage of no memory limit",
    { resources: {}, autoscale: { min: 1, max: 2, memory: 80 } },
    /percentage of its memory takes a limit/,
  ],
])("refuses %s, with a way out", (_, over, reason) => {
  const problem = autoscaleProblem({ ...web, ...over });
  expect(problem?.reason).toMatch(reason);
  expect(problem?.way).not.toBe("");
});

it("takes what has a limit and says how much of it, and what says nothing at all", () => {
  expect(autoscaleProblem(web)).toBeUndefined();
  expect(autoscaleProblem({ ...web, autoscale: { min: 1, max: 1, cpu: 1, memory: 100 } })).toBeUndefined();
  const { autoscale: _, ...none } = web;
  expect(autoscaleProblem({ ...none, kind: "cron" })).toBeUndefined();
});

it("makes amounts of percentages: thousandths of a core and bytes, one at least", () => {
  expect(wantedUse({ min: 1, max: 2, cpu: 70, memory: 80 }, { cpu: 0.5, memory: 100_000_001 })).toEqual({ cpu: 350, memory: 80_000_000 });
  expect(wantedUse({ min: 1, max: 2, cpu: 1 }, { cpu: 0.01 })).toEqual({ cpu: 1 });
  expect(wantedUse({ min: 1, max: 2, cpu: 70 }, {})).toEqual({});
});

it("keeps a number within limits, and any where there are none", () => {
  expect([0, 3, 9].map((count) => within(count, web.autoscale))).toEqual([2, 3, 5]);
  expect(within(9, undefined)).toBe(9);
});
