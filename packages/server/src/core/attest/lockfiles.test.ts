// What lockfiles of every ecosystem name, from texts as their tools write them.
import { describe, expect, it } from "vitest";
import { isLockfile, lockedPackages } from "./lockfiles.ts";

const named = (path: string, text: string): string[] | undefined =>
  lockedPackages(path, text)?.map((one) => `${one.ecosystem} ${one.name} ${one.version}${one.dev === true ? " dev" : ""}`);

const files: Record<string, { readonly path: string; readonly text: string; readonly found: readonly string[] }> = {
  "npm 7 and newer": {
    path: "package-lock.json",
    text: JSON.stringify({
      lockfileVersion: 3,
      packages: {
        "": { name: "shop", version: "1.0.0" },
        "packages/own": { name: "own", version: "1.0.0" },
        "node_modules/own": { resolved: "packages/own", link: true },
        "node_modules/express": { version: "5.1.0" },
        "node_modules/@scope/tool": { version: "2.0.0", dev: true },
        "node_modules/express/node_modules/ms": { version: "2.1.3" },
        "node_modules/alias": { name: "real", version: "3.0.0" },
      },
    }),
    found: ["npm express 5.1.0", "npm @scope/tool 2.0.0 dev", "npm ms 2.1.3", "npm real 3.0.0"],
  },
  "npm 6": {
    path: "web/package-lock.json",
    text: JSON.stringify({ dependencies: { a: { version: "1.0.0", dependencies: { b: { version: "2.0.0", dev: true } } } } }),
    found: ["npm a 1.0.0", "npm b 2.0.0 dev"],
  },
  "yarn 1": {
    path: "yarn.lock",
    text: '# yarn lockfile v1\n\n\n"@babel/core@^7.0.0", "@babel/core@^7.1.0":\n  version "7.26.0"\n  resolved "https://user:pass@example/x"\n\nms@2.1.3:\n  version "2.1.3"\n',
    found: ["npm @babel/core 7.26.0", "npm ms 2.1.3"],
  },
  "yarn berry": {
    path: "yarn.lock",
    text: '__metadata:\n  version: 8\n\n"@babel/core@npm:^7.0.0":\n  version: 7.26.0\n  linkType: hard\n\n"shop@workspace:.":\n  version: 0.0.0-use.local\n  linkType: soft\n',
    found: ["npm @babel/core 7.26.0"],
  },
  "pnpm 9": {
    path: "pnpm-lock.yaml",
    text: "lockfileVersion: '9.0'\n\npackages:\n\n  '@scope/a@1.2.3':\n    resolution: {integrity: sha512-x}\n\n  b@2.0.0-rc.1:\n    resolution: {integrity: sha512-y}\n\nsnapshots:\n\n  c@9.9.9: {}\n",
    found: ["npm @scope/a 1.2.3", "npm b 2.0.0-rc.1"],
  },
  "pnpm 6 to 8": {
    path: "pnpm-lock.yaml",
    text: "packages:\n\n  /@scope/a@1.2.3(b@2.0.0):\n    dev: true\n\n  /b/2.0.0_c@1.0.0:\n    dev: false\n",
    found: ["npm @scope/a 1.2.3 dev", "npm b 2.0.0"],
  },
  poetry: { path: "poetry.lock", text: '[[package]]\nname = "Django"\nversion = "5.1"\n', found: ["pypi Django 5.1"] },
  uv: {
    path: "uv.lock",
    text: '[[package]]\nname = "shop"\nversion = "0.1"\nsource = { virtual = "." }\n\n[[package]]\nname = "flask"\nversion = "3.1.0"\nsource = { registry = "https://x" }\n',
    found: ["pypi flask 3.1.0"],
  },
  requirements: {
    path: "requirements.txt",
    text: "# by hand\nflask==3.1.0 ; python_version > '3'\nuvicorn[standard] == 0.30.0 \\\n    --hash=sha256:abc\nrequests>=2\nstar==1.*\n-r other.txt\n",
    found: ["pypi flask 3.1.0", "pypi uvicorn 0.30.0"],
  },
  pipenv: {
    path: "Pipfile.lock",
    text: JSON.stringify({ default: { flask: { version: "==3.1.0" } }, develop: { pytest: { version: "==8.0.0" } } }),
    found: ["pypi flask 3.1.0", "pypi pytest 8.0.0 dev"],
  },
  go: {
    path: "go.mod",
    text: "module example.com/shop\n\ngo 1.24\n\nrequire github.com/a/b v1.2.3\n\nrequire (\n\tgolang.org/x/net v0.30.0 // indirect\n\tgithub.com/old/one v1.0.0\n\tgithub.com/local/x v1.0.0\n)\n\nreplace github.com/old/one => github.com/new/one v2.0.0\nreplace github.com/local/x => ./x\n",
    found: ["golang github.com/a/b v1.2.3", "golang golang.org/x/net v0.30.0", "golang github.com/new/one v2.0.0"],
  },
  cargo: {
    path: "Cargo.lock",
    text: '[[package]]\nname = "shop"\nversion = "0.1.0"\n\n[[package]]\nname = "serde"\nversion = "1.0.0"\nsource = "registry+https://x"\n',
    found: ["cargo serde 1.0.0"],
  },
  composer: {
    path: "composer.lock",
    text: JSON.stringify({
      packages: [{ name: "laravel/framework", version: "v11.0.0" }],
      "packages-dev": [{ name: "a/b", version: "1" }],
    }),
    found: ["composer laravel/framework v11.0.0", "composer a/b 1 dev"],
  },
  bundler: {
    path: "Gemfile.lock",
    text: "PATH\n  remote: .\n  specs:\n    shop (0.1)\n\nGEM\n  remote: https://rubygems.org/\n  specs:\n    rack (3.1.0)\n    rails (8.0.0)\n      rack (>= 3)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  rails\n",
    found: ["gem rack 3.1.0", "gem rails 8.0.0"],
  },
  gradle: {
    path: "gradle.lockfile",
    text: "# This is a Gradle generated file\norg.slf4j:slf4j-api:2.0.0=compileClasspath,runtimeClasspath\njunit:junit:4.13=testCompileClasspath\nempty=annotationProcessor\n",
    found: ["maven org.slf4j:slf4j-api 2.0.0", "maven junit:junit 4.13 dev"],
  },
};

