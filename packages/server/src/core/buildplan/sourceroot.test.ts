// Which folder is sent for a project inside a repository, and that what is missing from it is told before the build.
import { describe, expect, it } from "vitest";
import { decidingFiles, sourceRoot } from "./sourceroot.ts";
import { detect, gist, planOf, treeOf, type Files } from "./tree.fixture.ts";

const app = { name: "web", scripts: { start: "node server.js" } };
/** As `sourceRoot` sees it: only the files that it asks for. */
const rootOf = (files: Files, folder: string): string =>
  sourceRoot(treeOf(Object.fromEntries(Object.entries(files).filter(([path]) => decidingFiles(folder).includes(path)))), folder);

describe("the folder that is sent", () => {
  it.each<[string, Files, string, string]>([
    [
      "is the project's own when nothing above needs it",
      { "apps/web/package.json": app, "package.json": { name: "tools" } },
      "apps/web",
      "apps/web",
    ],
    ["is an npm or yarn workspace's top", { "apps/web/package.json": app, "package.json": { workspaces: ["apps/*"] } }, "apps/web", "."],
    [
      "is a yarn workspace's top, written as an object",
      { "code/web/package.json": app, "code/package.json": { workspaces: { packages: ["web"] } } },
      "code/web",
      "code",
    ],
    [
      "is a pnpm workspace's top",
      { "apps/web/package.json": app, "package.json": {}, "pnpm-workspace.yaml": "packages:\n  - apps/*\n" },
      "apps/web",
      ".",
    ],
    [
      "is the project's own when the workspace does not list it",
      { "apps/web/package.json": app, "package.json": { workspaces: ["packages/*"] } },
      "apps/web",
      "apps/web",
    ],
    [
      "is the folder of a go.work that uses it",
      { "svc/api/go.mod": "module a\n", "svc/go.work": "go 1.22\nuse (\n\t./api\n\t./lib\n)\n" },
      "svc/api",
      "svc",
    ],
    [
      "holds the modules that go.mod replaces by folders",
      { "svc/api/go.mod": "module a\nreplace example.com/lib => ../../lib\n" },
      "svc/api",
      ".",
    ],
    [
      "is the folder of the Cargo workspace",
      { "crates/api/Cargo.toml": '[package]\nname = "api"\n', "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\n' },
      "crates/api",
      ".",
    ],
    [
      "holds the crates that Cargo.toml names by path",
      { "crates/api/Cargo.toml": '[package]\nname = "api"\n[dependencies]\nlib = { path = "../lib" }\n' },
      "crates/api",
      "crates",
    ],
    [
      "is the folder of the uv workspace",
      { "apps/api/pyproject.toml": '[project]\nname = "api"\n', "pyproject.toml": '[tool.uv.workspace]\nmembers = ["apps/*"]\n' },
      "apps/api",
      ".",
    ],
    [
      "holds what requirements.txt installs from a folder beside",
      { "apps/api/requirements.txt": "flask\n-e ../lib\n" },
      "apps/api",
      "apps",
    ],
    [
      "is the folder of the Maven project that has it as a module",
      {
        "api/pom.xml": "<project><artifactId>api</artifactId></project>",
        "pom.xml": "<project><packaging>pom</packaging><modules><module>api</module></modules></project>",
      },
      "api",
      ".",
    ],
    ["is the folder of the Gradle settings that include it", { "api/build.gradle": "", "settings.gradle": "include(':api')" }, "api", "."],
    [
      "holds what Composer takes from a folder beside",
      { "apps/site/composer.json": { repositories: [{ type: "path", url: "../../lib" }] } },
      "apps/site",
      ".",
    ],
    ["holds what a Gemfile takes from a folder beside", { "apps/site/Gemfile": "gem 'lib', path: '../lib'\n" }, "apps/site", "apps"],
    [
      "holds what package.json takes from a folder beside",
      { "apps/web/package.json": { ...app, dependencies: { lib: "file:../lib" } } },
      "apps/web",
      "apps",
    ],
    [
      "is not widened by what leads out of the repository",
      { "apps/web/package.json": { ...app, dependencies: { lib: "file:../../../lib" } } },
      "apps/web",
      "apps/web",
    ],
    [
      "is not widened by a file that cannot be read",
      { "apps/web/package.json": "{", "package.json": "{", "apps/web/Cargo.toml": "[", "Cargo.toml": "[" },
      "apps/web",
      "apps/web",
    ],
  ])("%s", (_, files, folder, wanted) => {
    expect(rootOf(files, folder)).toBe(wanted);
  });
  it("asks for nothing when nothing lies above", () => {
    expect(decidingFiles(".")).toEqual([]);
    expect(decidingFiles("a/b")).toEqual(expect.arrayContaining(["package.json", "a/go.work", "a/b/Cargo.toml"]));
  });
});

describe("a source without what its project needs", () => {
  it.each<[string, Files, string, string]>([
    ["a package of an npm folder beside", { "package.json": { ...app, dependencies: { lib: "file:../lib" } } }, "package.json", "../lib"],
    [
      "a package of a workspace that is not there",
      { "package.json": { ...app, dependencies: { "@shop/lib": "workspace:*" } } },
      "package.json",
      "the workspace package @shop/lib",
    ],
    ["a Go module beside", { "go.mod": "module a\nrequire x v0.0.0\nreplace x => ../x\n", "main.go": "package main" }, "go.mod", "../x"],
    [
      "a crate beside",
      { "Cargo.toml": '[package]\nname = "a"\n[dependencies]\nx = { path = "../x" }\n', "src/main.rs": "" },
      "Cargo.toml",
      "../x",
    ],
    [
      "the Cargo workspace that it inherits from",
      { "Cargo.toml": '[package]\nname = "a"\nversion.workspace = true\n', "src/main.rs": "" },
      "Cargo.toml",
      "the Cargo workspace that it inherits from",
    ],
    [
      "a member of a uv workspace",
      {
        "pyproject.toml": '[project]\nname = "a"\ndependencies = ["lib"]\n[tool.uv.sources]\nlib = { workspace = true }\n',
        "uv.lock": "",
        "main.py": "",
      },
      "pyproject.toml",
      "the workspace package lib",
    ],
    ["an editable requirement beside", { "requirements.txt": "-e ../lib\n", "main.py": "" }, "requirements.txt", "../lib"],
  ])("is refused with the file and what it needs: %s", (_, files, file, what) => {
    expect(detect(files)).toMatchObject({ ok: false, cause: { code: "outside_source", params: { file, what } } });
  });
  it("is fine when all of it is there, and the plan's folder is the member's", () => {
    const files = {
      "package.json": { workspaces: ["apps/*", "libs/*"] },
      "package-lock.json": "{}",
      "apps/web/package.json": { ...app, dependencies: { lib: "*" } },
      "libs/lib/package.json": { name: "lib" },
      "apps/web/server.js": "",
    };
    expect(gist(planOf(files, { root: "apps/web" })).processes).toEqual({ web: "$ cd apps/web && exec node server.js" });
    expect(planOf({ "go.mod": "module a\nreplace x => ./x\n", "main.go": "package main", "x/go.mod": "module x\n" }).kind).toBe("go");
    expect(planOf({ "go.mod": "module a\nreplace x => ../x\n", "vendor/modules.txt": "", "main.go": "package main" }).kind).toBe("go");
  });
});
