// `npm test`: the static checks, then every test project, then one line with the sums. Ends with a non-zero code when anything failed,
// when a project ran no test, and, where BERTH_REQUIRE_ALL=1 asks for everything, when a test was skipped that this machine could run.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { runChecks } from "./check.ts";
import { createProgress } from "./progress.mjs";
import { addRuns, countRun, type Run, type VitestReport } from "./testcount.ts";

const root = join(import.meta.dirname, "..");
const progress = createProgress(process.stdout);
/** A run that hangs is ended, and counts as failed. */
const limit = 50 * 60_000;

async function main(args: readonly string[]): Promise<number> {
  const long = args.includes("--long");
  const chosen = args.filter((arg) => arg !== "--long");
  const requireAll = process.env["BERTH_REQUIRE_ALL"] === "1";
  const runs: Run[] = [];
  if (chosen.length > 0) {
    runs.push(await vitest("chosen", chosen));
  } else {
    const checks = await runChecks(progress);
    runs.push({
      passed: checks.filter((check) => check.ok).length,
      failed: checks.filter((check) => !check.ok).length,
      skipped: 0,
      refusedSkips: [],
      failures: checks.filter((check) => !check.ok).map((check) => `check: ${check.name}`),
    });
    for (const project of ["unit", "local", "docker"]) runs.push(await vitest(project, ["--project", project]));
    // Its tests wait for the cluster more than they work.
    runs.push(await vitest("cluster", ["--project", "cluster", "--maxWorkers", "3"]));
    if (long) for (const project of ["long", "cluster-long", "cluster-own"]) runs.push(await vitest(project, ["--project", project]));
  }
  const sum = addRuns(runs);
  if (sum.refusedSkips.length > 0) {
    progress.line(
      requireAll
        ? "These tests were skipped, and BERTH_REQUIRE_ALL=1 asks for all of them:"
        : "Skipped, because this machine lacks what they need:",
    );
    for (const name of sum.refusedSkips) progress.line(`  ${name}`);
  }
  if (sum.failures.length > 0) {
    progress.line("Failed:");
    for (const failure of sum.failures) progress.line(`  ${failure.replace(`${root}/`, "")}`);
  }
  const failed = sum.failed + (requireAll ? sum.refusedSkips.length : 0);
  const skipped = sum.skipped - (requireAll ? sum.refusedSkips.length : 0);
  progress.line(`\n${sum.passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return failed === 0 && sum.passed > 0 ? 0 : 1;
}

/** Runs vitest on this terminal and counts what its JSON report says; a run without a report failed. */
async function vitest(title: string, args: readonly string[]): Promise<Run> {
  progress.line(`\n${progress.bold(title)}`);
  const folder = mkdtempSync(join(tmpdir(), "berth-test-"));
  const report = join(folder, "report.json");
  try {
    const program = join(root, "node_modules", "vitest", "vitest.mjs");
    const code = await new Promise<number>((resolve, reject) => {
      // End-to-end tests drive what is shipped: the bundles in dist/.
      const env = { ...process.env, BERTH_TEST_BUILT: "1" };
      const child = spawn(
        process.execPath,
        [program, "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...args],
        { cwd: root, env, stdio: ["ignore", "inherit", "inherit"], timeout: limit, killSignal: "SIGTERM" },
      );
      child.on("error", reject);
      child.on("close", (status) => {
        resolve(status ?? 1);
      });
    });
    const found = existsSync(report) ? (JSON.parse(readFileSync(report, "utf8")) as VitestReport) : undefined;
    return countRun(found, code, process.getuid?.() === 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
