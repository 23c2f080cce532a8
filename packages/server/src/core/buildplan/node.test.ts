// Node.js plans: package managers, scripts, frameworks, workspaces and versions.
import { describe, expect, it } from "vitest";
import { gist, planOf, type Files } from "./tree.fixture.ts";

const npmLock = (dependencies: Record<string, string>, devDependencies: Record<string, string> = {}): object => ({
  lockfileVersion: 3,
  packages: { "": { dependencies, devDependencies } },
});

interface Case {
  readonly name: string;
  readonly files: Files;
  readonly root?: string;
  readonly steps: string[];
  readonly processes: Record<string, string>;
  readonly tools?: string[];
  readonly warnings?: string[];
  readonly kind?: string;
  readonly planRoot?: string;
}

const cases: readonly Case[] = [
  {
    name: "a server without dependencies installs nothing, so that nothing needs the network",
    kind: "node",
    files: { "package.json": { scripts: { start: "node server.js" } }, "server.js": "" },
    steps: [],
    processes: { web: "node server.js" },
    tools: ["node * both"],
    warnings: [],
  },
  {
    name: "a lockfile for no dependencies installs nothing either",
    files: { "package.json": { scripts: { start: "node server.js" } }, "package-lock.json": npmLock({}), "server.js": "" },
    steps: [],
    processes: { web: "node server.js" },
  },
  {
    name: "npm with a lockfile installs strictly and without development dependencies",
    kind: "node/express",
    files: {
      "package.json": { scripts: { start: "node server.js" }, dependencies: { express: "^4" }, devDependencies: { jest: "29" } },
      "package-lock.json": npmLock({ express: "^4" }, { jest: "29" }),
    },
    steps: ["install: npm ci --omit=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]"],
    processes: { web: "node server.js" },
    tools: ["node * both", "npm * build"],
    warnings: [],
  },
  {
    name: "npm without a lockfile says so, and its outcome is never taken from the cache",
    files: { "package.json": { main: "lib/start.js", dependencies: { fastify: "4" } }, "lib/start.js": "" },
    steps: ["install: npm install --omit=dev --no-audit --no-fund"],
    processes: { web: "node lib/start.js" },
    warnings: ["lockfile_missing"],
  },
  {
    name: "a build step brings development dependencies, and a prune step takes them away",
    files: {
      "package.json": {
        scripts: { build: "tsc", start: "node dist/main.js" },
        dependencies: { koa: "2" },
        devDependencies: { typescript: "5" },
      },
      "package-lock.json": npmLock({ koa: "2" }, { typescript: "5" }),
    },
    steps: [
      "install: npm ci --include=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]",
      "build: npm run build",
      "prune: npm prune --omit=dev --ignore-scripts --no-audit --no-fund",
    ],
    processes: { web: "node dist/main.js" },
  },
  {
    name: "lifecycle scripts make an install depend on the whole source",
    files: {
      "package.json": { scripts: { start: "node .", postinstall: "node setup.js" }, dependencies: { ws: "8" } },
      "package-lock.json": npmLock({ ws: "8" }),
    },
    steps: ["install: npm ci --include=dev --no-audit --no-fund"],
    processes: { web: "node ." },
  },
  {
    name: "file: dependencies make an install depend on the whole source",
    files: {
      "package.json": { scripts: { start: "node ." }, dependencies: { lib: "file:./lib" } },
      "package-lock.json": npmLock({ lib: "file:./lib" }),
    },
    steps: ["install: npm ci --omit=dev --no-audit --no-fund"],
    processes: { web: "node ." },
  },
  {
    name: "an outdated lockfile is told before npm ci refuses it",
    files: {
      "package.json": { scripts: { start: "node ." }, dependencies: { ws: "8", koa: "2" } },
      "package-lock.json": npmLock({ ws: "8" }),
    },
    steps: ["install: npm ci --omit=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]"],
    processes: { web: "node ." },
    warnings: ["lockfile_outdated"],
  },
  {
    name: "two lockfiles: a stated choice",
    kind: "node/express",
    files: {
      "package.json": { scripts: { start: "node ." }, dependencies: { express: "4" } },
      "package-lock.json": npmLock({ express: "4" }),
      "yarn.lock": "# yarn lockfile v1\nexpress@4:\n",
    },
    steps: ["install: yarn install --frozen-lockfile --production=true --non-interactive [package.json yarn.lock -> node_modules]"],
    processes: { web: "node ." },
    tools: ["node * both", "yarn 1.x build"],
    warnings: ["several_lockfiles"],
  },
  {
    name: "packageManager decides between two lockfiles",
    files: {
      "package.json": { packageManager: "npm@10.2.0", scripts: { start: "node ." }, dependencies: { express: "4" } },
      "package-lock.json": npmLock({ express: "4" }),
      "yarn.lock": "",
    },
    steps: ["install: npm ci --omit=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]"],
    processes: { web: "node ." },
    tools: ["node * both", "npm 10.x build"],
    warnings: ["several_lockfiles"],
  },
  {
    name: "pnpm, with the version that its lockfile's format needs",
    files: {
      "package.json": {
        scripts: { build: "tsc", start: "node dist/x.js" },
        dependencies: { hono: "4" },
        devDependencies: { typescript: "5" },
      },
      "pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nhono typescript",
    },
    steps: [
      "install: pnpm install --frozen-lockfile --prod=false [package.json pnpm-lock.yaml -> node_modules]",
      "build: pnpm run build",
      "prune: env CI=true pnpm prune --prod --config.ignore-scripts=true",
    ],
    processes: { web: "node dist/x.js" },
    tools: ["node * both", "pnpm >=9 build"],
  },
  {
    name: "Yarn's Plug'n'Play becomes node_modules, which moves with the bundle; the committed Yarn is used",
    files: {
      "package.json": { packageManager: "yarn@4.1.0", scripts: { start: "node ." }, dependencies: { koa: "2" } },
      "yarn.lock": '__metadata:\n  version: 8\n"koa@npm:2":\n',
      ".yarnrc.yml": "yarnPath: .yarn/releases/yarn-4.1.0.cjs\n",
      ".yarn/releases/yarn-4.1.0.cjs": "",
    },
    steps: [
      "install: node .yarn/releases/yarn-4.1.0.cjs install --immutable [package.json yarn.lock .yarnrc.yml .yarn/releases/yarn-4.1.0.cjs -> node_modules]",
    ],
    processes: { web: "node ." },
    tools: ["node * both"],
  },
  {
    name: "a start script with hooks keeps its package manager",
    files: { "package.json": { scripts: { prestart: "node migrate.js", start: "node ." } } },
    steps: [],
    processes: { web: "npm run start" },
    tools: ["node * both", "npm * both"],
  },
  {
    name: "a start script that only calls another one is followed",
    files: { "package.json": { scripts: { start: "npm run serve", serve: "cross-env NODE_ENV=production node app.js --port $PORT" } } },
    steps: [],
    processes: { web: "$ exec env NODE_ENV=production node app.js --port $PORT" },
  },
  {
    name: "a program that is only a development dependency is kept for the start",
    files: {
      "package.json": { scripts: { start: "ts-node src/index.ts" }, dependencies: { koa: "2" }, devDependencies: { "ts-node": "10" } },
      "package-lock.json": npmLock({ koa: "2" }, { "ts-node": "10" }),
    },
    steps: ["install: npm ci --include=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]"],
    processes: { web: "ts-node src/index.ts" },
    warnings: ["start_needs_dev_dependency"],
  },
  {
    name: "a fixed port is warned about",
    files: { "package.json": { scripts: { start: "node . --port 3000" } } },
    steps: [],
    processes: { web: "node . --port 3000" },
    warnings: ["port_fixed"],
  },
  {
    name: "a worker script is a process type of its own",
    files: { "package.json": { scripts: { start: "node web.js", worker: "node jobs.js" } } },
    steps: [],
    processes: { web: "node web.js", worker: "node jobs.js" },
  },
  {
    name: "a package without a start command still has a plan",
    files: { "package.json": { dependencies: { express: "4" } }, "package-lock.json": npmLock({ express: "4" }) },
    steps: ["install: npm ci --omit=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]"],
    processes: {},
  },
  {
    name: "only a server file",
    kind: "node",
    files: { "server.ts": "", "index.html": "" },
    steps: [],
    processes: { web: "node server.ts" },
    tools: ["node >=22.18.0 both"],
  },
  {
    name: "workspaces: the lockfile lies above, siblings are built first, the plan's root is the workspace",
    root: "apps/web",
    planRoot: ".",
    files: {
      "package.json": { private: true, workspaces: ["apps/*", "packages/*"] },
      "package-lock.json": npmLock({}),
      "apps/web/package.json": { name: "web", scripts: { build: "tsc", start: "node dist/index.js" }, dependencies: { "@x/db": "*" } },
      "packages/db/package.json": { name: "@x/db", scripts: { build: "tsc" }, dependencies: { "@x/base": "*" } },
      "packages/base/package.json": { name: "@x/base", scripts: { build: "tsc" } },
    },
    steps: [
      "install: npm ci --include=dev --no-audit --no-fund",
      "build: cd packages/base && exec npm run build",
      "build: cd packages/db && exec npm run build",
      "build: cd apps/web && exec npm run build",
    ],
    processes: { web: "$ cd apps/web && exec node dist/index.js" },
  },
  {
    name: "at the top of a workspace its only app is taken",
    planRoot: ".",
    files: {
      "package.json": { private: true },
      "pnpm-workspace.yaml": "packages:\n  # apps\n  - 'services/*' # all\n  - \"!services/old\"\n",
      "pnpm-lock.yaml": "lockfileVersion: '6.0'\nexpress",
      "services/api/package.json": { name: "api", scripts: { start: "node ." }, dependencies: { express: "4" } },
      "services/old/package.json": { scripts: { start: "node ." } },
    },
    steps: ["install: pnpm install --frozen-lockfile --prod"],
    processes: { web: "$ cd services/api && exec node ." },
    tools: ["node * both", "pnpm >=8 build"],
  },
  {
    name: "a monorepo folder with its own lockfile stands alone",
    root: "services/api",
    planRoot: "services/api",
    files: {
      "package.json": { workspaces: ["apps/*"] },
      "services/api/package.json": { scripts: { start: "node ." }, dependencies: { express: "4" } },
      "services/api/package-lock.json": npmLock({ express: "4" }),
    },
    steps: ["install: npm ci --omit=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]"],
    processes: { web: "node ." },
  },
];

