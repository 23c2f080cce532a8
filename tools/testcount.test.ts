import { expect, it } from "vitest";
import { addRuns, countRun, type VitestReport } from "./testcount.ts";

function report(...files: readonly (readonly [status: string, ...tests: readonly (readonly [string, string])[]])[]): VitestReport {
  return {
    testResults: files.map(([status, ...tests], index) => ({
      name: `${index}.test.ts`,
      status,
      assertionResults: tests.map(([fullName, state]) => ({ fullName, status: state })),
    })),
  };
}

it("counts passed, failed and skipped tests", () => {
  const run = countRun(
    report(["failed", ["a", "passed"], ["b", "failed"]], ["passed", ["c", "passed"], ["d", "pending"], ["e", "todo"]]),
    1,
    true,
  );
  expect(run).toEqual({ passed: 2, failed: 1, skipped: 2, refusedSkips: ["d", "e"], failures: ["0.test.ts: b: "] });
});

it("counts a file that could not be loaded as a failure", () => {
  expect(countRun(report(["failed"], ["passed", ["a", "passed"]]), 1, true)).toMatchObject({ passed: 1, failed: 1 });
});

it("fails a run whose tests passed but whose process did not", () => {
  expect(countRun(report(["passed", ["a", "passed"]]), 1, true)).toMatchObject({ passed: 1, failed: 1 });
});

it("fails a run without a report and a run without a test", () => {
  expect(countRun(undefined, 0, true).failed).toBe(1);
  expect(countRun(report(), 0, true).failed).toBe(1);
  expect(countRun(report(["passed", ["a", "skipped"]]), 0, true).failed).toBe(1);
});

it("accepts skipped tests only when they are for the other kind of user", () => {
  const both = report([
    "passed",
    ["x", "passed"],
    ["as root it drops its rights", "skipped"],
    ["as an ordinary user it keeps them", "skipped"],
  ]);
  expect(countRun(both, 0, true).refusedSkips).toEqual(["as root it drops its rights"]);
  expect(countRun(both, 0, false).refusedSkips).toEqual(["as an ordinary user it keeps them"]);
});

it("adds runs up", () => {
  const run = { passed: 1, failed: 2, skipped: 3, refusedSkips: ["a"], failures: ["b"] };
  expect(addRuns([run, run])).toEqual({ passed: 2, failed: 4, skipped: 6, refusedSkips: ["a", "a"], failures: ["b", "b"] });
});

it("says what failed, and all that it said before its stack", () => {
  const failing: VitestReport = {
    testResults: [
      {
        name: "a.test.ts",
        status: "failed",
        assertionResults: [{ fullName: "a b", status: "failed", failureMessages: ["Error: no\n    at x\n    at y"] }],
      },
      { name: "c.test.ts", status: "failed", message: "cannot load\nmore", assertionResults: [] },
    ],
  };
  expect(countRun(failing, 1, true).failures).toEqual(["a.test.ts: a b: Error: no", "c.test.ts: cannot load\nmore"]);
  expect(countRun(report(["passed", ["a", "passed"]]), 1, true).failures).toEqual([
    "the run ended with exit code 1, though every test passed",
  ]);
});
