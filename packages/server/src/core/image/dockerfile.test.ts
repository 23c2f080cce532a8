// A plan as a Dockerfile: what is cached by which files, what is left behind, who it runs as, and that no value can break out of its place.
import { argumentsOf } from "../command.ts";
import { describe, expect, it } from "vitest";
import { planOf, type Files } from "../buildplan/tree.fixture.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { chooseBase, publicCatalogue, type Catalogue } from "./catalogue.ts";
import { stepsOfInstructions, writeDockerfile, type DockerfileFeatures } from "./dockerfile.ts";
import { imageRecipe, type Recipe } from "./recipe.ts";

function recipeOf(plan: BuildPlan, args: readonly string[] = [], catalogue: Catalogue = publicCatalogue): Recipe {
  const outcome = imageRecipe(plan, catalogue, args);
  if (!outcome.ok) throw new Error(`no recipe: ${JSON.stringify(outcome.cause)}`);
  return outcome.recipe;
}

const text = (files: Files, features: DockerfileFeatures = {}, args: readonly string[] = []): string =>
  writeDockerfile(recipeOf(planOf(files), args), features);

const next: Files = {
  "package.json": {
    scripts: { build: "next build", start: "next start" },
    dependencies: { next: "15", react: "19" },
    devDependencies: { typescript: "*" },
    engines: { node: ">=22" },
  },
  "package-lock.json": { lockfileVersion: 3, packages: {} },
};
const go: Files = { "go.mod": "module x\ngo 1.22\n", "main.go": "package main\nfunc main(){}" };

/** The instructions of one stage, without comments, each as one line. */
function stage(dockerfile: string, name: "build" | "code" | "last"): string[] {
  const stages = dockerfile.split(/^FROM /m).slice(1);
  const found = name === "last" ? stages.at(-1) : stages.find((one) => one.split("\n")[0]?.endsWith(` AS ${name}`));
  return (found ?? "")
    .replaceAll(/ \\\n\s*/g, " ")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
}

it("writes a Node.js project down in three layers, dependencies before sources", () => {
  expect(text(next, { cachePrefix: "berth-s1", networkNone: true }, ["API_URL"]))
    .toBe(`# build: builds with everything that only a build needs; nothing of this stage but /app is taken along.
FROM node:24-bookworm AS build
WORKDIR /app
ENV LANG=C.UTF-8 \\
    CI=1 \\
    SOURCE_DATE_EPOCH=315532800 \\
    npm_config_cache=/var/cache/berth/npm \\
    npm_config_update_notifier=false \\
    NODE_ENV=production \\
    PATH=/app/node_modules/.bin:$PATH \\
    NEXT_TELEMETRY_DISABLED=1
ARG API_URL
COPY package.json package-lock.json ./
# package-lock.json
RUN --mount=type=cache,id=berth-s1-npm,target=/var/cache/berth/npm,sharing=locked \\
    npm ci --include=dev --no-audit --no-fund
COPY . ./
# scripts.build
RUN --mount=type=cache,id=berth-s1-npm,target=/var/cache/berth/npm,sharing=locked \\
    npm run build
# development dependencies are not needed to run
RUN --mount=type=cache,id=berth-s1-npm,target=/var/cache/berth/npm,sharing=locked \\
    npm prune --omit=dev --ignore-scripts --no-audit --no-fund

# code: without what has a layer of its own and what nobody needs to run it.
FROM build AS code
WORKDIR /app
RUN --network=none \\
    rm -rf node_modules .next/cache

# The image: what runs.
FROM node:24-bookworm-slim
WORKDIR /app
ENV LANG=C.UTF-8 \\
    HOME=/tmp \\
    HOST=0.0.0.0 \\
    PORT=8080 \\
    NODE_ENV=production \\
    PATH=/app/node_modules/.bin:$PATH \\
    NEXT_TELEMETRY_DISABLED=1
RUN --network=none \\
    chown 10001:10001 /app
COPY --from=build --chown=10001:10001 /app/node_modules /app/node_modules
COPY --from=code --chown=10001:10001 /app /app
USER 10001:10001
EXPOSE 8080
CMD ["next","start"]
`);
});

