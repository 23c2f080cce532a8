// Whatever is in the files: an answer, never an exception, and soon.
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { Value } from "typebox/value";
import { ComponentSpec } from "@berth/contract/spec.ts";
import { readCompose } from "./read.ts";
import { readProject, yaml } from "./project.testkit.ts";
import { areas } from "./table.ts";

const keys = [
  ...new Set(Object.values(areas).flatMap((area) => area.rules.map((rule) => rule.key))),
  "a",
  "b",
  "<<",
  "__proto__",
  "constructor",
  "x-y",
  "",
];
const leaf = fc.oneof(
  fc.constantFrom(
    "a",
    "b",
    "1",
    "10s",
    "5m",
    "80:80",
    "data:/x",
    "$A",
    "${A:-b}",
    "curl -f http://localhost:80/",
    "A=1",
    "../x",
    "service_healthy",
    "http",
    "tcp",
    "no",
    ".",
    ".env",
    "b.yaml",
  ),
  fc.string(),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
);
const tree = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, depthSize: "small" },
    leaf,
    fc.array(tie("node"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...keys), tie("node"), { maxKeys: 5 }),
  ),
})).node;
const serviceTree = fc.dictionary(fc.constantFrom(...areas.service.rules.map((rule) => rule.key)), tree, { maxKeys: 6 });
const file = fc.record(
  {
    services: fc.dictionary(
      fc.constantFrom("a", "b", "web", "A_b", "__proto__"),
      fc.oneof({ weight: 4, arbitrary: serviceTree.map((fields) => ({ build: ".", ...fields })) }, tree),
      { maxKeys: 3 },
    ),
    volumes: tree,
    secrets: tree,
    configs: tree,
    include: tree,
    "x-berth": tree,
    name: tree,
  },
  { requiredKeys: ["services"] },
);

function check(texts: Record<string, string>): void {
  const result = readProject({ files: texts });
  if (result.ok) for (const spec of Object.values(result.definition.components)) expect(Value.Errors(ComponentSpec, spec)).toEqual([]);
  else expect(result.problems.length).toBeGreaterThan(0);
}

test("files of the right shape with anything in them", () => {
  fc.assert(
    fc.property(file, file, tree, (one, two, env) =>
      check({ "compose.yaml": stringify(one), "compose.override.yaml": stringify(two), "b.yaml": stringify(one), ".env": stringify(env) }),
    ),
    { numRuns: 400 },
  );
}, 60_000);

test("any text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string(), (text, env) => check({ "compose.yaml": text, ".env": env })),
    { numRuns: 200 },
  );
}, 60_000);

test("input of strange names and values", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string()),
      fc.array(fc.string()),
      fc.dictionary(fc.string(), fc.option(fc.string())),
      (composeFiles, absent, variables) => {
        readCompose({
          files: { "compose.yaml": "services: {a: {build: ., environment: [constructor, __proto__]}}" },
          composeFiles,
          absent,
          variables,
          profiles: absent,
          engine: { kind: "local" },
        });
      },
    ),
  );
});

test("large files end soon", () => {
  // Processor time, since the machine may be busy with other tests.
  const started = process.cpuUsage();
  const lines = Array.from(
    { length: 400 },
    (_, index) => `  s${index}: {extends: ${index === 0 ? "base" : `s${index - 1}`}, environment: {V${index}: 1}}`,
  );
  const env = Array.from({ length: 900 }, (_, index) => `      E${index}: x`);
  expect(readProject(yaml(`services:\n  base:\n    build: .\n    environment:\n${env.join("\n")}\n${lines.join("\n")}\n`))).toMatchObject({
    ok: false,
    problems: [{ params: { reason: expect.stringMatching(/values together/) as string } }],
  });
  expect(readProject(yaml(`services:\n${Array.from({ length: 501 }, (_, index) => `  s${index}: {build: .}`).join("\n")}\n`)).ok).toBe(
    false,
  );
  expect(process.cpuUsage(started).user / 1000).toBeLessThan(15_000);
}, 60_000);
