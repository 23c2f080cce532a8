// What decides between ecosystems, and what Procfile, app.json and Dockerfile add; and that nothing in a source can make detection throw.
import { renderCause } from "@berth/contract/causes.ts";
import { BuildPlan } from "@berth/contract/buildplan.ts";
import fc from "fast-check";
import { Check } from "typebox/value";
import { describe, expect, it } from "vitest";
import { detectBuildPlan } from "./detect.ts";
import { explainPlan } from "./explain.ts";
import { detect, gist, planOf, type Files } from "./tree.fixture.ts";
import { planWarningsEn } from "./warnings.ts";

describe("Procfile", () => {
  it("decides about processes alone, while the project's own files decide about the build", () => {
    const plan = planOf({
      Procfile: "# types\nweb: gunicorn shop:app --bind 0.0.0.0:$PORT\nclock : python3 clock.py\r\nrelease: python3 migrate.py\n",
      "requirements.txt": "flask\n",
      "app.py": "app = Flask(__name__)",
    });
    expect(gist(plan).processes).toEqual({
      web: "$ exec gunicorn shop:app --bind 0.0.0.0:$PORT",
      clock: "python3 clock.py",
      release: "python3 migrate.py",
    });
    expect(plan.steps.map((step) => step.name)).toEqual(["install"]);
    expect(plan.warnings, "a development server that does not run is no concern").toEqual([]);
  });
  it("a worker alone leaves the project without a web process", () => {
    expect(planOf({ Procfile: "worker: node jobs.js", "package.json": { scripts: { start: "node ." } } }).processes).toEqual({
      worker: { command: { exec: ["node", "jobs.js"] }, why: "Procfile" },
    });
  });
  it("a release line alone keeps what the project suggests", () => {
    expect(Object.keys(planOf({ Procfile: "release: node m.js", "package.json": { scripts: { start: "node ." } } }).processes)).toEqual([
      "web",
      "release",
    ]);
  });
  it("without any known project it is a plan of its own", () => {
    const plan = planOf({ Procfile: "web: python3 -m http.server $PORT\n", "data.bin": "" });
    expect(gist(plan)).toMatchObject({
      kind: "procfile",
      steps: [],
      processes: { web: "$ exec python3 -m http.server $PORT" },
      tools: ["python * run"],
    });
  });
  it("tells which language is meant when there are two", () => {
    const files = { "package.json": { scripts: { start: "node ." } }, "requirements.txt": "", "main.py": "" };
    expect(planOf(files).kind).toBe("python");
    expect(planOf(files).warnings).toEqual([{ code: "several_languages", params: { others: "node", chosen: "python" } }]);
    const hinted = planOf({ ...files, Procfile: "web: npm start" });
    expect(hinted.kind).toBe("node");
    expect(hinted.warnings).toEqual([]);
  });
  it("says which lines it cannot read", () => {
    expect(planOf({ Procfile: "web node .\nweb: node a.js\nweb: node b.js\nx y: z\n" }).warnings).toEqual([
      { code: "procfile_line_unreadable", params: { file: "Procfile", line: "1" } },
      { code: "procfile_repeated", params: { file: "Procfile", process: "web" } },
      { code: "procfile_line_unreadable", params: { file: "Procfile", line: "4" } },
    ]);
  });
  it("a static site with a Procfile web line is no longer served by the engine", () => {
    const plan = planOf({ Procfile: "web: ./serve", "index.html": "" });
    expect([plan.kind, plan.staticSite]).toEqual(["static", undefined]);
  });
});