describe("Node.js", () => {
  it.each(cases)("$name", ({ files, root, planRoot, steps, processes, tools, warnings, kind }) => {
    const plan = planOf(files, root === undefined ? {} : { root });
    const seen = gist(plan);
    const offline = seen.steps.map((line) => line.replace(" (offline)", ""));
    expect({ steps: offline, processes: seen.processes }).toEqual({ steps, processes });
    if (tools !== undefined) expect(seen.tools).toEqual(tools);
    if (warnings !== undefined) expect(seen.warnings).toEqual(warnings);
    if (kind !== undefined) expect(seen.kind).toBe(kind);
    if (planRoot !== undefined) expect(plan.root).toBe(planRoot);
  });
});

const lock = { "package-lock.json": {} };
const app = (dependencies: Record<string, string>, scripts: Record<string, string> = {}): Files => ({
  "package.json": { scripts, dependencies },
  ...lock,
});

describe("frameworks", () => {
  const bind = "${HOST:-0.0.0.0}";
  const served: readonly (readonly [string, Files, string])[] = [
    ["next", app({ next: "14" }, { dev: "next dev", build: "next build" }), `$ exec next start --hostname ${bind} --port $PORT`],
    ["next", app({ next: "14" }, { dev: "next dev", build: "next build", start: "next start" }), "next start"],
    ["nuxt", app({ nuxt: "3" }, { build: "nuxt build" }), "node .output/server/index.mjs"],
    [
      "remix",
      { ...app({ "@remix-run/react": "2", "@remix-run/serve": "2" }, { build: "remix vite:build" }), "vite.config.ts": "" },
      "remix-serve build/server/index.js",
    ],
    [
      "react-router",
      app({ "@react-router/dev": "7", "@react-router/serve": "7" }, { build: "react-router build" }),
      "react-router-serve ./build/server/index.js",
    ],
    [
      "astro",
      {
        ...app({ astro: "4", "@astrojs/node": "8" }, { build: "astro build" }),
        "astro.config.mjs": "export default { output: 'server', adapter: node() }",
      },
      `$ exec env HOST=${bind} node ./dist/server/entry.mjs`,
    ],
    ["sveltekit", app({ "@sveltejs/kit": "2", "@sveltejs/adapter-node": "5" }, { build: "vite build" }), "node build"],
    ["nest", app({ "@nestjs/core": "10" }, { build: "nest build", start: "nest start", "start:prod": "node dist/main" }), "node dist/main"],
    [
      "angular",
      {
        ...app({ "@angular/core": "17" }, { start: "ng serve", build: "ng build" }),
        "angular.json": {
          projects: {
            shop: {
              architect: {
                build: {
                  builder: "@angular-devkit/build-angular:application",
                  options: { outputPath: "dist/shop", ssr: { entry: "server.ts" } },
                },
              },
            },
          },
        },
      },
      "node dist/shop/server/server.mjs",
    ],
    [
      "vite",
      { ...app({ vite: "5", express: "4" }, { build: "vite build", start: "node server.js" }), "index.html": "", "server.js": "" },
      "node server.js",
    ],
  ];
  it.each(served)("%s with a server: %#", (flavour, files, web) => {
    const plan = planOf(files);
    expect(gist(plan).processes).toEqual({ web });
    expect(plan.flavour).toBe(flavour);
    expect(plan.steps.map((step) => step.name)).toContain("build");
    expect(plan.staticSite).toBeUndefined();
  });

  const files: readonly (readonly [string, Files, string, boolean])[] = [
    ["vite", { ...app({ vite: "5" }, { dev: "vite", build: "vite build", start: "vite" }), "index.html": "" }, "dist", true],
    [
      "vite",
      { ...app({ vite: "5" }), "index.html": "", "vite.config.js": "export default { build: { outDir: 'www' } } // outDir: 'x'" },
      "www",
      true,
    ],
    ["create-react-app", app({ "react-scripts": "5" }, { start: "react-scripts start", build: "react-scripts build" }), "build", true],
    ["vue-cli", app({ "@vue/cli-service": "5" }, { serve: "vue-cli-service serve", build: "vue-cli-service build" }), "dist", true],
    [
      "angular",
      {
        ...app({ "@angular/core": "17" }, { start: "ng serve", build: "ng build" }),
        "angular.json": {
          projects: {
            shop: { architect: { build: { builder: "@angular-devkit/build-angular:application", options: { outputPath: "dist/shop" } } } },
          },
        },
      },
      "dist/shop/browser",
      true,
    ],
    ["astro", app({ astro: "4" }, { build: "astro build" }), "dist", false],
    [
      "next",
      { ...app({ next: "14" }, { build: "next build", start: "next start" }), "next.config.mjs": 'export default { output: "export" }' },
      "out",
      false,
    ],
    ["nuxt", app({ nuxt: "3" }, { build: "nuxt generate" }), ".output/public", false],
    [
      "sveltekit",
      {
        ...app({ "@sveltejs/kit": "2", "@sveltejs/adapter-static": "3" }, { build: "vite build" }),
        "svelte.config.js": "adapter({ fallback: 'index.html' })",
      },
      "build",
      true,
    ],
    ["gatsby", app({ gatsby: "5" }, { build: "gatsby build", start: "gatsby develop" }), "public", false],
    ["docusaurus", app({ "@docusaurus/core": "3" }, { build: "docusaurus build", start: "docusaurus start" }), "build", false],
    [
      "vitepress",
      { ...app({ vitepress: "1" }, { build: "vitepress build docs" }), "docs/.vitepress/config.ts": "" },
      "docs/.vitepress/dist",
      false,
    ],
    ["eleventy", app({ "@11ty/eleventy": "2" }, { build: "eleventy", start: "eleventy --serve" }), "_site", false],
  ];
  it.each(files)("%s that leaves only files: %#", (flavour, tree, dir, spa) => {
    const plan = planOf(tree);
    expect(plan.flavour).toBe(flavour);
    expect(plan.staticSite).toEqual({ dir, spa });
    expect(plan.processes["web"]?.command).toEqual({ exec: ["berth-static", ...(spa ? ["--spa"] : []), dir] });
    expect(plan.exclude).toContain("node_modules");
    expect(plan.tools.every((tool) => tool.phase === "build")).toBe(true);
    expect(plan.steps.map((step) => step.name)).toEqual(["install", "build"]);
  });

  it("says which adapter is missing when a build would leave nothing to start", () => {
    const plan = planOf(app({ "@sveltejs/kit": "2", "@sveltejs/adapter-auto": "3" }, { build: "vite build" }));
    expect(plan.processes).toEqual({});
    expect(plan.warnings).toContainEqual({ code: "adapter_missing", params: { framework: "sveltekit", better: "@sveltejs/adapter-node" } });
  });

  it("serves a static app of a workspace from its own folder", () => {
    const plan = planOf(
      {
        "package.json": { workspaces: ["apps/*"] },
        "yarn.lock": "# yarn lockfile v1\nvite@5:",
        "apps/site/package.json": { scripts: { build: "vite build" }, devDependencies: { vite: "5" } },
        "apps/site/index.html": "",
      },
      { root: "apps/site" },
    );
    expect(plan.root).toBe(".");
    expect(plan.staticSite).toEqual({ dir: "apps/site/dist", spa: true });
  });
});

