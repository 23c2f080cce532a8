// The planner in thousands of random histories with crashes, late and repeated looks, jumping clocks and changing wishes. fast-check prints the seed of a failure.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Simulation, type Setup, type Step } from "./simulate.testkit.ts";

const pass = fc.record({
  do: fc.constant("pass" as const),
  obeyed: fc.oneof({ weight: 4, arbitrary: fc.constant(99) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 }) }),
  newTurn: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  age: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) }),
  slow: fc.constantFrom(0, 0, 0, 30, 400),
  lateStop: fc.boolean(),
});
const wait = fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 1_500 }) });
const fault = fc.oneof(
  fc.record({ do: fc.constantFrom("crash" as const, "unready" as const, "crash" as const, "exit" as const), who: fc.nat(9) }),
  fc.record({ do: fc.constant("wipe" as const) }),
  fc.record({ do: fc.constant("clock" as const), ms: fc.constantFrom(-3_600_000, -4_000, -300, 300, 4_000, 3_600_000) }),
);
const wish = fc.oneof(
  fc.record({ do: fc.constant("want" as const), release: fc.constantFrom("a", "b", "c"), broken: fc.boolean() }),
  fc.record({ do: fc.constant("scale" as const), replicas: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ do: fc.constantFrom("restart" as const, "stop" as const, "start" as const, "start" as const) }),
);
const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof({ weight: 10, arbitrary: pass }, { weight: 6, arbitrary: wait }, { weight: 2, arbitrary: fault }, { weight: 2, arbitrary: wish }), { minLength: 10, maxLength: 45 });
const optional = (values: readonly number[]): fc.Arbitrary<number | undefined> => fc.constantFrom(undefined, ...values);
const setups = (type: "rolling" | "recreate", looks: Setup["looks"]): fc.Arbitrary<Setup> => fc.record({
  seed: fc.nat(), hasTraffic: fc.boolean(), drainTimeout: fc.constantFrom(0, 500, 2_000), replicas: fc.integer({ min: 1, max: 4 }), looks: fc.constant(looks),
  strategy: fc.record({ maxSurge: optional([0, 1, 2, 4]), maxUnavailable: optional([0, 1, 2, 4]), minReady: optional([300]) }).map(({ maxSurge, maxUnavailable, minReady }) => ({
    type, ...(maxSurge === undefined ? {} : { maxSurge }), ...(maxUnavailable === undefined ? {} : { maxUnavailable }), ...(minReady === undefined ? {} : { minReady }),
  })),
});

function run(setup: Setup, history: readonly Step[]): void {
  const simulation = new Simulation(setup);
  for (const step of history) simulation.step(step);
  simulation.calm(700);
  for (let count = 0; count < 3; count += 1) {
    simulation.world.tick(1_000);
    expect(simulation.pass({ obeyed: 99, newTurn: false, age: 0, slow: 0, lateStop: false }).actions).toEqual([]);
  }
}
const histories = (type: "rolling" | "recreate", looks: Setup["looks"], numRuns: number): void => { fc.assert(fc.property(setups(type, looks), steps, run), { numRuns }); };

describe("in any history", () => {
  it("a rolling change keeps the floor, drains before it stops, stays within the surge and ends", () => { histories("rolling", "answered", 3_500); }, 60_000);
  it("a recreating change never runs old and new at once, drains before it stops, and ends", () => { histories("recreate", "answered", 500); }, 60_000);
  it("looks that are older than the last orders, and out of order, never cost a request and never keep it from its end", () => { histories("rolling", "any", 1_000); }, 60_000);
});