describe("app.json", () => {
  const base = { "package.json": { scripts: { start: "node ." } } };
  it("gives defaults, requirements, sizes and the first deployment's script", () => {
    const plan = planOf({
      ...base,
      "app.json": {
        env: {
          GREETING: "hi",
          MODE: { value: "demo", required: false },
          TOKEN: { description: "of the API" },
          KEY: { generator: "secret" },
          OPTIONAL: { required: false },
        },
        formation: { web: { quantity: 2, size: "x" }, bad: { quantity: -1 } },
        scripts: { postdeploy: "node seed.js && node more.js" },
        addons: ["heroku-postgresql:mini", { plan: "redis" }],
      },
    });
    expect(plan.app).toEqual({
      env: {
        GREETING: { value: "hi", required: true, generate: false },
        MODE: { value: "demo", required: false, generate: false },
        TOKEN: { required: true, generate: false, description: "of the API" },
        KEY: { required: true, generate: true },
        OPTIONAL: { required: false, generate: false },
      },
      formation: { web: { quantity: 2 } },
      postdeploy: { shell: "node seed.js && exec node more.js" },
    });
    expect(plan.env).toMatchObject({ GREETING: "hi", MODE: "demo", NODE_ENV: "production" });
    expect(plan.env).not.toHaveProperty("TOKEN");
    expect(plan.warnings).toEqual([{ code: "addons_not_made", params: { file: "app.json", addons: "heroku-postgresql:mini, redis" } }]);
  });
  it("may set NODE_ENV, but not what the plan needs to find its own files", () => {
    const plan = planOf({ ...base, "app.json": { env: { NODE_ENV: "staging", PATH: "/evil" } } });
    expect(plan.env).toMatchObject({ NODE_ENV: "staging", PATH: "$ROOT/node_modules/.bin:$PATH" });
    expect(plan.warnings.map((warning) => warning.code)).toEqual(["env_ignored"]);
  });
  it("its last buildpack names the language", () => {
    const files = {
      ...base,
      "requirements.txt": "",
      "main.py": "",
      "app.json": { buildpacks: [{ url: "heroku/python" }, { url: "https://github.com/heroku/heroku-buildpack-nodejs.git#v1" }] },
    };
    expect(planOf(files).kind).toBe("node");
  });
  it("of another program is left alone", () => {
    expect(planOf({ ...base, "app.json": { expo: { name: "x" } } })).not.toHaveProperty("app");
  });
  it("that is broken is a warning", () => {
    expect(planOf({ ...base, "app.json": "{" }).warnings.map((warning) => warning.code)).toEqual(["file_unreadable"]);
  });
});

describe("Dockerfile", () => {
  const dockerfile =
    '# syntax=docker/dockerfile:1\nFROM node:22 AS build\nRUN <<EOF\nFROM nowhere\nEOF\nCMD ["old"]\nFROM --platform=linux/amd64 gcr.io/distroless/nodejs22\nEXPOSE 8080 \\\n  9090/tcp\nENTRYPOINT ["/bin/x"]\nCMD ["serve"]\n';
  const app = { "package.json": { scripts: { start: "node ." } } };
  it("wins where images are preferred, and tells what its last stage says", () => {
    const plan = planOf({ ...app, Dockerfile: dockerfile }, { prefer: "image" });
    expect(plan).toMatchObject({ kind: "dockerfile", dockerfile: "Dockerfile", steps: [], processes: {} });
    expect(plan.findings.map(({ says }) => says)).toEqual([
      "is built as it is: its image comes from gcr.io/distroless/nodejs22, in 2 stages",
      "exposes 8080, 9090/tcp",
      'starts ["/bin/x"] ["serve"]',
    ]);
  });
  it("is told about but not used where processes are preferred", () => {
    const plan = planOf({ ...app, Dockerfile: dockerfile });
    expect(plan.kind).toBe("node");
    expect(plan).not.toHaveProperty("dockerfile");
    expect(plan.findings.some(({ file, says }) => file === "Dockerfile" && says.startsWith("is not used"))).toBe(true);
    expect(plan.warnings).toEqual([{ code: "dockerfile_not_used", params: { file: "Dockerfile", kind: "node" } }]);
    expect(planOf({ Dockerfile: dockerfile, Procfile: "web: ./serve" }).warnings).toContainEqual({
      code: "dockerfile_not_used",
      params: { file: "Dockerfile", kind: "procfile" },
    });
  });
  it("is the plan when there is nothing else, also where processes are preferred", () => {
    expect(planOf({ Containerfile: "from alpine\n" })).toMatchObject({ kind: "dockerfile", dockerfile: "Containerfile" });
  });
  it("takes its processes from a Procfile", () => {
    expect(gist(planOf({ Dockerfile: dockerfile, Procfile: "worker: ./work" }, { prefer: "image" })).processes).toEqual({
      worker: "./work",
    });
  });
  it("of another name is used when it is asked for", () => {
    expect(
      planOf(
        { ...app, Dockerfile: "FROM a", "docker/Dockerfile.prod": "FROM b" },
        { prefer: "image", dockerfile: "docker/Dockerfile.prod" },
      ),
    ).toMatchObject({ kind: "dockerfile", dockerfile: "docker/Dockerfile.prod" });
  });
  it("that was asked for and is not there is a cause, unless the project runs as a process anyway: then it is said", () => {
    const tree = { ...app, "docker/Dockerfile.prod": "FROM b" };
    expect(detect(tree, { prefer: "image", dockerfile: "Dockerfile.prod" })).toMatchObject({
      ok: false,
      cause: {
        code: "dockerfile_missing",
        params: { dir: "The folder", file: "Dockerfile.prod" },
        evidence: [{ text: "docker/Dockerfile.prod is there." }],
      },
    });
    expect(detect({ "x.txt": "" }, { dockerfile: "Dockerfile.prod" })).toMatchObject({ ok: false, cause: { code: "dockerfile_missing" } });
    expect(planOf(tree, { dockerfile: "Dockerfile.prod" }).warnings).toEqual([
      { code: "dockerfile_missing", params: { file: "Dockerfile.prod" } },
    ]);
  });
  it("without FROM is not used", () => {
    const plan = planOf({ ...app, Dockerfile: "RUN x" }, { prefer: "image" });
    expect([plan.kind, plan.warnings[0]?.code]).toEqual(["node", "dockerfile_unreadable"]);
  });
});

