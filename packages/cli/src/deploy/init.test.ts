// `berth init`: what it writes, and that nothing that a person wrote is replaced without a word of theirs.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { startApi, type TestApi } from "../testing/api.ts";
import { Cli, type Ran, type RunOptions } from "../testing/cli.ts";
import { aSource } from "../testing/objects.ts";

const plan: BuildPlan = {
  kind: "node",
  root: ".",
  tools: [],
  steps: [],
  processes: {},
  env: {},
  caches: [],
  exclude: [],
  findings: [],
  warnings: [],
};
const ours = [
  { path: "Dockerfile", text: "FROM ours\n" },
  { path: "compose.yaml", text: "services: {}\n" },
];
let api: TestApi;
let cli: Cli;
let folder: string;
let files = ours;
let missing: { code: string; params: Record<string, unknown>; sentence: string; next: string } | undefined;

beforeEach(async () => {
  files = ours;
  missing = undefined;
  folder = mkdtempSync(join(tmpdir(), "berth-init-"));
  writeFileSync(join(folder, "server.js"), "");
  api = await startApi({
    uploadSource: () => aSource(),
    explainSource: ({ body }) => {
      expect(body.files).toBe(true);
      return { plan, lines: [], ...(missing === undefined ? { files } : { missing }) };
    },
  });
  cli = await Cli.create(api.url);
});
afterEach(async () => {
  await cli.remove();
  rmSync(folder, { recursive: true, force: true });
  await api.close();
});

const init = (words = "", options: RunOptions = {}): Promise<Ran> =>
  cli.run(["init", ...words.split(" ").filter((word) => word !== "")], { cwd: folder, ...options });
const text = (path: string): string => readFileSync(join(folder, path), "utf8");

it("writes what is not there, and run again changes nothing", async () => {
  expect(await init()).toMatchObject({ code: 0, out: "Dockerfile  written\ncompose.yaml  written\n" });
  expect([text("Dockerfile"), text("compose.yaml")]).toEqual(ours.map((file) => file.text));
  expect(await init()).toMatchObject({
    code: 0,
    out: "Dockerfile  is there already, and the same\ncompose.yaml  is there already, and the same\n",
  });
});

it("keeps what a person changed where nobody can be asked, and says how to see and take the other", async () => {
  writeFileSync(join(folder, "Dockerfile"), "FROM mine\n");
  const ran = await init();
  expect(ran).toMatchObject({ code: 0, out: "Dockerfile  kept as it is\ncompose.yaml  written\n" });
  expect(ran.err).toMatch(/--dry-run.*--force/);
  expect(text("Dockerfile")).toBe("FROM mine\n");
});

it.each([
  ["y\n", "FROM ours\n"],
  ["n\n", "FROM mine\n"],
  ["\n", "FROM mine\n"],
])("asks at a terminal, and does as %j says", async (typed, left) => {
  writeFileSync(join(folder, "Dockerfile"), "FROM mine\n");
  const ran = await init("", { terminal: 80, stdin: typed });
  expect(ran.err).toContain("Dockerfile is there and differs. Replace it? [y/N]");
  expect(text("Dockerfile")).toBe(left);
});

it("replaces with --force", async () => {
  writeFileSync(join(folder, "Dockerfile"), "FROM mine\n");
  expect(await init("--force")).toMatchObject({ code: 0, out: "Dockerfile  replaced\ncompose.yaml  written\n" });
  expect(text("Dockerfile")).toBe("FROM ours\n");
});

it("makes no second Compose file beside one of another name", async () => {
  writeFileSync(join(folder, "docker-compose.yml"), "services: {}\n");
  expect(await init("--force")).toMatchObject({ code: 0, out: "Dockerfile  written\ndocker-compose.yml  kept as it is\n" });
  expect(existsSync(join(folder, "compose.yaml"))).toBe(false);
});

it("writes no .dockerignore for a Dockerfile that it did not write", async () => {
  files = [ours[0] ?? { path: "", text: "" }, { path: ".dockerignore", text: ".git\n" }];
  writeFileSync(join(folder, "Containerfile"), "FROM mine\n");
  expect((await init()).out).toMatch(/^Containerfile  kept as it is\n\.dockerignore  not written/);
  expect(readdirSync(folder).sort()).toEqual(["Containerfile", "server.js"]);
});

it("says that a project of a workspace is built from above", async () => {
  expect(await init("--root apps/api")).toMatchObject({
    code: 1,
    err: expect.stringContaining("apps/api is built from the folder above") as string,
  });
  expect(readdirSync(folder)).toEqual(["server.js"]);
});

it("never writes through a link, nor outside of the folder", async () => {
  const elsewhere = join(folder, "elsewhere");
  writeFileSync(elsewhere, "theirs");
  symlinkSync(elsewhere, join(folder, "Dockerfile"));
  expect(await init("--force")).toMatchObject({ code: 0, out: "Dockerfile  kept as it is\ncompose.yaml  written\n" });
  expect(readFileSync(elsewhere, "utf8")).toBe("theirs");
  files = [{ path: "../evil", text: "x" }];
  expect(await init()).toMatchObject({ code: 1, err: expect.stringContaining("outside of the folder: ../evil") as string });
});

it("shows the files with --dry-run, and writes none", async () => {
  expect(await init("--dry-run")).toMatchObject({ code: 0, out: "--- Dockerfile\nFROM ours\n\n--- compose.yaml\nservices: {}\n\n" });
  expect(JSON.parse((await init("--dry-run --json")).out)).toEqual(ours);
  expect(readdirSync(folder)).toEqual(["server.js"]);
});

it("says what no image can be made of", async () => {
  missing = { code: "base_missing", params: {}, sentence: "The catalogue has no node 12.", next: "Ask for another." };
  expect(await init()).toMatchObject({
    code: 1,
    err: expect.stringMatching(/The catalogue has no node 12\.[\s\S]*Ask for another\./) as string,
  });
  expect(readdirSync(folder)).toEqual(["server.js"]);
});
