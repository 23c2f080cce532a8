// What is built in the benchmark of the queue: a Node.js project with a build of some work, and many components of it whose code differs, so
// that no build can stand for another.
import type { Files } from "../../e2e/harness.ts";

const facts = { name: "built", version: "1.0.0" } as const;

/** `text`: what makes it differ from others. `rounds`: how much work the build is; 10 take about a second of CPU time, npm's own included. */
export const built = (text: string, rounds: number): Files => ({
  "package.json": JSON.stringify({ ...facts, private: true, scripts: { build: "node build.js" } }),
  "package-lock.json": JSON.stringify({ ...facts, lockfileVersion: 3, requires: true, packages: { "": facts } }),
  "build.js": `const { pbkdf2Sync } = require("crypto"); const { writeFileSync } = require("fs");
let text = ${JSON.stringify(text)};
for (let round = 0; round < ${String(rounds)}; round += 1) text = pbkdf2Sync(text, "salt", 300_000, 32, "sha256").toString("hex");
writeFileSync("built.txt", text);
`,
});

const worker: Files = { Procfile: "worker: perl -e 'sleep 60 while 1'\n" };

export interface Stack {
  readonly name: string;
  readonly compose: Files;
  /** Build context -> its files. */
  readonly contexts: Readonly<Record<string, Files>>;
}

export function stackOf(name: string, components: number, rounds: number): Stack {
  const names = Array.from({ length: components }, (_, index) => `w${String(index)}`);
  const services = names
    .map((component) => `  ${component}:\n    build: ./${component}\n    x-berth:\n      kind: worker\n      process: worker\n`)
    .join("");
  return {
    name,
    compose: { "compose.yaml": `services:\n${services}` },
    contexts: Object.fromEntries(names.map((component) => [component, { ...built(`${name}-${component}`, rounds), ...worker }])),
  };
}
