// The linter finds what it is there for, with this repository's own configuration: a rule that was switched off, or a type-aware half that
// silently does not run, fails here.
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-lint-"));
  copyFileSync(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { target: "es2024", module: "nodenext", moduleDetection: "force", strict: true, noEmit: true, types: [] },
      include: ["*.ts"],
    }),
  );
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** The rules that complain about the text. */
async function complaints(name: string, text: string): Promise<string[]> {
  writeFileSync(join(folder, `${name}.ts`), `${text}\n`);
  const output = await new Promise<string>((resolve) => {
    execFile(join(root, "node_modules/.bin/oxlint"), ["--format=json", `${name}.ts`], { cwd: folder }, (_error, stdout) => {
      resolve(stdout);
    });
  });
  const report = JSON.parse(output) as { readonly number_of_files: number; readonly diagnostics: readonly { readonly code?: string }[] };
  expect(report.number_of_files).toBe(1);
  return report.diagnostics.map((entry) => entry.code?.replace(/^.*\((.*)\)$/, "$1") ?? "parse");
}

const work = "async function work(): Promise<number> { return 1; }\n";
const bad: readonly (readonly [rule: string, text: string])[] = [
  ["no-floating-promises", `${work}export function a(): void { work(); }`],
  ["no-misused-promises", `${work}export function a(list: number[]): void { list.forEach(async () => { await work(); }); }`],
  ["await-thenable", "export async function a(): Promise<number> { return await (5 as number); }"],
  ["switch-exhaustiveness-check", `export function a(kind: "x" | "y"): number { switch (kind) { case "x": return 1; } return 2; }`],
  ["no-explicit-any", "export const a: any = 1;"],
  ["no-unsafe-member-access", `export const a: string = JSON.parse("{}").b;`],
  ["no-empty", "export function a(): void { try { a(); } catch {} }"],
  ["ban-ts-comment", "// @ts-ignore\nexport const a: string = 5;"],
  ["only-throw-error", `export function a(): never { throw "text"; }`],
  ["consistent-type-imports", `import { Dirent } from "node:fs";\nexport type A = Dirent;`],
  ["no-unused-vars", "const unused = 1;\nexport {};"],
  ["eqeqeq", "export const a = (b: number): boolean => b == 1;"],
];
it.each(bad)("finds %s", async (rule, text) => {
  expect(await complaints(rule.replaceAll("-", ""), text)).toContain(rule);
});

it("finds nothing in good text", async () => {
  expect(await complaints("good", `${work}export async function a(): Promise<number> { return await work(); }`)).toEqual([]);
});
