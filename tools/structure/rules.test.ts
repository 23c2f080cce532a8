// Each rule must find what it forbids, in real TypeScript text, and leave alone what is allowed.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseSource, readSources } from "./graph.ts";
import { checkAll, isTest, layerOf } from "./rules.ts";

const server = "packages/server/src";

/** The texts of violations of one rule over files given as path -> text. */
function found(rule: string, files: Record<string, string>): string[] {
  const outcomes = checkAll(Object.entries(files).map(([path, text]) => parseSource(path, text)));
  const outcome = outcomes.find((entry) => entry.rule === rule);
  if (outcome === undefined) throw new Error(`there is no rule ${rule}`);
  return outcome.violations.filter((violation) => violation.path in files).map((violation) => `${violation.path}:${violation.line}`);
}

describe("directions", () => {
  const bad: [string, string, string][] = [
    ["core uses the database", `${server}/core/plan.ts`, `import type { Pool } from "../db/pool.ts";`],
    ["an engine uses the database", `${server}/engines/local/engine.ts`, `import { pool } from "../../db/pool.ts";`],
    ["an engine uses http", `${server}/engines/local/engine.ts`, `export { x } from "../../http/server.ts";`],
    ["a resource uses http", `${server}/resources/stacks/service.ts`, `const x = await import("../../http/server.ts");`],
    [
      "the database uses a resource, by a type expression",
      `${server}/db/pool.ts`,
      `export type T = import("../resources/stacks/store.ts").Row;`,
    ],
    ["the command line uses the server", "packages/cli/src/main.ts", `import { startApp } from "@berth/server/app.ts";`],
    ["the contract uses core", "packages/contract/src/spec.ts", `import { x } from "../../server/src/core/x.ts";`],
    ["a program uses what is for tests", `${server}/http/server.ts`, `import { harness } from "../edge/testing/harness.ts";`],
  ];
  it.each(bad)("finds that %s", (_, path, text) => {
    expect(found("directions", { [path]: `\n${text}` })).toEqual([`${path}:2`]);
  });

  it("allows what points down, and everything to tests", () => {
    expect(
      found("directions", {
        [`${server}/app.ts`]: `import "./http/server.ts"; import "./engines/local/engine.ts"; import "./config.ts";`,
        [`${server}/http/server.ts`]: `import "../resources/stacks/service.ts"; import type { S } from "@berth/contract/spec.ts";`,
        [`${server}/core/plan.ts`]: `import { cause } from "@berth/contract/causes.ts";`,
        [`${server}/core/plan.test.ts`]: `import "../http/server.ts";`,
      }),
    ).toEqual([]);
  });
});

it("knows files that no layer covers", () => {
  expect(found("layers", { [`${server}/misc/thing.ts`]: "export {};", [`${server}/core/a.ts`]: "export {};" })).toEqual([
    `${server}/misc/thing.ts:1`,
  ]);
});

it("finds imports that lead nowhere", () => {
  expect(
    found("targets", { [`${server}/core/a.ts`]: `import "./b.ts";\nimport "./gone.ts";`, [`${server}/core/b.ts`]: "export {};" }),
  ).toEqual([`${server}/core/a.ts:2`]);
});

describe("core", () => {
  it.each([
    `import { readFile } from "node:fs/promises";`,
    `import pg from "pg";`,
    `import { randomUUID } from "node:crypto";`,
    `import * as net from "node:net";`,
    "const now = Date.now();",
    "const now = new Date();",
    "const n = Math.random();",
    "setTimeout(() => 1, 2);",
    "const t = performance.now();",
    `const r = fetch("http://x");`,
  ])("may not: %s", (text) => {
    expect(found("core-purity", { [`${server}/core/a.ts`]: text })).toEqual([`${server}/core/a.ts:1`]);
  });
  it.each([
    `import { createHash } from "node:crypto";`,
    `import { isIP } from "node:net";`,
    `import { parse } from "yaml";`,
    "const d = new Date(5);",
  ])("may: %s", (text) => {
    expect(found("core-purity", { [`${server}/core/a.ts`]: text })).toEqual([]);
  });
});

it("keeps the contract free of Node.js", () => {
  expect(found("contract", { "packages/contract/src/a.ts": `import { Type } from "typebox";\nimport { join } from "node:path";` })).toEqual(
    ["packages/contract/src/a.ts:2"],
  );
});

it("finds process.env outside config.ts", () => {
  const text = "export const home = process.env.HOME;";
  expect(
    found("environment", {
      [`${server}/db/pool.ts`]: text,
      [`${server}/config.ts`]: text,
      "packages/cli/src/config.ts": text,
      [`${server}/db/pool.test.ts`]: text,
    }),
  ).toEqual([`${server}/db/pool.ts:1`]);
});

it("keeps engines apart", () => {
  expect(found("engines-apart", { [`${server}/engines/local/a.ts`]: `import "../docker/b.ts"; import "../engine.ts";` })).toEqual([
    `${server}/engines/local/a.ts:1`,
  ]);
});

it("keeps routes, service and store of a resource in their order", () => {
  expect(
    found("resources", {
      [`${server}/resources/stacks/store.ts`]: `import "./service.ts";`,
      [`${server}/resources/stacks/service.ts`]: `import "./store.ts";\nimport { r } from "./routes.ts";`,
      [`${server}/resources/stacks/routes.ts`]: `import "./service.ts";\nimport { rows } from "./store.ts";\nimport type { Row } from "./store.ts";`,
    }),
  ).toEqual([`${server}/resources/stacks/store.ts:1`, `${server}/resources/stacks/service.ts:2`, `${server}/resources/stacks/routes.ts:2`]);
});

it("finds a resource in another's store", () => {
  expect(
    found("across-resources", {
      [`${server}/resources/volumes/service.ts`]: `import "../stacks/service.ts";\nimport { rows } from "../tokens/store.ts";`,
    }),
  ).toEqual([`${server}/resources/volumes/service.ts:2`]);
});

it("finds barrels", () => {
  expect(
    found("barrels", {
      [`${server}/core/index.ts`]: `export * from "./a.ts";\nexport { b } from "./b.ts";`,
      [`${server}/core/a.ts`]: `export * from "./b.ts"; export const a = 1;`,
    }),
  ).toEqual([`${server}/core/index.ts:1`]);
});

it("finds cycles, also through types", () => {
  expect(
    found("cycles", {
      [`${server}/core/a.ts`]: `import "./b.ts";`,
      [`${server}/core/b.ts`]: `import type { C } from "./c.ts";`,
      [`${server}/core/c.ts`]: `import "./a.ts";`,
      [`${server}/core/d.ts`]: `import "./a.ts";`,
    }),
  ).toEqual([`${server}/core/c.ts:1`]);
});

it("fails a rule that looked at nothing", () => {
  const outcomes = checkAll([]);
  expect(outcomes.length).toBeGreaterThan(8);
  for (const outcome of outcomes)
    expect(outcome.violations.map((violation) => violation.text)).toContain(`the rule \`${outcome.rule}\` looked at nothing`);
});

it("refuses what it cannot parse instead of passing over it", () => {
  expect(() => parseSource("a.ts", "import { from 'x")).toThrow(/a\.ts/);
});

it("reads this repository: every layer that exists has files", () => {
  const files = readSources(join(import.meta.dirname, "../.."), ["packages"]);
  const layers = new Set(files.filter((file) => !isTest(file.path)).map((file) => layerOf(file.path)));
  for (const layer of ["contract", "cli", "core", "ports", "engines", "edge", "db", "resources", "http", "app", "main"] as const)
    expect(layers).toContain(layer);
});
