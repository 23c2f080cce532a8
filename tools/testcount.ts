// Turns vitest's JSON report into numbers that cannot hide a failure. Pure.

/** The part of vitest's JSON report (jest's format) that counts. */
export interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
    readonly message?: string;
  }[];
}

export interface Run {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Skipped tests that a machine with every tool would run. */
  readonly refusedSkips: readonly string[];
  /** Each failure by name, with what it said before its stack: the last lines of a long log are often all that is kept of it. */
  readonly failures: readonly string[];
}

/** Root and an ordinary user see different things; a test for the other one is rightly skipped when its name says so. */
function isForOtherUser(name: string, asRoot: boolean): boolean {
  return asRoot ? /\bas an ordinary user\b/.test(name) : /\bas root\b/.test(name);
}

/** Counts one run. A file that could not be loaded, a failure outside of tests and a run without tests each count as one failure. */
export function countRun(report: VitestReport | undefined, exitCode: number, asRoot: boolean): Run {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0, refusedSkips: [], failures: ["the run ended without a report"] };
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const passed = tests.filter((test) => test.status === "passed").length;
  const failedTests = tests.filter((test) => test.status === "failed").length;
  const broken = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  );
  const skips = tests.filter((test) => test.status !== "passed" && test.status !== "failed");
  const counted = failedTests + broken.length;
  const failed = counted === 0 && (exitCode !== 0 || passed === 0) ? 1 : counted;
  const failures = [
    ...report.testResults.flatMap((file) =>
      file.assertionResults
        .filter((test) => test.status === "failed")
        .map((test) => `${file.name}: ${test.fullName}: ${messageOf(test.failureMessages?.[0])}`),
    ),
    ...broken.map((file) => `${file.name}: ${messageOf(file.message)}`),
    ...(failed > counted
      ? [passed === 0 ? "no test ran" : `the run ended with exit code ${String(exitCode)}, though every test passed`]
      : []),
  ];
  return {
    passed,
    failed,
    failures,
    skipped: skips.length,
    refusedSkips: skips.map((test) => test.fullName).filter((name) => !isForOtherUser(name, asRoot)),
  };
}

/** What was said before the stack, shortened. */
function messageOf(text: string | undefined): string {
  const lines = (text ?? "").split("\n");
  const frame = lines.findIndex((line) => /^\s+at /.test(line));
  return lines
    .slice(0, frame === -1 ? undefined : Math.max(1, frame))
    .join("\n")
    .slice(0, 1_500)
    .trimEnd();
}

export function addRuns(runs: readonly Run[]): Run {
  return runs.reduce(
    (sum, run) => ({
      passed: sum.passed + run.passed,
      failed: sum.failed + run.failed,
      skipped: sum.skipped + run.skipped,
      refusedSkips: [...sum.refusedSkips, ...run.refusedSkips],
      failures: [...sum.failures, ...run.failures],
    }),
    { passed: 0, failed: 0, skipped: 0, refusedSkips: [], failures: [] },
  );
}
