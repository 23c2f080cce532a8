// What a stack asks for in all, and what of a change its quota refuses.
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { expect, it } from "vitest";
import { quotaProblem, useOf, type Counted } from "./quota.ts";

const mib = 2 ** 20;
const one = (name: string, replicas: number, over: Partial<ComponentSpec> = {}, stopped = false): Counted => ({
  name,
  replicas,
  stopped,
  spec: { ...defaultSpec("web"), resources: { cpu: 0.1, memory: 64 * mib }, ...over },
});

it("counts what is wanted: instances with their limits, what an autoscaler may make, and neither what is stopped nor schedules", () => {
  const scaled = one("scaled", 2, { autoscale: { min: 1, max: 5, cpu: 70 } });
  expect(useOf([one("a", 3), scaled, one("off", 9, {}, true), one("nightly", 1, { kind: "cron" })])).toEqual({
    instances: 8,
    cpu: 0.8,
    memory: 512 * mib,
  });
  // Ten tenths are one.
  expect(useOf([one("a", 10)]).cpu).toBe(1);
  expect(useOf([])).toEqual({ instances: 0, cpu: 0, memory: 0 });
});

it("refuses what would pass a limit, with what is asked for, what is used and what may be", () => {
  const quota = { instances: 4, cpu: 0.35, memory: 256 * mib };
  expect(quotaProblem(quota, [one("a", 2)], [one("a", 3)])).toBeUndefined();
  expect(quotaProblem(quota, [one("a", 3)], [one("a", 5)])).toEqual({
    problem: "over",
    what: "instances",
    asked: "2",
    used: "3",
    limit: "4",
  });
  expect(quotaProblem({ cpu: 0.35 }, [one("a", 3)], [one("a", 4)])).toEqual({
    problem: "over",
    what: "cpu",
    asked: "0.1 cores",
    used: "0.3 cores",
    limit: "0.35 cores",
  });
  expect(quotaProblem({ memory: 256 * mib }, [one("a", 4)], [one("a", 5)])).toMatchObject({ what: "memory", asked: "64m", limit: "256m" });
  expect(quotaProblem({}, [], [one("a", 1000)])).toBeUndefined();
});

it("takes away from nobody: what is above it already may be made smaller and be changed, only not grow", () => {
  const quota = { instances: 2 };
  expect(quotaProblem(quota, [one("a", 5)], [one("a", 4)])).toBeUndefined();
  expect(quotaProblem(quota, [one("a", 5)], [one("a", 5, { gracePeriod: 1 })])).toBeUndefined();
  expect(quotaProblem(quota, [one("a", 5)], [one("a", 6)])).toMatchObject({ what: "instances" });
});

it("takes no component of which nobody knows what it will use, unless it was there before", () => {
  const unbounded = one("free", 1, { resources: { memory: mib } });
  const quota = { cpu: 4, memory: mib };
  expect(quotaProblem(quota, [], [unbounded])).toEqual({ problem: "unbounded", component: "free", what: "cpu", limit: "4 cores" });
  expect(quotaProblem({ memory: mib }, [], [unbounded])).toBeUndefined();
  expect(quotaProblem(quota, [unbounded], [unbounded])).toBeUndefined();
  expect(quotaProblem(quota, [one("free", 1)], [unbounded])).toMatchObject({ problem: "unbounded" });
  expect(quotaProblem(quota, [], [{ ...unbounded, stopped: true }])).toBeUndefined();
});