const ecosystems: Record<string, Files> = {
  next,
  go,
  flask: { "requirements.txt": "flask\ngunicorn\n", "app.py": "from flask import Flask\napp=Flask(__name__)\n" },
  rust: { "Cargo.toml": "[package]\nname='x'\nversion='0.1.0'\nedition='2021'\n", "Cargo.lock": "", "src/main.rs": "fn main(){}" },
  gradle: { "build.gradle": "plugins { id 'org.springframework.boot' version '3.2.0' }", "src/main/java/A.java": "class A{}" },
  laravel: { "composer.json": { require: { "laravel/framework": "^11" } }, "composer.lock": "{}", artisan: "", "public/index.php": "" },
  rails: {
    Gemfile: "gem 'rails'\ngem 'puma'\n",
    "Gemfile.lock": "GEM\n  specs:\n    puma (6)\n    rails (7)\n",
    "config.ru": "",
    "package.json": { scripts: { build: "esbuild" }, devDependencies: { esbuild: "*" } },
    "package-lock.json": {},
  },
  static: { "index.html": "<p>" },
  procfile: { Procfile: "web: node server.js\n" },
};

describe.each(Object.entries(ecosystems))("%s", (_, files) => {
  it("runs as nobody the base image knows, and its last stage runs nothing of the project while it is built", () => {
    const last = stage(text(files), "last");
    expect(last).toContain("USER 10001:10001");
    const runs = last.filter((line) => line.startsWith("RUN"));
    // Bundler is needed to run as well.
    expect(runs.filter((line) => !/npm install|apt-get|pip install/.test(line))).toHaveLength(1);
    expect(runs.at(-1)).toMatch(/^RUN chown 10001:10001 \/app(?: && printf .* > \/usr\/local\/bin\/berth-static && chmod 755 \S+)?$/);
    expect(last.at(-1)).toMatch(/^CMD \["/);
  });

  it("takes from the build no more than its folder, and no build argument", () => {
    const last = stage(text(files, {}, ["TOKEN"]), "last");
    for (const line of last.filter((one) => one.startsWith("COPY")))
      expect(line).toMatch(/ \/app(?:\/\S+)?$|berth-static|\/etc\/ssl\/certs$/);
    expect(last.join("\n")).not.toContain("TOKEN");
  });

  it("copies every file that an install step needs before that step, and the sources after it", () => {
    const plan = planOf(files);
    const lines = text(files).split("\n");
    const sources = lines.findIndex((line) => /^COPY (?:--chown=\S+ )?\. /.test(line));
    expect(sources).toBeGreaterThan(0);
    const build = lines.slice(0, sources);
    for (const step of plan.steps.filter(({ inputs }) => inputs.length > 0)) {
      const copied = build.filter((line) => line.startsWith("COPY"));
      for (const file of step.inputs) expect(copied.some((line) => line.split(" ").includes(file))).toBe(true);
    }
  });

  it("says the same in the same bytes, and nothing that an old builder does not know unless it is asked for", () => {
    expect(text(files)).toBe(text(files));
    expect(text(files)).not.toMatch(/--mount|--network/);
  });
});

it("takes sources past the stage that builds when nothing is made of them", () => {
  const plain = text({
    "package.json": { scripts: { start: "node server.js" }, dependencies: { a: "1" } },
    "package-lock.json": {},
    "server.js": "",
  });
  expect(stage(plain, "build").slice(-3)).toEqual([
    "COPY package.json package-lock.json ./",
    "RUN npm ci --omit=dev --no-audit --no-fund",
    "RUN rm -f package.json package-lock.json",
  ]);
  expect(stage(plain, "last").filter((line) => line.startsWith("COPY"))).toEqual([
    "COPY --from=build --chown=10001:10001 /app /app",
    "COPY --chown=10001:10001 . /app",
  ]);
  // Without any step there is nothing to build.
  expect(text({ Procfile: "web: node server.js\n", "server.js": "" })).not.toContain("build");
});

it("tells which instruction is which step of the plan", () => {
  const recipe = recipeOf(planOf(next), ["A", "B"]);
  const instructions = writeDockerfile(recipe)
    .replaceAll(/ \\\n\s*/g, " ")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const steps = stepsOfInstructions(recipe);
  expect(steps).toHaveLength(instructions.length);
  expect(instructions.flatMap((line, index) => (steps[index] === undefined ? [] : [`${steps[index]}: ${line}`]))).toEqual([
    "install: RUN npm ci --include=dev --no-audit --no-fund",
    "build: RUN npm run build",
    "prune: RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund",
  ]);
});

it("leaves the sources of a compiled language and its compiler behind", () => {
  const dockerfile = text(go);
  expect(stage(dockerfile, "code").join("\n")).toContain("find . -name '*.go' -type f -delete");
  expect(stage(dockerfile, "last")[0]).toBe("debian:12-slim");
});

it("serves a static site by Berth's own file server, which has to lie in the context", () => {
  const recipe = recipeOf(planOf({ "index.html": "<p>" }));
  expect(recipe.needsStaticServer).toBe(true);
  expect(stage(writeDockerfile(recipe), "last").at(-1)).toBe('CMD ["berth-static","."]');
});

it("keeps what the build makes anew out of the context", () => {
  expect(recipeOf(planOf(next)).ignore).toEqual([".git", ".next/cache", "node_modules"]);
});

it("gives the user's build environment precedence over the plan's", () => {
  const build = stage(text(next, {}, ["NODE_ENV"]), "build");
  expect(build).toContain("ARG NODE_ENV");
  expect(build.find((line) => line.startsWith("ENV"))).not.toContain("NODE_ENV");
});

it("has what programs call beside their runtime in the image as well", () => {
  const pnpm = text({
    "package.json": { scripts: { prestart: "x", start: "node a.js" }, dependencies: { a: "1" }, packageManager: "pnpm@9.1.0" },
    "pnpm-lock.yaml": "lockfileVersion: '9.0'\n",
  });
  expect(stage(pnpm, "last")).toContain("RUN npm install --global --force --no-audit --no-fund pnpm@9.x");
  const mixed = stage(text({ Procfile: "web: node server.js\nworker: python3 work.py\n" }), "last");
  expect(mixed.some((line) => line.includes("apt-get install") && line.includes("python3"))).toBe(true);
  const served = stage(
    text({ "requirements.txt": "flask\n", "app.py": "", Procfile: "web: python3 app.py\npages: berth-static .\n" }),
    "last",
  );
  expect(served[0]).toMatch(/^python:/);
  expect(served.some((line) => line.startsWith("COPY --from=node:"))).toBe(true);
});

it("starts a shell line by a shell that is replaced by its program, and words without any", () => {
  expect(argumentsOf({ exec: ["node", "a b.js"] })).toEqual(["node", "a b.js"]);
  expect(argumentsOf({ shell: "exec node $FILE" })).toEqual(["/bin/sh", "-c", "exec node $FILE"]);
});

describe("no value breaks out of its place", () => {
  const plan = planOf({ "index.js": "", "package.json": { scripts: { start: "node index.js" } } });
  const withStep = (command: BuildPlan["steps"][number]["command"]): string[] =>
    stage(
      writeDockerfile(
        recipeOf({ ...plan, steps: [{ name: "build", command, why: "a\nRUN evil", inputs: [], outputs: [], network: true }] }),
      ),
      "build",
    );

  it.each([
    [{ shell: "a\nRUN evil" }, 'RUN ["/bin/sh","-c","a\\nRUN evil"]'],
    [{ shell: "cat <<EOF" }, 'RUN ["/bin/sh","-c","cat <<EOF"]'],
    [{ shell: "a \\" }, 'RUN ["/bin/sh","-c","a \\\\"]'],
    [{ shell: '["a"]' }, 'RUN ["/bin/sh","-c","[\\"a\\"]"]'],
    [{ exec: ["--mount=x", "b"] }, 'RUN ["/bin/sh","-c","--mount=x b"]'],
    [{ exec: ["a", "$HOME", "it's"] }, "RUN a '$HOME' 'it'\\''s'"],
  ])("in a step: %j", (command, line) => {
    expect(withStep(command)).toContain(line);
    expect(withStep(command).filter((one) => one.startsWith("RUN"))).toHaveLength(1);
  });

  it.each([
    ["a b", '"a b"'],
    ['say "x"', '"say \\"x\\""'],
    ["$HOME/${X}", '"\\$HOME/\\${X}"'],
    ["a\\", '"a\\\\"'],
    ["a\nRUN evil", '"a RUN evil"'],
    ["", '""'],
    ["$ROOT/bin:$PATH", "/app/bin:$PATH"],
  ])("in the environment: %j", (value, written) => {
    const last = stage(writeDockerfile(recipeOf({ ...plan, env: { X: value } })), "last");
    expect(last.find((line) => line.startsWith("ENV"))?.split(" X=")[1]).toBe(written);
  });

  it("in the names of files: a step that needs one which a parser could misread runs when all sources are there", () => {
    const step = { name: "install" as const, command: { exec: ["x"] }, why: "y", outputs: [], network: true };
    const copies = (...inputs: string[]): string[] =>
      stage(writeDockerfile(recipeOf({ ...plan, steps: [{ ...step, inputs }] })), "build").filter((line) => line.startsWith("COPY"));
    expect(copies("a.json", "p/x.patch")).toEqual(["COPY a.json ./", "COPY p/x.patch p/"]);
    for (const name of ["a b", "[x].patch", "$y", "it's", 'a"b', "a\\b", "p/*"]) expect(copies("a.json", name)).toEqual(["COPY . ./"]);
  });
});

describe("the catalogue", () => {
  it("gives the first base whose release line may satisfy what the project asks for", () => {
    const chosen = (wanted: string): string | undefined => {
      const found = chooseBase(publicCatalogue, "node", wanted);
      return found.ok ? found.base.version : undefined;
    };
    expect([chosen("*"), chosen("20.x"), chosen("^22.3.1"), chosen(">=18 <23"), chosen("16.x")]).toEqual([
      "24",
      "20",
      "22",
      "22",
      undefined,
    ]);
  });

  it("says what it has when nothing fits", () => {
    const plan = planOf({ "index.js": "", "package.json": { scripts: { start: "node index.js" }, engines: { node: "12.x" } } });
    expect(imageRecipe(plan, publicCatalogue)).toMatchObject({
      ok: false,
      cause: { code: "base_missing", params: { runtime: "node", wanted: " 12.x", has: "24, 22, 20" } },
    });
  });

  it("says which tool no image has", () => {
    const plan = planOf(ecosystems["gradle"] ?? {});
    expect(imageRecipe(plan, { ...publicCatalogue, tools: [] })).toMatchObject({
      ok: false,
      cause: { code: "tool_not_in_images", params: { tool: "gradle" } },
    });
  });
});

it("makes the folders of volumes the program's own, and takes certificates only where the system has none", () => {
  const plan = planOf({ "go.mod": "module x\n\ngo 1.24\n", "main.go": "package main\nfunc main() {}\n" }, { prefer: "image" });
  const written = (catalogue: Catalogue): string => {
    const outcome = imageRecipe(plan, catalogue, [], ["/data", "/with space"]);
    if (!outcome.ok) throw new Error(outcome.cause.code);
    return writeDockerfile(outcome.recipe);
  };
  expect(written(publicCatalogue)).toContain("RUN mkdir -p /data '/with space' && chown 10001:10001 /app /data '/with space'\n");
  expect(written(publicCatalogue)).toContain("COPY --from=build /etc/ssl/certs /etc/ssl/certs\n");
  expect(written({ ...publicCatalogue, osCertificates: true })).not.toContain("/etc/ssl/certs");
});