describe("which ecosystem", () => {
  const cases: readonly (readonly [string, Files, string])[] = [
    [
      "a Go service with tools in package.json",
      { "go.mod": "module x", "main.go": "", "package.json": { devDependencies: { prettier: "3" } } },
      "go",
    ],
    [
      "a Node.js service with requirements.txt for its build",
      { "package.json": { scripts: { start: "node ." } }, "requirements.txt": "cffi\n" },
      "node",
    ],
    ["a Node.js service with an index.php left over", { "package.json": { scripts: { start: "node ." } }, "index.php": "" }, "node"],
    ["a Node.js service with an index.html", { "package.json": { scripts: { start: "node ." } }, "index.html": "" }, "node"],
    ["a Python program with an index.html", { "main.py": "", "index.html": "" }, "python"],
    [
      "a Rails app with package.json",
      { Gemfile: "gem 'rails'\ngem 'puma'", "config.ru": "", "package.json": { scripts: { build: "x", start: "y" } } },
      "ruby",
    ],
    ["a mobile app's Gemfile beside a server", { Gemfile: "gem 'fastlane'", "package.json": { scripts: { start: "node ." } } }, "node"],
  ];
  it.each(cases)("%s", (_, files, kind) => {
    expect(planOf(files).kind).toBe(kind);
  });
});

describe("what cannot be planned", () => {
  const causeOf = (files: Files, root = "."): { code: string; sentence: string; next: string } => {
    const detected = detect(files, { root });
    if (detected.ok) throw new Error("there is a plan");
    return { code: detected.cause.code, ...renderCause(detected.cause) };
  };
  it("an unknown folder says what is known", () => {
    const said = causeOf({ "notes.txt": "" });
    expect(said.code).toBe("plan_not_detected");
    expect(said.next).toContain("package.json");
  });
  it("folders below that are projects are named", () => {
    const said = causeOf({
      "services/api/package.json": {},
      "services/api/sub/package.json": {},
      "web/go.mod": "module x",
      "web/main.go": "",
      "README.md": "",
    });
    expect(said.code).toBe("plan_in_subfolder");
    expect(said.sentence).toContain("services/api, web");
    expect(said.next).toContain("services/api");
  });
  it("a root that is not there, or leads out", () => {
    expect(causeOf({ "a.txt": "" }, "gone").code).toBe("plan_not_detected");
    for (const root of ["../x", "/etc", "a/../../b"]) expect(causeOf({ "main.py": "" }, root).code).toBe("plan_not_detected");
    expect(planOf({ "a/main.py": "" }, { root: "./a/" }).root).toBe("a");
  });
  const broken: readonly (readonly [string, Files])[] = [
    ["package.json", { "package.json": '{ "name": }' }],
    ["package.json", { "package.json": "[]" }],
    ["package.json", { "package.json": "null", "index.html": "" }],
    ["composer.json", { "composer.json": "{," }],
    ["Cargo.toml", { "Cargo.toml": "[package" }],
    ["pyproject.toml", { "pyproject.toml": "a = = 1", "main.py": "" }],
    ["pom.xml", { "pom.xml": "<project><a></project>" }],
  ];
  it.each(broken)("a broken %s is named, with the reason: %#", (file, files) => {
    const said = causeOf(files);
    expect(said.code).toBe("manifest_invalid");
    expect(said.sentence).toContain(file);
    expect(said.sentence).not.toMatch(/undefined|\{reason\}/);
  });
  it("a broken file of another ecosystem is only a warning", () => {
    const plan = planOf({ "go.mod": "module x", "main.go": "", "package.json": "{" });
    expect([plan.kind, plan.warnings[0]?.code]).toEqual(["go", "file_unreadable"]);
    expect(planOf({ "requirements.txt": "flask", "pyproject.toml": "x = = 1" }).warnings.map((warning) => warning.code)).toContain(
      "file_unreadable",
    );
    expect(planOf({ "main.py": "", "mise.toml": "[tools" }).warnings.map((warning) => warning.code)).toEqual(["file_unreadable"]);
  });
  it("a manifest that is too large to be loaded is named", () => {
    const detected = detectBuildPlan({ files: new Set(["package.json"]), read: () => undefined }, { root: ".", prefer: "process" });
    expect(detected).toMatchObject({ ok: false, cause: { code: "manifest_invalid" } });
  });
});

