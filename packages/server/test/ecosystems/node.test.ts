// Node.js, built and run for real with every package manager: alone, and as a member of a workspace whose lockfile lies above it.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestHost } from "../../src/builders/testing/host.ts";
import { answers, built, ecosystemHost, locked, userWith, type Files } from "./project.ts";

const integrity = "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==";
const json = (value: object): string => JSON.stringify(value);
const server = (answer: string): string => `const ms = require("ms");
require("node:http").createServer((request, response) => response.end(${answer})).listen(process.env.PORT, process.env.HOST);
`;
const manifest = { name: "hello", version: "1.0.0", scripts: { start: "node server.js" }, dependencies: { ms: "2.1.3" } };
const alone: Files = { "package.json": json(manifest), "server.js": server('"hello " + ms(60000)') };
/** `from`: how the member names its sibling. */
const workspace = (from: string, more: object = {}): Files => ({
  "package.json": json({ name: "shop", private: true, workspaces: ["apps/*", "libs/*"], ...more }),
  "libs/word/package.json": json({ name: "word", version: "1.0.0", main: "dist/index.js", scripts: { build: "node build.js" } }),
  "libs/word/build.js":
    "require('node:fs').mkdirSync('dist', { recursive: true }); require('node:fs').writeFileSync('dist/index.js', 'module.exports = \"word\"');",
  "apps/web/package.json": json({ ...manifest, name: "web", dependencies: { ms: "2.1.3", word: from } }),
  "apps/web/server.js": server('require("word") + " " + ms(1000)'),
  "apps/other/package.json": json({ name: "other", version: "1.0.0" }),
});

interface Manager {
  readonly name: string;
  readonly wanted: string;
  readonly alone: () => Files | Promise<Files>;
  readonly workspace: () => Promise<Files>;
}
const pnpmLock = `lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: ${integrity}}\n\nsnapshots:\n\n  ms@2.1.3: {}\n`;
const npmLock = json({
  name: "hello",
  version: "1.0.0",
  lockfileVersion: 3,
  requires: true,
  packages: { "": { name: "hello", version: "1.0.0", dependencies: { ms: "2.1.3" } }, "node_modules/ms": { version: "2.1.3", integrity } },
});
const managers: readonly Manager[] = [
  {
    name: "npm",
    wanted: "*",
    alone: () => ({ ...alone, "package-lock.json": npmLock }),
    workspace: () =>
      locked(workspace("1.0.0"), "package-lock.json", "npm", "*", ["install", "--package-lock-only", "--no-audit", "--no-fund"]),
  },
  {
    name: "pnpm",
    wanted: ">=9",
    alone: () => ({ ...alone, "pnpm-lock.yaml": pnpmLock }),
    workspace: () =>
      locked(
        { ...workspace("workspace:*"), "pnpm-workspace.yaml": "packages:\n  - apps/*\n  - libs/*\n" },
        "pnpm-lock.yaml",
        "pnpm",
        ">=9",
        ["install", "--lockfile-only"],
      ),
  },
  {
    name: "yarn",
    wanted: "1.x",
    alone: () => locked(alone, "yarn.lock", "yarn", "1.x", ["install", "--non-interactive"]),
    workspace: () => locked(workspace("1.0.0"), "yarn.lock", "yarn", "1.x", ["install", "--non-interactive"]),
  },
  {
    name: "yarn",
    wanted: ">=2",
    alone: () =>
      locked(alone, "yarn.lock", "yarn", ">=2", ["install", "--mode=update-lockfile"], {
        YARN_ENABLE_TELEMETRY: "0",
        YARN_ENABLE_IMMUTABLE_INSTALLS: "0",
      }),
    workspace: () =>
      locked(workspace("workspace:*"), "yarn.lock", "yarn", ">=2", ["install", "--mode=update-lockfile"], {
        YARN_ENABLE_TELEMETRY: "0",
        YARN_ENABLE_IMMUTABLE_INSTALLS: "0",
      }),
  },
];

for (const manager of managers) {
  const user = await userWith([
    ["node", ">=18"],
    [manager.name, manager.wanted],
  ]);
  describe.skipIf(user === undefined)(`${manager.name} ${manager.wanted}`, () => {
    let host: TestHost;
    beforeAll(async () => {
      host = await ecosystemHost(user ?? "own");
    });
    afterAll(async () => {
      await host?.dispose();
    });

    it("installs what the lockfile names, and the program finds it", async () => {
      const made = await built(host, await manager.alone());
      expect(made.plan.warnings).toEqual([]);
      expect(await answers(host, made)).toEqual({ status: 200, body: "hello 1m" });
    }, 300_000);

    it("installs a member of a workspace by the workspace's lockfile, and builds its sibling first", async () => {
      const made = await built(host, await manager.workspace(), { root: "apps/web" });
      expect(made.plan).toMatchObject({ root: ".", warnings: [] });
      expect(await answers(host, made)).toEqual({ status: 200, body: "word 1s" });
    }, 300_000);
  });
}
