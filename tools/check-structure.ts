// Prints every place where the source breaks the structure that docs/architecture.md promises, and fails if there is one.
// Must never pass because it looked at nothing.
import { join } from "node:path";
import process from "node:process";
import { readSources } from "./structure/graph.ts";
import { checkAll } from "./structure/rules.ts";

const files = readSources(join(import.meta.dirname, ".."), ["packages", "tools", "e2e", "bench"]);
const outcomes = checkAll(files);
const violations = outcomes.flatMap((outcome) => outcome.violations);
for (const { rule, path, line, text } of violations) process.stdout.write(`${path}:${line}: ${text} [${rule}]\n`);
process.stdout.write(`${files.length} files, ${outcomes.map((outcome) => `${outcome.rule} ${outcome.looked}`).join(", ")}\n`);
process.stdout.write(violations.length === 0 ? "structure: sound\n" : `structure: ${violations.length} violations\n`);
process.exitCode = violations.length === 0 ? 0 : 1;