const paths = [
  "package.json",
  "package-lock.json",
  "pnpm-lock.yaml",
  "pnpm-workspace.yaml",
  "yarn.lock",
  ".yarnrc.yml",
  "next.config.js",
  "vite.config.ts",
  "angular.json",
  "requirements.txt",
  "pyproject.toml",
  "uv.lock",
  "Pipfile",
  "main.py",
  "app.py",
  "manage.py",
  "a/wsgi.py",
  "a/settings.py",
  "go.mod",
  "go.sum",
  "go.work",
  "main.go",
  "cmd/a/main.go",
  "pom.xml",
  "mvnw",
  "build.gradle",
  "settings.gradle",
  "composer.json",
  "public/index.php",
  "Gemfile",
  "Gemfile.lock",
  "config.ru",
  "Cargo.toml",
  "src/main.rs",
  "rust-toolchain.toml",
  "index.html",
  "Procfile",
  "app.json",
  "Dockerfile",
  ".nvmrc",
  ".python-version",
  ".tool-versions",
  "mise.toml",
  "runtime.txt",
  "a/package.json",
  "a/b/package.json",
  "a/go.mod",
  "a/pom.xml",
  "a/Cargo.toml",
  "x.jar",
  "../x",
  "a//b",
  "",
  "/",
  "__proto__",
];
const snippets = [
  "",
  "{",
  "[",
  "null",
  "{}",
  '{"scripts":{"start":"npm run start","build":"x"}}',
  '{"dependencies":{"next":"1","__proto__":"2"},"workspaces":["**","a/*"]}',
  '{"workspaces":{"packages":["{a,b}*"]},"engines":{"node":7}}',
  '{"require":{"php":"~8.1 || x"}}',
  '{"env":{"A":1,"__proto__":"x","B":{"value":"$ROOT"}},"formation":{"web":null}}',
  '{"projects":{"__proto__":{},"a":{"targets":{"build":{"options":{"outputPath":"../../etc"}}}}}}',
  "[project]\ndependencies=['a','-e .',1]\nrequires-python='>=x'",
  "[workspace]\nmembers=['**','a/*']",
  "[package]\nname='a'\n[[bin]]\nname='b c'",
  "[tools]\nnode=['20']\npython=3.1",
  "packages:\n  - '**'\n  - '!a/**'",
  "packages: [a, 'b']",
  "<project><modules><module>a</module><module>../x</module></modules><packaging>pom</packaging></project>",
  "<project><version>${a}</version><properties><a>${a}</a></properties><artifactId>x</artifactId><build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build></project>",
  "module a\nrequire (\n b v1\n)\nreplace b => ../../../c",
  "use (\n ./a\n ../b\n)",
  "include 'a', ':a:b', '../x'",
  "web: a && b\n__proto__: x\nrelease: y",
  "FROM a\\\n\\\nEXPOSE",
  "gem 'rails'\nruby '~> x'\n",
  "-r requirements.txt\n-c ../x\n./y\nflask[a]==1",
  "app = Flask(__name__)\n",
  "v20\n",
  "lts/*",
  "99999999999999999999.1",
  "x".repeat(3000),
  "include ".repeat(500),
  "{{{{".repeat(200),
  "\u0000\ufffd",
];

