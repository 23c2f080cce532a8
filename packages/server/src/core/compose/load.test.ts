import { describe, expect, test } from "vitest";
import { readCompose } from "./read.ts";
import { definitionOf, line, noteCodes, notesOf, problemsOf, readProject, specOf, yaml, type Project } from "./project.testkit.ts";

const build = "build: .";
const override = (base: string, over: string, more: Partial<Project> = {}): Project => ({
  files: { "compose.yaml": base, "compose.override.yaml": over },
  ...more,
});
const env = (lines: string) => `services:\n  a:\n    build: .\n    environment: ${lines}\n`;

describe("bounds", () => {
  test("more services than a stack may have", () => {
    const services = Array.from({ length: 501 }, (_, index) => `  s${index}: {build: .}\n`).join("");
    expect(problemsOf(yaml(`services:\n${services}`)).map(line)[0]).toMatch(
      /there are more than 500 services \(Split them into several stacks/,
    );
  });
  test("characters of all files together", () => {
    const long = (characters: number): string => `services:\n  a:\n    build: .\n    labels:\n      x: ${"y".repeat(characters)}\n`;
    expect(problemsOf(yaml(long(262_144))).map(line)[0]).toMatch(/compose.yaml.* it has more than 262144 characters/);
    const project = override(long(140_000), long(140_000));
    expect(problemsOf(project).map(line)[0]).toMatch(
      /compose.override.yaml.* with the files read before it, it has more than 262144 characters/,
    );
  });
});

describe("asking", () => {
  test("the first round asks for every name that Compose looks for, and nothing twice", () => {
    const first = readCompose({ files: {}, absent: [], variables: {}, composeFiles: [], profiles: [], engine: { kind: "docker" } });
    expect(first).toEqual({
      ok: false,
      kind: "needs",
      variables: ["COMPOSE_FILE"],
      files: [
        ".env",
        "compose.override.yaml",
        "compose.override.yml",
        "compose.yaml",
        "compose.yml",
        "docker-compose.override.yaml",
        "docker-compose.override.yml",
        "docker-compose.yaml",
        "docker-compose.yml",
      ],
    });
    expect(readProject(yaml(env("{A: '${B}'}"))).rounds).toBe(3);
  });
  test("a file whose name needs a variable is asked for when the variable is known", () => {
    const project: Project = {
      files: { "compose.yaml": "services:\n  a:\n    build: .\n    env_file: '${STAGE}.env'\n", "test.env": "X=1" },
      shell: { STAGE: "test" },
    };
    expect(specOf(project).env).toEqual({ X: "1" });
  });
  test("no Compose file at all is a problem", () =>
    expect(problemsOf({ files: {} }).map(line)).toEqual([
      "compose.yaml compose_invalid the stack : there is no Compose file here (Write a compose.yaml, or name one with --file.)",
    ]));
  test.each([
    ["compose.yaml", "compose.yml"],
    ["compose.yml", "docker-compose.yml"],
    ["docker-compose.yml", "docker-compose.yaml"],
  ])("%s is preferred over %s", (better, worse) => {
    expect(specOf({ files: { [better]: env("{A: better}"), [worse]: env("{A: worse}") } }).env).toEqual({ A: "better" });
  });
  test("COMPOSE_FILE and named files", () => {
    const files = { "one.yaml": env("{A: 1, B: 1}"), "two.yaml": "services: {a: {environment: {B: 2}}}" };
    expect(specOf({ files, composeFiles: ["one.yaml", "./two.yaml"] }).env).toEqual({ A: "1", B: "2" });
    expect(specOf({ files, shell: { COMPOSE_FILE: "one.yaml:two.yaml" } }).env).toEqual({ A: "1", B: "2" });
    expect(specOf({ files: { ...files, ".env": "COMPOSE_FILE=one.yaml" } }).env).toEqual({ A: "1", B: "1" });
  });
  test("the project's folder is that of the first file", () => {
    const project: Project = {
      files: {
        "deploy/compose.yaml": "services:\n  a:\n    build: ../src\n    env_file: a.env\n    environment: ['V=${V}']\n",
        "deploy/a.env": "X=1",
        "deploy/.env": "V=2",
      },
      composeFiles: ["deploy/compose.yaml"],
    };
    expect(specOf(project)).toMatchObject({ build: { context: "src" }, env: { X: "1", V: "2" } });
  });
});

describe("variables", () => {
  test("the shell wins over .env", () => {
    const project = { ...yaml(env("['A=${A}', 'B=${B}', 'C=${C:-c}']")), shell: { A: "shell" } };
    expect(specOf({ ...project, files: { ...project.files, ".env": "A=file\nB=file" } }).env).toEqual({ A: "shell", B: "file", C: "c" });
  });
  test("an unset one counts as empty and is noted once", () =>
    expect(notesOf(yaml(env("['A=${GONE}', 'B=$GONE']")))).toEqual([
      expect.objectContaining({
        code: "compose_variable_unset",
        params: { variable: "GONE", file: "compose.yaml", line: "4", component: "" },
      }),
    ]));
  test("a required one is a problem at its place", () =>
    expect(problemsOf(yaml(env("\n      A: ${GONE:?say which}"))).map(line)).toEqual([
      "compose.yaml:5:10 compose_invalid the stack : the variable GONE has to be set: say which (Set it in your shell or in .env: `GONE=...`.)",
    ]));
  test("a mistake in .env is a problem with its line", () =>
    expect(problemsOf({ files: { "compose.yaml": env("{}"), ".env": "A=1\nB='x" } }).map(line)).toEqual([
      ".env:2:1 compose_invalid the stack : the value of B has no closing ' (Add the closing '.)",
    ]));
  test("COMPOSE_PROJECT_NAME is the file's name", () =>
    expect(specOf(yaml(`name: shop\n${env("{A: '${COMPOSE_PROJECT_NAME}'}")}`)).env).toEqual({ A: "shop" }));
});

describe("override files", () => {
  test.each<[string, string, string, object]>([
    ["single values are replaced", `${build}\nworking_dir: x`, "working_dir: y", { workdir: "y" }],
    ["null keeps what was said", `${build}\nworking_dir: x`, "working_dir:", { workdir: "x" }],
    [
      "environment merges by name, list or mapping",
      `${build}\nenvironment: [A=1, B=1]`,
      "environment: {B: 2, C: 3}",
      { env: { A: "1", B: "2", C: "3" } },
    ],
    [
      "a variable without a value takes the shell's, here none",
      `${build}\nenvironment: {A: 1, B: 1}`,
      "environment: [B]",
      { env: { A: "1" } },
    ],
    ["a command is replaced", `${build}\ncommand: [a, b]`, "command: [c]", { command: { exec: ["c"] } }],
    [
      "a healthcheck's test is replaced, its times stay",
      `${build}\nhealthcheck: {test: [CMD, a, b], interval: 2s}`,
      "healthcheck: {test: [CMD, c]}",
      { probes: { readiness: { check: { type: "exec", command: { exec: ["c"] } }, period: 2000 } } },
    ],
    [
      "ports are appended, a repeated one counts once",
      `${build}\nports: ["1000:80"]`,
      'ports: ["1000:80", "2000:90"]',
      {
        ports: [
          { name: "http", protocol: "http", port: 80 },
          { name: "http-90", protocol: "http", port: 90 },
        ],
      },
    ],
    [
      "volumes merge by target",
      `${build}\nvolumes: ["one:/d"]`,
      'volumes: ["two:/d", "two:/e"]',
      {
        volumes: [
          { volume: "two", path: "/d" },
          { volume: "two", path: "/e" },
        ],
      },
    ],
    [
      "build as text and as mapping",
      "build: ctx",
      "build: {args: {A: 1}, target: t}",
      { build: { context: "ctx", target: "t", args: { A: "1" } } },
    ],
    [
      "depends_on as list and as mapping",
      `${build}\ndepends_on: [b]`,
      "depends_on: {b: {condition: service_healthy}}",
      { dependsOn: [{ component: "b", condition: "ready" }] },
    ],
    [
      "!reset takes a value away",
      `${build}\nports: ["1000:80"]\nworking_dir: x`,
      "ports: !reset []\nworking_dir: !reset null",
      { ports: [] },
    ],
    [
      "!override replaces instead of merging",
      `${build}\nenvironment: {A: 1}\nports: ["1000:80"]`,
      'environment: !override {B: 2}\nports: !override ["2000:90"]',
      { env: { B: "2" }, ports: [{ name: "http", protocol: "http", port: 90 }] },
    ],
    [
      "deploy merges by key",
      `${build}\ndeploy: {replicas: 2, resources: {limits: {memory: 64m}}}`,
      "deploy: {resources: {limits: {cpus: '0.5'}}}",
      { replicas: 2, resources: { memory: 67_108_864, cpu: 0.5 } },
    ],
    [
      "x-berth merges by key",
      `${build}\nx-berth: {kind: web, strategy: rolling, domains: [a.test]}`,
      "x-berth: {strategy: {type: recreate}, domains: [b.test]}",
      { kind: "web", strategy: { type: "recreate" }, domains: [{ host: "a.test" }, { host: "b.test" }] },
    ],
  ])("%s", (_, base, over, expected) => {
    const nested = (text: string) =>
      text
        .split("\n")
        .map((part) => `    ${part}`)
        .join("\n");
    const spec = specOf(
      override(`services:\n  a:\n${nested(base)}\n  b: {${build}}\nvolumes: {one: , two: }\n`, `services:\n  a:\n${nested(over)}\n`),
    );
    expect(spec).toMatchObject(expected);
    if ("env" in expected) expect(spec.env).toEqual(expected.env);
    if ("ports" in expected) expect(spec.ports).toEqual(expected.ports);
  });
  test("what cannot be merged is a problem that names both places", () =>
    expect(problemsOf(override(`services:\n  a: {${build}, ports: ["80"]}`, "services:\n  a: {ports: {x: 1}}")).map(line)[0]).toMatch(
      /^compose.override.yaml:2:14 compose_invalid a ports: `services.a.ports` is a mapping here and a list in compose.yaml:2/,
    ));
  test("a service may be added, and the file's own documents merge too", () => {
    const definition = definitionOf(
      override(`services: {a: {${build}}}\n---\nservices: {a: {environment: {A: 1}}}\n`, `services: {b: {${build}}}`),
    );
    expect(Object.keys(definition.components)).toEqual(["a", "b"]);
    expect(definition.components.a?.env).toEqual({ A: "1" });
  });
  test("a problem in an override names that file", () =>
    expect(problemsOf(override(`services: {a: {${build}}}`, "services:\n  a:\n    privileged: true\n")).map(line)[0]).toMatch(
      /^compose.override.yaml:3:5 compose_refused a privileged/,
    ));
});

describe("extends", () => {
  test("of the same file: mappings merge, lists grow, the extending one wins", () => {
    const spec = specOf(
      yaml(
        "services:\n  base:\n    build: x\n    environment: {A: 1, B: 1}\n    ports: ['1:80']\n    command: [a]\n  a:\n    extends: base\n    environment: [B=2]\n    ports: ['2:90']\n    command: [b]\n",
      ),
    );
    expect(spec).toMatchObject({ build: { context: "x" }, env: { A: "1", B: "2" }, command: { exec: ["b"] } });
    expect(spec.ports.map((port) => port.port)).toEqual([80, 90]);
  });
  test("of another file, whose paths are its own", () => {
    const project: Project = {
      files: {
        "compose.yaml": "services:\n  a:\n    extends: {file: common/base.yaml, service: b}\n    environment: {X: 1}\n",
        "common/base.yaml": "services:\n  b:\n    extends: c\n    env_file: b.env\n  c:\n    build: src\n",
        "common/b.env": "FROM=file",
      },
    };
    expect(specOf(project)).toMatchObject({ build: { context: "common/src" }, env: { FROM: "file", X: "1" } });
  });
  test("!reset in the extending service takes a value of the base away", () => {
    expect(
      specOf(
        yaml(
          "services:\n  b: {build: ., ports: ['1:80'], environment: {A: 1}}\n  a: {extends: {service: b}, ports: !reset [], environment: !override {B: 2}}\n",
        ),
      ),
    ).toMatchObject({ ports: [], env: { B: "2" } });
  });
  test("an override may change what was extended", () => {
    expect(
      specOf(override("services:\n  b: {build: ., environment: {A: 1}}\n  a: {extends: b}\n", "services: {a: {environment: {A: 2}}}")).env,
    ).toEqual({ A: "2" });
  });
  test.each([
    ["services:\n  a: {extends: b}\n  b: {extends: a}\n", /services extend each other in a circle: a -> b -> a/],
    ["services:\n  a: {extends: a}\n", /in a circle: a -> a/],
    ["services:\n  a: {extends: wbe}\n  web: {build: .}\n", /no service wbe .* \(Did you mean web\?\)/],
    ["services:\n  a: {extends: {file: gone.yaml, service: x}}\n", /there is no file gone.yaml/],
    ["services:\n  a: {extends: {file: ../up.yaml, service: x}}\n", /compose_refused .* leads out/],
    ["services:\n  a: {extends: {service: [x]}}\n", /names no service/],
    ["services:\n  a: {extends: {service: a, fil: x}}\n", /`fil` is not known/],
  ])("%j is a problem", (text, message) => expect(problemsOf(yaml(text)).map(line).join("\n")).toMatch(message));
});

describe("include", () => {
  test("another project with its own folder and .env", () => {
    const project: Project = {
      files: {
        "compose.yaml": `include: [db/compose.yaml]\nservices: {a: {${build}, depends_on: [db]}}\n`,
        "db/compose.yaml":
          "services:\n  db:\n    build: .\n    environment: {V: '${V}', W: '${W}'}\n    volumes: ['data:/d']\nvolumes: {data: }\n",
        "db/.env": "V=db\nW=db",
        ".env": "W=top",
      },
    };
    expect(specOf(project, "db")).toMatchObject({
      build: { context: "db" },
      env: { V: "db", W: "top" },
      volumes: [{ volume: "data", path: "/d" }],
    });
    expect(specOf(project).dependsOn).toEqual([{ component: "db", condition: "started" }]);
  });
  test("long form: several files, a folder and an env_file of its own", () => {
    const project: Project = {
      files: {
        "compose.yaml": `include:\n  - path: [x/one.yaml, x/two.yaml]\n    project_directory: y\n    env_file: z.env\nservices: {a: {${build}}}\n`,
        "x/one.yaml": "services: {b: {build: ., environment: {V: '${V}'}}}",
        "x/two.yaml": "services: {b: {working_dir: w}}",
        "z.env": "V=z",
      },
    };
    expect(specOf(project, "b")).toMatchObject({ build: { context: "y" }, env: { V: "z" }, workdir: "w" });
  });
  test("the including file wins over what it includes, and may extend it", () => {
    const project: Project = {
      files: {
        "compose.yaml": "include: [o.yaml]\nservices:\n  b: {environment: {A: 2}}\n  a: {extends: b}\n",
        "o.yaml": "services: {b: {build: ., environment: {A: 1, B: 1}}}",
      },
    };
    expect(specOf(project).env).toEqual({ A: "2", B: "1" });
  });
  test.each<[string, Project, RegExp]>([
    [
      "a circle",
      { files: { "compose.yaml": "include: [b.yaml]\n", "b.yaml": "include: [compose.yaml]\n" } },
      /include each other in a circle: compose.yaml -> b.yaml -> compose.yaml/,
    ],
    ["a missing file", { files: { "compose.yaml": "include: [b.yaml]\n" } }, /compose.yaml:1:11 .* there is no file b.yaml/],
    ["a path that leads out", { files: { "compose.yaml": "include: [../b.yaml]\n" } }, /compose_refused .* leads out/],
    ["a remote one", { files: { "compose.yaml": "include: ['oci://x/y']\n" } }, /compose_refused .* not in the project's folder/],
    ["no list", { files: { "compose.yaml": "include: b.yaml\n" } }, /`include` is a list/],
    ["an unknown key", { files: { "compose.yaml": "include: [{pth: b.yaml}]\n" } }, /`pth` is not known/],
    [
      "an env_file that is not there",
      { files: { "compose.yaml": "include: [{path: b.yaml, env_file: gone.env}]\n", "b.yaml": "services: {}" } },
      /there is no file gone.env/,
    ],
  ])("%s is a problem", (_, project, message) => expect(problemsOf(project).map(line).join("\n")).toMatch(message));
});

describe("profiles", () => {
  const project = yaml(
    "services:\n  a: {build: ., depends_on: {d: {condition: service_started, required: false}}}\n  d: {build: ., profiles: [debug, dev], privileged: true}\n",
  );
  test("a service whose profiles are not active is left out whole, and noted", () => {
    expect(Object.keys(definitionOf(project).components)).toEqual(["a"]);
    expect(specOf(project).dependsOn).toEqual([]);
    expect(noteCodes(project)).toEqual(["compose_profile_inactive"]);
  });
  test.each<[string, Partial<Project>]>([
    ["by name", { profiles: ["dev"] }],
    ["all", { profiles: ["*"] }],
    ["COMPOSE_PROFILES", { shell: { COMPOSE_PROFILES: "x, debug" } }],
  ])("active: %s", (_, more) => expect(problemsOf({ ...project, ...more }).map((problem) => problem.params.component)).toEqual(["d"]));
  test("depending on one that is left out is a problem", () =>
    expect(problemsOf(yaml("services:\n  a: {build: ., depends_on: [d]}\n  d: {build: ., profiles: [debug]}\n")).map(line)).toEqual([
      "compose.yaml:2:30 compose_invalid a depends_on: d is left out, because none of its profiles (debug) is active (Run it with `--profile debug`, or say `required: false`.)",
    ]));
});