describe("versions of Node.js", () => {
  const pkg = (extra: object = {}): Files => ({ "package.json": { scripts: { start: "node ." }, ...extra } });
  const cases: readonly (readonly [string, Files, string])[] = [
    ["engines", pkg({ engines: { node: ">=18 <23" } }), ">=18 <23"],
    [".nvmrc", { ...pkg(), ".nvmrc": "# team\nv20.11.1\n" }, "20.x"],
    [".nvmrc with an alias", { ...pkg(), ".nvmrc": "lts/iron\n" }, "*"],
    [".node-version", { ...pkg(), ".node-version": "22" }, "22.x"],
    ["volta", pkg({ volta: { node: "20.1.0" } }), "20.x"],
    [".tool-versions", { ...pkg(), ".tool-versions": "python 3.12.1\nnodejs 21.6.0 # x\n" }, "21.x"],
    ["mise.toml", { ...pkg(), "mise.toml": '[tools]\nnode = "22"\n' }, "22.x"],
    ["nothing", pkg(), "*"],
  ];
  it.each(cases)("from %s", (_, files, wanted) => {
    expect(planOf(files).tools[0]).toMatchObject({ name: "node", wanted });
  });

  it("warns when two files cannot both be obeyed, and says which one counts", () => {
    const plan = planOf({ ...pkg({ engines: { node: ">=22" } }), ".nvmrc": "18" });
    expect(plan.tools[0]?.wanted).toBe(">=22");
    expect(plan.warnings).toEqual([
      { code: "versions_disagree", params: { file: ".nvmrc", tool: "node", says: "18", chosenFile: "package.json", chosen: ">=22" } },
    ]);
  });

  it("ignores what is no version, and says so", () => {
    const plan = planOf({ ...pkg({ engines: { node: "the newest" } }), ".nvmrc": "20" });
    expect(plan.tools[0]?.wanted).toBe("20.x");
    expect(plan.warnings.map((warning) => warning.code)).toEqual(["version_unreadable"]);
  });
});