describe("any source at all", () => {
  const content = fc.oneof(fc.constantFrom(...snippets), fc.string({ maxLength: 80 }), fc.json({ maxDepth: 4 }));
  const path = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...paths) }, { weight: 1, arbitrary: fc.string({ maxLength: 12 }) });
  const tree = fc.array(fc.tuple(path, content), { maxLength: 12 });
  it("never makes detection throw; every plan is valid, stays inside the source, and can be explained", () => {
    fc.assert(
      fc.property(
        tree,
        fc.constantFrom(".", "a", "a/b", "..", ""),
        fc.constantFrom("process" as const, "image" as const),
        (entries, root, prefer) => {
          const texts = new Map(entries);
          const detected = detectBuildPlan({ files: new Set(texts.keys()), read: (name) => texts.get(name) }, { root, prefer });
          if (!detected.ok) {
            expect(renderCause(detected.cause).sentence).not.toMatch(/\{\w+\}/);
            return;
          }
          const { plan } = detected;
          expect(Check(BuildPlan, plan)).toBe(true);
          expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
          expect(`/${plan.root}/`).not.toContain("/../");
          for (const folder of [
            ...plan.exclude,
            ...plan.steps.flatMap((step) => [...step.inputs, ...step.outputs]),
            ...(plan.staticSite === undefined ? [] : [plan.staticSite.dir]),
          ])
            expect(`/${folder}/`).not.toMatch(/\/\.\.\/|^\/\//);
          expect(explainPlan(plan).every((line) => !line.includes("\n"))).toBe(true);
          for (const { code, params } of plan.warnings)
            expect(
              [...(Object.entries(planWarningsEn).find(([key]) => key === code)?.[1] ?? "{no such code}").matchAll(/\{(\w+)\}/g)]
                .map((match) => match[1])
                .filter((name) => name === undefined || !Object.hasOwn(params, name)),
            ).toEqual([]);
        },
      ),
      { numRuns: 1500 },
    );
  }, 120_000);

  it("takes no longer than a moment for hostile texts", () => {
    const long = {
      newlines: "\n".repeat(250_000),
      returns: "\r\n".repeat(120_000),
      blank: " ".repeat(250_000),
      tabs: "a\t".repeat(120_000),
      stars: `{"workspaces":["${"**/".repeat(200)}x"]}`,
      tags: "<project>".repeat(20_000),
      comment: `<project>${"<!--".repeat(30_000)}`,
      blocks: "/*".repeat(100_000),
      spaces: `require (${" ".repeat(200_000)}`,
      quotes: "include '".repeat(20_000),
      lines: "a: b\n".repeat(40_000),
      gems: `${"  ".repeat(100_000)}gem`,
      go: `require ${"a ".repeat(100_000)}`,
      install: "FROM \\\n".repeat(30_000),
    };
    const names = [
      "package.json",
      "pom.xml",
      "build.gradle",
      "settings.gradle",
      "go.mod",
      "Gemfile",
      "Gemfile.lock",
      "Procfile",
      "Dockerfile",
      "vite.config.ts",
      "app.py",
      "requirements.txt",
      "pnpm-workspace.yaml",
      "angular.json",
      "Staticfile",
    ];
    for (const text of Object.values(long)) {
      const files = new Map<string, string>([
        ...names.map((name): [string, string] => [name, text]),
        ["a/b/c/d/package.json", '{"dependencies":{"vite":"1","flask":"1"}}'],
        ["index.html", ""],
        ["requirements-x.txt", text],
      ]);
      // Processor time, since the machine may be busy with other tests.
      const before = process.cpuUsage();
      detectBuildPlan({ files: new Set(files.keys()), read: (name) => files.get(name) }, { root: ".", prefer: "process" });
      expect(process.cpuUsage(before).user / 1000).toBeLessThan(3000);
    }
  }, 120_000);
});
