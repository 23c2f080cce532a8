// What a machine lacks is said before a build starts, with how to get it: every ecosystem on a machine that has nothing of it, or something too old.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { renderCause } from "@berth/contract/causes.ts";
import { lackingOn, type Files } from "./project.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder for PATH with programs that know nothing but their version. */
function machineWith(programs: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), "berth-path-"));
  folders.push(folder);
  for (const [name, version] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho "${name} version ${version}"\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return [folder];
}

const pkg = (more: object = {}): string =>
  JSON.stringify({ name: "a", scripts: { start: "node server.js" }, dependencies: { ms: "2.1.3" }, ...more });
const pyproject = '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.12"\ndependencies = ["six"]\n';
const poetry = '[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\npython = ">=3.9"\nsix = "*"\n';
const pom =
  "<project><artifactId>a</artifactId><version>1</version><properties><maven.compiler.release>17</maven.compiler.release><exec.mainClass>A</exec.mainClass></properties></project>";

const cases: readonly (readonly [string, Files, Readonly<Record<string, string>>, string, string])[] = [
  ["Node.js", { "package.json": pkg({ engines: { node: ">=20" } }), "server.js": "" }, {}, "This machine has no node >=20.", "nodejs.org"],
  [
    "a Node.js that is old enough",
    { "package.json": pkg({ engines: { node: ">=20" } }), "server.js": "" },
    { node: "18.20.1" },
    "This machine has node 18.20.1, but the project asks for >=20.",
    "nodejs.org",
  ],
  ["npm", { "package.json": pkg(), "package-lock.json": "{}" }, { node: "24.1.0" }, "This machine has no npm.", "apt-get install npm"],
  [
    "pnpm",
    { "package.json": pkg(), "pnpm-lock.yaml": "lockfileVersion: '9.0'\n" },
    { node: "24.1.0" },
    "This machine has no pnpm >=9.",
    "npm install --global pnpm",
  ],
  [
    "a pnpm that reads the lockfile",
    { "package.json": pkg(), "pnpm-lock.yaml": "lockfileVersion: '9.0'\n" },
    { node: "24.1.0", pnpm: "7.0.0" },
    "This machine has pnpm 7.0.0, but the project asks for >=9.",
    "npm install --global pnpm",
  ],
  ["Yarn", { "package.json": pkg(), "yarn.lock": "" }, { node: "24.1.0" }, "This machine has no yarn 1.x.", "npm install --global yarn"],
  ["Python", { "requirements.txt": "six", "main.py": "" }, {}, "This machine has no python.", "apt-get install python3"],
  [
    "a Python that is new enough",
    { "pyproject.toml": pyproject, "main.py": "" },
    { python3: "3.7.2" },
    "This machine has python 3.7.2, but the project asks for >=3.12.",
    "pyenv or uv",
  ],
  ["pip", { "requirements.txt": "six", "main.py": "" }, { python3: "3.12.1" }, "This machine has no pip.", "apt-get install python3-pip"],
  [
    "Poetry",
    { "pyproject.toml": poetry, "poetry.lock": "", "main.py": "" },
    { python3: "3.12.1", pip3: "24.0" },
    "This machine has no poetry.",
    "pipx install poetry",
  ],
  [
    "uv",
    { "pyproject.toml": pyproject, "uv.lock": "", "main.py": "" },
    { python3: "3.12.1" },
    "This machine has no uv.",
    "pipx install uv",
  ],
  [
    "Pipenv",
    { Pipfile: '[packages]\nsix = "*"\n', "main.py": "" },
    { python3: "3.12.1", pip3: "24.0" },
    "This machine has no pipenv.",
    "pipx install pipenv",
  ],
  ["Go", { "go.mod": "module a\n\ngo 1.22\n", "main.go": "package main" }, {}, "This machine has no go >=1.22.0.", "go.dev"],
  [
    "a Go that is new enough",
    { "go.mod": "module a\n\ngo 1.22\n", "main.go": "package main" },
    { go: "go1.19.8" },
    "This machine has go 1.19.8, but the project asks for >=1.22.0.",
    "go.dev",
  ],
  ["Java", { "pom.xml": pom }, {}, "This machine has no java >=17.", "apt-get install default-jdk-headless"],
  ["Maven", { "pom.xml": pom }, { java: "17.0.1" }, "This machine has no maven.", "apt-get install maven"],
  [
    "Gradle",
    { "build.gradle": "plugins { id 'application' }\napplication { mainClass = 'A' }\n" },
    { java: "17.0.1" },
    "This machine has no gradle.",
    "Gradle wrapper",
  ],
  ["Java for a jar", { "a.jar": "x" }, {}, "This machine has no java.", "apt-get install default-jdk-headless"],
  [
    "PHP",
    { "composer.json": '{"require":{"php":"^8.1","a/b":"*"}}', "index.php": "" },
    {},
    "This machine has no php",
    "apt-get install php-cli",
  ],
  [
    "Composer",
    { "composer.json": '{"require":{"a/b":"*"}}', "index.php": "" },
    { php: "8.2.1" },
    "This machine has no composer >=2.",
    "apt-get install composer",
  ],
  ["Ruby", { Gemfile: "gem 'rack'\n", "app.rb": "" }, {}, "This machine has no ruby.", "apt-get install ruby"],
  ["Bundler", { Gemfile: "gem 'rack'\n", "app.rb": "" }, { ruby: "3.1.2" }, "This machine has no bundler.", "apt-get install ruby-bundler"],
  [
    "Rust",
    { "Cargo.toml": '[package]\nname = "a"\nrust-version = "1.70"\n', "src/main.rs": "" },
    {},
    "This machine has no rust >=1.70.",
    "rustup",
  ],
  [
    "a Rust that is new enough",
    { "Cargo.toml": '[package]\nname = "a"\nrust-version = "1.70"\n', "src/main.rs": "" },
    { cargo: "1.63.0" },
    "This machine has rust 1.63.0, but the project asks for >=1.70.",
    "rustup",
  ],
];

describe("a machine", () => {
  it.each(cases)("without %s says so", async (_, files, programs, sentence, how) => {
    const lacking = await lackingOn(files, machineWith(programs));
    if (lacking === undefined) throw new Error("nothing is said to be missing");
    const said = renderCause(lacking);
    expect(said.sentence).toContain(sentence.replace(/\.$/, ""));
    expect(said.next).toContain(how);
  });
  it("that has everything is told nothing", async () => {
    expect(
      await lackingOn({ "package.json": pkg(), "package-lock.json": "{}" }, machineWith({ node: "24.1.0", npm: "11.0.0" })),
    ).toBeUndefined();
  });
});
