// The planner in 5,000 random histories: crashes between any two actions, orders that arrive late, looks that are late, repeated and out of order, clocks that jump,
// and wishes that change in the middle: deployments over deployments, aborts, rollbacks, scaling, restarts, stop and start, removal, releases with and without ports.
//
// What was tried on the planner by hand, and the check of simulate.testkit.ts that found it:
// - a stop before the requests in flight have ended, or before the entry that drains is in force in every router: "stopped with n requests in flight";
// - a stop before the mark was saved: "stopped before that was written down"; a mark taken back: "stopping and gets requests", or the floor;
// - one instance below the floor, or what is not ready for both agent and routers counted as available: "n is the floor";
// - one instance above the surge: "pass the surge"; recreate beside an instance that leaves: "started beside";
// - the entry removed before the last of a release with ports has left: "the entry is removed while"; what is not known to the routers left undrained: "not settled";
// - a drain without an end: "not settled after"; done while old instances are there: "settled with as many as wanted".
// Two slips are too rare for chance and have a row of their own in plan.test.ts: a clock set back that lengthens a drain, and an entry in force that nobody remembers.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Simulation, type Setup, type Step } from "./simulate.testkit.ts";

const pass = fc.record({
  do: fc.constant("pass" as const),
  obeyed: fc.oneof({ weight: 4, arbitrary: fc.constant(99) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 }) }),
  newTurn: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  age: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) }),
  slow: fc.constantFrom(0, 0, 0, 30, 400),
  late: fc.constantFrom(undefined, 0, 200, 2_500),
});
const wait = fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 1_500 }) });
const fault = fc.oneof(
  fc.record({ do: fc.constantFrom("crash" as const, "unready" as const, "crash" as const, "exit" as const), who: fc.nat(9) }),
  fc.record({ do: fc.constant("wipe" as const) }),
  fc.record({ do: fc.constant("clock" as const), ms: fc.constantFrom(-3_600_000, -4_000, -300, 300, 4_000, 3_600_000) }),
);
const wish = fc.oneof(
  fc.record({ do: fc.constant("want" as const), release: fc.constantFrom("a" as const, "b" as const, "c" as const), broken: fc.boolean() }),
  fc.record({ do: fc.constant("scale" as const), replicas: fc.integer({ min: 0, max: 4 }) }),
  fc.record({
    do: fc.constantFrom(
      "restart" as const,
      "stop" as const,
      "start" as const,
      "start" as const,
      "abort" as const,
      "rollback" as const,
      "delete" as const,
    ),
  }),
);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 10, arbitrary: pass },
    { weight: 6, arbitrary: wait },
    { weight: 2, arbitrary: fault },
    { weight: 2, arbitrary: wish },
  ),
  { minLength: 10, maxLength: 45 },
);
const optional = (values: readonly number[]): fc.Arbitrary<number | undefined> => fc.constantFrom(undefined, ...values);
const traits = fc.record({
  exposed: fc.oneof({ weight: 2, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  drainTimeout: fc.constantFrom(0, 500, 2_000),
});
const setups = (type: "rolling" | "recreate", looks: Setup["looks"]): fc.Arbitrary<Setup> =>
  fc.record({
    seed: fc.nat(),
    releases: fc.record({ a: traits, b: traits, c: traits }),
    replicas: fc.integer({ min: 1, max: 4 }),
    looks: fc.constant(looks),
    strategy: fc
      .record({ maxSurge: optional([0, 1, 2, 4]), maxUnavailable: optional([0, 1, 2, 4]), minReady: optional([300]) })
      .map(({ maxSurge, maxUnavailable, minReady }) => ({
        type,
        ...(maxSurge === undefined ? {} : { maxSurge }),
        ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
        ...(minReady === undefined ? {} : { minReady }),
      })),
  });

function run(setup: Setup, history: readonly Step[]): void {
  const simulation = new Simulation(setup);
  for (const step of history) simulation.step(step);
  simulation.calm(700);
  for (let count = 0; count < 3; count += 1) {
    simulation.world.tick(1_000);
    expect(simulation.pass({ obeyed: 99, newTurn: false, age: 0, slow: 0, late: undefined }).actions).toEqual([]);
  }
}
/** Chosen by chance and printed: `BERTH_SEED=...` runs the same histories again. */
const seed = Number(process.env["BERTH_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const histories = (type: "rolling" | "recreate", looks: Setup["looks"], numRuns: number): void => {
  process.stdout.write(`${numRuns} histories of ${type} changes, ${looks} looks: BERTH_SEED=${seed}\n`);
  fc.assert(fc.property(setups(type, looks), steps, run), { numRuns, seed });
};

describe("in any history", () => {
  it("a rolling change keeps the floor, drains before it stops, stays within the surge and ends", () => {
    histories("rolling", "answered", 3_500);
  }, 60_000);
  it("a recreating change never runs old and new at once, drains before it stops, and ends", () => {
    histories("recreate", "answered", 500);
  }, 60_000);
  it("looks that are older than the last orders, and out of order, never cost a request and never keep it from its end", () => {
    histories("rolling", "any", 1_000);
  }, 60_000);
});
