// What a folder is called: which of Compose's names and variables decide, and when the folder's own name stands in.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { guessStack } from "./project.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function project(files: Readonly<Record<string, string>>): string {
  const top = mkdtempSync(join(tmpdir(), "berth-project-"));
  folders.push(top);
  const folder = join(top, "My Shop");
  for (const [path, text] of Object.entries({ ".keep": "", ...files })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}
const shell =
  (variables: Readonly<Record<string, string>> = {}) =>
  (name: string): string | undefined =>
    variables[name];

test("the folder's name, without and with a Compose file that has none", async () => {
  expect(await guessStack(project({}), shell())).toEqual({ stack: "my-shop", origin: "the folder's name", compose: false });
  expect(await guessStack(project({ "compose.yml": "services: {}\n" }), shell())).toEqual({
    stack: "my-shop",
    origin: "the folder's name",
    compose: true,
  });
});

test("`name:` of the file that Compose would take", async () => {
  expect(
    await guessStack(project({ "compose.yaml": "name: first # here\n", "docker-compose.yml": "name: second\n" }), shell()),
  ).toMatchObject({ stack: "first", compose: true });
  expect(await guessStack(project({ "compose.yaml": 'name: "${X}"\n' }), shell())).toMatchObject({ stack: "my-shop", compose: true });
});

test("`name:` of the first file that COMPOSE_FILE or --file names", async () => {
  const folder = project({ "compose.yaml": "name: usual\n", "deploy/a.yaml": "name: deploy\n", "b.yaml": "name: b\n" });
  expect(await guessStack(folder, shell({ COMPOSE_FILE: "deploy/a.yaml:b.yaml" }))).toEqual({
    stack: "deploy",
    origin: "`name:` in deploy/a.yaml",
    compose: true,
  });
  expect(await guessStack(folder, shell({ COMPOSE_FILE: "deploy/a.yaml" }), ["b.yaml"])).toMatchObject({ stack: "b" });
  expect(await guessStack(folder, shell({ COMPOSE_FILE: "gone.yaml" }))).toMatchObject({ stack: "my-shop", compose: true });
});

test("COMPOSE_PROJECT_NAME wins over `name:`, from the shell and from .env, but says nothing about a folder without a Compose file", async () => {
  const folder = project({
    "compose.yaml": "name: usual\n",
    ".env": "# x\nexport COMPOSE_PROJECT_NAME='from env' # y\nCOMPOSE_PROJECT_NAME_2=no\n",
  });
  expect(await guessStack(folder, shell())).toEqual({ stack: "from-env", origin: "COMPOSE_PROJECT_NAME", compose: true });
  expect(await guessStack(folder, shell({ COMPOSE_PROJECT_NAME: "from_shell" }))).toMatchObject({ stack: "from-shell" });
  expect(await guessStack(project({}), shell({ COMPOSE_PROJECT_NAME: "other" }))).toMatchObject({ stack: "my-shop", compose: false });
});
