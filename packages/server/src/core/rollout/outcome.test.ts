import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cause } from "@berth/contract/causes.ts";
import {
  componentState,
  deadlineCause,
  definiteFailure,
  furthest,
  portPatience,
  trouble,
  type JudgedInstance,
  type StateFacts,
} from "./outcome.ts";

const judged = (over: Partial<JudgedInstance> = {}): JudgedInstance => ({
  current: true,
  restarts: 0,
  runningFor: 1_000,
  phase: "running",
  ready: false,
  ...over,
});
const crash = cause("exited_at_start", { exitCode: 1, after: "80 ms" });

describe("a definite failure", () => {
  it.each(["command_not_found", "volume_missing", "start_failed", "exited_zero", "artifact_missing"] as const)(
    "is %s, which waiting does not mend",
    (code) => {
      expect(definiteFailure([judged({ cause: cause(code) })], 15_000)).toEqual(cause(code));
    },
  );
  it("is the third end of a new instance, seen at the latest in its pause", () => {
    expect(definiteFailure([judged({ cause: crash, restarts: 1, phase: "backoff" })], 15_000)).toBeUndefined();
    expect(definiteFailure([judged({ cause: crash, restarts: 2, phase: "starting" })], 15_000)).toBeUndefined();
    expect(definiteFailure([judged({ cause: crash, restarts: 2, phase: "backoff" })], 15_000)).toEqual(crash);
    expect(definiteFailure([judged({ cause: crash, restarts: 3, phase: "starting" })], 15_000)).toEqual(crash);
  });
  it.each(["wrong_port", "wrong_address"] as const)(
    "is %s only after a time that a slow program is given to open the right one, or when its run was ended for it",
    (code) => {
      const why = cause(code);
      expect(definiteFailure([judged({ cause: why, runningFor: 14_999 })], 15_000)).toBeUndefined();
      expect(definiteFailure([judged({ cause: why, runningFor: 15_000 })], 15_000)).toEqual(why);
      expect(definiteFailure([judged({ cause: why, runningFor: 3_000, phase: "backoff" })], Number.POSITIVE_INFINITY)).toEqual(why);
      // A clock that was set back makes it wait, and fails nothing.
      expect(definiteFailure([judged({ cause: why, runningFor: -3_600_000 })], 15_000)).toBeUndefined();
    },
  );
  it("leaves that time to the probes where they name one", () => {
    expect(portPatience({})).toBe(15_000);
    expect(portPatience({ readiness: { check: { type: "tcp" }, initialDelay: 20_000 } })).toBe(35_000);
    expect(portPatience({ startup: { check: { type: "tcp" }, period: 1_000, failureThreshold: 300 } })).toBe(Number.POSITIVE_INFINITY);
  });
  it("is an instance that ended for good", () => {
    expect(definiteFailure([judged({ cause: crash, phase: "exited" })], 15_000)).toEqual(crash);
  });
  it("is not a cause that may pass", () => {
    expect(definiteFailure([judged({ cause: cause("never_ready") }), judged({ cause: cause("not_listening") })], 15_000)).toBeUndefined();
  });
  it("is never one of an old instance, of a ready one, or of one whose cause is not known", () => {
    expect(
      definiteFailure(
        [
          judged({ current: false, cause: cause("wrong_port") }),
          judged({ ready: true, cause: cause("wrong_port") }),
          judged({ restarts: 9, phase: "exited" }),
        ],
        15_000,
      ),
    ).toBeUndefined();
  });
});

describe("what a rollout waits for", () => {
  it("is the cause of a new instance that is not ready, whether that is definite or not", () => {
    expect(
      trouble([
        judged(),
        judged({ ready: true, cause: crash }),
        judged({ current: false, cause: crash }),
        judged({ cause: cause("not_listening") }),
      ]),
    ).toEqual(cause("not_listening"));
    expect(trouble([judged(), judged({ ready: true, cause: crash })])).toBeUndefined();
  });
});

describe("the cause of a missed deadline", () => {
  const numbers = { waited: 120_000, ready: 1, wanted: 3 };
  it("is that of a new instance that is not ready", () => {
    expect(
      deadlineCause(
        [judged({ current: false, cause: crash }), judged({ ready: true, cause: crash }), judged({ cause: cause("never_ready") })],
        numbers,
      ),
    ).toEqual(cause("never_ready"));
  });
  it("is that nothing moved when no instance has one", () => {
    expect(deadlineCause([judged(), judged({ current: false, cause: crash })], numbers)).toEqual(
      cause("deadline_exceeded", { waited: "2 min", ready: 1, wanted: 3 }),
    );
  });
});

describe("progress", () => {
  it("is any number that goes further than ever before", () => {
    const before = { updated: 1, available: 1, old: 3 };
    expect(furthest(undefined, before)).toEqual({ best: before, advanced: true });
    expect(furthest(before, { updated: 2, available: 0, old: 3 })).toEqual({ best: { updated: 2, available: 1, old: 3 }, advanced: true });
    expect(furthest(before, { updated: 1, available: 2, old: 3 }).advanced).toBe(true);
    expect(furthest(before, { updated: 1, available: 1, old: 2 }).advanced).toBe(true);
    expect(furthest(before, { updated: 1, available: 0, old: 4 })).toEqual({ best: before, advanced: false });
  });
  it("does not go on for ever, however the numbers flap", () => {
    const numbers = fc.record({ updated: fc.nat(5), available: fc.nat(5), old: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(numbers, { maxLength: 200 }), (seen) => {
        let best: Parameters<typeof furthest>[0];
        let advances = 0;
        for (const now of seen) {
          const next = furthest(best, now);
          best = next.best;
          if (next.advanced) advances += 1;
        }
        expect(advances).toBeLessThanOrEqual(16);
      }),
      { numRuns: 200 },
    );
  });
});

describe("a component's state", () => {
  const facts: StateFacts = {
    kind: "web",
    deleting: false,
    stopped: false,
    released: true,
    rolloutOpen: false,
    lastRolloutFailed: false,
    wanted: 2,
    available: 2,
  };
  it.each<[string, Partial<StateFacts>, ReturnType<typeof componentState>]>([
    ["all of it serves", {}, "healthy"],
    ["more than wanted serves", { available: 3 }, "healthy"],
    ["part of it serves", { available: 1 }, "degraded"],
    ["none is wanted", { wanted: 0, available: 0 }, "healthy"],
    ["a rollout is open", { rolloutOpen: true, available: 0 }, "progressing"],
    ["a rollout is open on a stopped one", { rolloutOpen: true, stopped: true }, "progressing"],
    ["nothing was released", { released: false, available: 0 }, "new"],
    ["the first release failed", { released: false, lastRolloutFailed: true, available: 0 }, "failed"],
    ["a later release failed and the one before serves", { lastRolloutFailed: true }, "healthy"],
    ["it is stopped", { stopped: true, wanted: 0, available: 0 }, "stopped"],
    ["it runs by a schedule", { kind: "cron", wanted: 0, available: 0 }, "scheduled"],
    ["it is a stopped schedule", { kind: "cron", stopped: true, wanted: 0, available: 0 }, "stopped"],
    ["it is being deleted, whatever else", { deleting: true, rolloutOpen: true, stopped: true }, "deleting"],
  ])("%s", (_, over, state) => {
    expect(componentState({ ...facts, ...over })).toBe(state);
  });
});
