// Sample projects as real folders, each with the explanation of its plan beside it, as `berth plan` prints it.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { renderCause } from "@berth/contract/causes.ts";
import { expect, it } from "vitest";
import { detectBuildPlan, filesOfInterest, type DetectOptions } from "./detect.ts";
import { explainPlan } from "./explain.ts";
import type { SourceTree } from "./source.ts";

const folders = join(import.meta.dirname, "../../../test/fixtures/buildplan");

function treeIn(folder: string): SourceTree {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const texts = new Map(files.map((file) => [file, filesOfInterest(file) ? readFileSync(join(folder, file), "utf8") : undefined]));
  return { files: new Set(files), read: (path) => texts.get(path) };
}

const roots: Readonly<Record<string, string>> = { "node-workspace": "apps/api", "rust-workspace": "services/search" };
const names = readdirSync(folders, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

it("finds the sample projects", () => {
  expect(names.length).toBeGreaterThanOrEqual(12);
});

it.each(names)("explains %s", async (name) => {
  const options: DetectOptions = { root: roots[name] ?? ".", prefer: "process" };
  const detected = detectBuildPlan(treeIn(join(folders, name)), options);
  const said = detected.ok
    ? explainPlan(detected.plan)
    : [detected.cause.code, ...Object.values(renderCause(detected.cause)), ...detected.cause.evidence.map((item) => `  ${item.text}`)];
  await expect(`${said.join("\n")}\n`).toMatchFileSnapshot(join(folders, `${name}.plan.txt`));
});