describe("lockfiles", () => {
  it.each(Object.entries(files))("of %s are read", (_, { path, text, found }) => {
    expect(isLockfile(path)).toBe(true);
    expect(named(path, text)).toEqual(found);
  });

  it("that are not what their name says are told from empty ones", () => {
    expect(named("package-lock.json", "{")).toBeUndefined();
    expect(named("Cargo.lock", "= [")).toBeUndefined();
    expect(named("package-lock.json", "{}")).toEqual([]);
    expect(named("package-lock.json", "[]")).toEqual([]);
  });

  it("of somebody's packages are none of the source's", () => {
    expect(["node_modules/a/package-lock.json", "x/vendor/y/go.mod", "constructor", "__proto__"].filter(isLockfile)).toEqual([]);
  });

  it("are read in time whatever they hold", () => {
    const hostile = [
      " ".repeat(200_000),
      "@".repeat(200_000),
      "/".repeat(200_000),
      `GEM\n${" \n".repeat(100_000)}`,
      "packages:\n".repeat(20_000),
    ];
    // Processor time, since the machine may be busy with other tests.
    const from = process.cpuUsage();
    for (const path of ["yarn.lock", "pnpm-lock.yaml", "requirements.txt", "go.mod", "Gemfile.lock", "gradle.lockfile"])
      for (const text of hostile) named(path, text);
    expect(process.cpuUsage(from).user / 1000).toBeLessThan(5_000);
  });
});
