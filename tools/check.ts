// The checks that run nothing of the product: lint with type-aware rules, format, types, structure. Each one must also prove that it looked at
// files, because a check that silently looks at nothing passes for ever.
import { spawn } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as prettier from "prettier";
import { createProgress, seconds, type Progress } from "./progress.mjs";

const root = join(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules", ".bin", name);

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly looked: number;
  readonly output: string;
  readonly took: number;
}

interface Check {
  readonly name: string;
  readonly run: () => Promise<Omit<CheckResult, "name" | "took">>;
}

const checks: readonly Check[] = [
  { name: "lint", run: lint },
  { name: "format", run: format },
  { name: "types", run: types },
  { name: "structure", run: structure },
];

/** oxlint with .oxlintrc.json; tsgolint, which it starts for the type-aware rules, has to be there or it fails by itself. */
async function lint(): Promise<Omit<CheckResult, "name" | "took">> {
  const { code, stdout, stderr } = await capture(bin("oxlint"), ["--format=json", "packages", "tools", "e2e", "bench", "vitest.config.ts"]);
  const report = parseReport(stdout);
  if (report === undefined) return { ok: false, looked: 0, output: stdout + stderr };
  const output = report.diagnostics
    .map((entry) => `${entry.filename}:${entry.labels[0]?.span.line ?? 1}: ${entry.message} [${entry.code ?? "parse"}]`)
    .join("\n");
  return { ok: code === 0 && report.diagnostics.length === 0, looked: report.number_of_files, output: output + stderr };
}

interface LintReport {
  readonly number_of_files: number;
  readonly diagnostics: readonly {
    readonly filename: string;
    readonly message: string;
    readonly code?: string;
    readonly labels: readonly { readonly span: { readonly line: number } }[];
  }[];
}

function parseReport(text: string): LintReport | undefined {
  try {
    return JSON.parse(text.slice(text.indexOf("{"))) as LintReport;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** prettier with .prettierrc.json; `npm run format` mends what it finds. Looks at every file because its own count of what it looked at is not told. */
async function format(): Promise<Omit<CheckResult, "name" | "took">> {
  const ignorePath = join(root, ".prettierignore");
  const config = await prettier.resolveConfig(join(root, "tools", "check.ts"));
  const different: string[] = [];
  let looked = 0;
  for (const name of globSync("{*,packages/**/*,tools/**/*,e2e/**/*,bench/**/*}.{ts,mts,mjs}", {
    cwd: root,
    exclude: (entry) => entry === "node_modules" || entry === "dist",
  })) {
    const filepath = join(root, name);
    if ((await prettier.getFileInfo(filepath, { ignorePath })).ignored) continue;
    looked += 1;
    if (!(await prettier.check(readFileSync(filepath, "utf8"), { ...config, filepath }))) different.push(name);
  }
  return {
    ok: different.length === 0,
    looked,
    output: different.length === 0 ? "" : `${different.join("\n")}\nnot formatted; run \`npm run format\``,
  };
}

async function types(): Promise<Omit<CheckResult, "name" | "took">> {
  const { code, stdout, stderr } = await capture(bin("tsc"), ["-p", ".", "--pretty", "false", "--listFiles"]);
  const lines = stdout.split("\n");
  const isListed = (line: string): boolean => line.startsWith("/") && /\.[mc]?tsx?$|\.json$/.test(line);
  const own = lines.filter((line) => isListed(line) && line.startsWith(`${root}/`) && !line.includes("/node_modules/"));
  return { ok: code === 0, looked: own.length, output: [...lines.filter((line) => !isListed(line)), stderr].join("\n") };
}

async function structure(): Promise<Omit<CheckResult, "name" | "took">> {
  const { code, stdout, stderr } = await capture(process.execPath, [join(root, "tools", "check-structure.ts")]);
  return { ok: code === 0, looked: Number(/^(\d+) files/m.exec(stdout)?.[1] ?? 0), output: code === 0 ? "" : stdout + stderr };
}

function capture(file: string, args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code: code ?? 1, stdout, stderr });
    });
  });
}

/** Runs the checks, with a line for each; `only` names one. Together, because one of them uses a single core all the while. */
export async function runChecks(progress: Progress, only?: string): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  const running = checks
    .filter((check) => only === undefined || check.name === only)
    .map(({ name, run }) => {
      const started = performance.now();
      return { name, ended: run().then((found) => ({ found, took: performance.now() - started })) };
    });
  for (const { name, ended } of running) {
    const step = progress.step(name);
    const { found, took } = await ended;
    const blind = found.looked === 0;
    const result = {
      ...found,
      ok: found.ok && !blind,
      output: blind ? `${found.output}\n${name} looked at no file` : found.output,
      name,
      took,
    };
    results.push(result);
    const summary = `${name}: ${result.looked} files (${seconds(took)})`;
    if (result.ok) step.done(summary);
    else {
      step.fail(summary);
      progress.line(result.output.trim());
    }
  }
  return results;
}

if (import.meta.main && process.argv[2] === "--format") {
  const { code, stdout, stderr } = await capture(bin("prettier"), ["--write", "--log-level", "warn", "."]);
  process.stdout.write(stdout + stderr);
  process.exitCode = code;
} else if (import.meta.main) {
  const only = process.argv[2] === "--only" ? process.argv[3] : undefined;
  const results = await runChecks(createProgress(process.stdout), only);
  process.exitCode = results.length > 0 && results.every((result) => result.ok) ? 0 : 1;
}
