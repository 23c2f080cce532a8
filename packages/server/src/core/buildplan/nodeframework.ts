// Node.js frameworks as data: how each is recognised, built and started, and which of them leave only static files behind.
import type { Command } from "@berth/contract/spec.ts";
import { bindHost, exec, shell } from "./draft.ts";
import { dependsOn, type Package } from "./nodepackage.ts";
import { dig, digText, isFields, readJson, type Look } from "./source.ts";
import { withoutComments } from "./text.ts";

export interface FrameworkContext {
  readonly look: Look;
  readonly pkg: Package;
  /** The framework's own configuration file, or "". */ readonly config: string;
}

export interface StaticOutput {
  readonly dir: string;
  readonly spa: boolean;
  readonly why: string;
}

export interface Framework {
  readonly flavour: string;
  readonly packages: readonly string[];
  /** Configuration file names without extension. */
  readonly configs?: readonly string[];
  /** What `scripts.build` would be. */
  readonly build?: readonly string[];
  /** Starts what was built, when no script does. */
  readonly start?: (context: FrameworkContext) => Command | undefined;
  /** Set when the build leaves nothing but files to serve. */
  readonly files?: (context: FrameworkContext) => StaticOutput | undefined;
  readonly env?: Readonly<Record<string, string>>;
  readonly exclude?: readonly string[];
  /** What is missing when neither `start` nor `files` gives an answer. */
  readonly adapter?: string;
}

const always = (dir: string, spa: boolean, why: string) => (): StaticOutput => ({ dir, spa, why });

/** The value of `key: "text"` in a JavaScript configuration file. */
function setting(config: string, key: string): string | undefined {
  return new RegExp(`(?:^|[\\s{,])["']?${key}["']?\\s*:\\s*["'\`]([^"'\`$]{1,200})["'\`]`).exec(config)?.[1];
}

/** A folder that the configuration names, as a clean relative path; nothing that leaves the project. */
function folder(named: string | undefined, otherwise: string): string {
  const clean = (named ?? otherwise).replace(/^\.\//, "").replace(/\/+$/, "");
  return clean === "" || clean.startsWith("/") || clean.split("/").includes("..") ? otherwise : clean;
}

/** In order: a meta framework comes before the bundler it is made of. */
export const frameworks: readonly Framework[] = [
  {
    flavour: "next",
    packages: ["next"],
    configs: ["next.config"],
    build: ["next", "build"],
    env: { NEXT_TELEMETRY_DISABLED: "1" },
    exclude: [".next/cache"],
    files: ({ config }) =>
      setting(config, "output") === "export"
        ? { dir: folder(setting(config, "distDir"), "out"), spa: false, why: "next.config has output: export" }
        : undefined,
    start: () => shell(`exec next start --hostname ${bindHost} --port $PORT`),
  },
  {
    flavour: "nuxt",
    packages: ["nuxt", "nuxt3", "nuxt-edge"],
    configs: ["nuxt.config"],
    build: ["nuxt", "build"],
    env: { NUXT_TELEMETRY_DISABLED: "1" },
    files: ({ pkg }) =>
      /\bnux[ti] generate\b/.test(pkg.scripts.get("build") ?? "")
        ? { dir: ".output/public", spa: false, why: "its build script runs nuxt generate" }
        : undefined,
    start: () => exec("node", ".output/server/index.mjs"),
  },
  {
    flavour: "remix",
    packages: ["@remix-run/react", "@remix-run/node", "@remix-run/serve", "@remix-run/dev"],
    configs: ["remix.config", "vite.config"],
    build: ["remix", "vite:build"],
    files: ({ config }) =>
      /\bssr\s*:\s*false\b/.test(config) ? { dir: "build/client", spa: true, why: "vite.config has ssr: false" } : undefined,
    start: ({ look }) =>
      exec("remix-serve", look.files.some((file) => file.startsWith("remix.config.")) ? "build/index.js" : "build/server/index.js"),
  },
  {
    flavour: "react-router",
    packages: ["@react-router/dev"],
    configs: ["react-router.config"],
    build: ["react-router", "build"],
    files: ({ config }) =>
      /\bssr\s*:\s*false\b/.test(config) ? { dir: "build/client", spa: true, why: "react-router.config has ssr: false" } : undefined,
    start: ({ pkg }) => (dependsOn(pkg, "@react-router/serve") ? exec("react-router-serve", "./build/server/index.js") : undefined),
    adapter: "@react-router/serve",
  },
  {
    flavour: "astro",
    packages: ["astro"],
    configs: ["astro.config"],
    build: ["astro", "build"],
    env: { ASTRO_TELEMETRY_DISABLED: "1" },
    adapter: "@astrojs/node",
    files: ({ config }) =>
      /\badapter\s*:/.test(config) || ["server", "hybrid"].includes(setting(config, "output") ?? "")
        ? undefined
        : { dir: folder(setting(config, "outDir"), "dist"), spa: false, why: "astro builds static pages unless an adapter is set" },
    start: ({ pkg }) => (dependsOn(pkg, "@astrojs/node") ? shell(`exec env HOST=${bindHost} node ./dist/server/entry.mjs`) : undefined),
  },
  {
    flavour: "sveltekit",
    packages: ["@sveltejs/kit"],
    configs: ["svelte.config"],
    build: ["vite", "build"],
    adapter: "@sveltejs/adapter-node",
    files: ({ pkg, config }) =>
      dependsOn(pkg, "@sveltejs/adapter-static") && !config.includes("adapter-node")
        ? { dir: folder(setting(config, "pages"), "build"), spa: /\bfallback\s*:\s*["']/.test(config), why: "it uses adapter-static" }
        : undefined,
    start: ({ pkg }) => (dependsOn(pkg, "@sveltejs/adapter-node") ? exec("node", "build") : undefined),
  },
  {
    flavour: "solid-start",
    packages: ["@solidjs/start"],
    build: ["vinxi", "build"],
    start: () => exec("node", ".output/server/index.mjs"),
  },
  {
    flavour: "tanstack-start",
    packages: ["@tanstack/react-start", "@tanstack/solid-start"],
    build: ["vite", "build"],
    start: () => exec("node", ".output/server/index.mjs"),
  },
  { flavour: "nest", packages: ["@nestjs/core"], build: ["nest", "build"], start: () => exec("node", "dist/main.js") },
  {
    flavour: "gatsby",
    packages: ["gatsby"],
    build: ["gatsby", "build"],
    files: always("public", false, "gatsby builds static pages"),
    env: { GATSBY_TELEMETRY_DISABLED: "1" },
    exclude: [".cache"],
  },
  {
    flavour: "docusaurus",
    packages: ["@docusaurus/core"],
    build: ["docusaurus", "build"],
    files: always("build", false, "docusaurus builds static pages"),
  },
  {
    flavour: "vitepress",
    packages: ["vitepress"],
    build: ["vitepress", "build"],
    files: ({ look }) => pressOutput(look, ".vitepress", "dist"),
  },
  {
    flavour: "vuepress",
    packages: ["vuepress"],
    build: ["vuepress", "build"],
    files: ({ look }) => pressOutput(look, ".vuepress", "dist"),
  },
  {
    flavour: "eleventy",
    packages: ["@11ty/eleventy"],
    configs: [".eleventy", "eleventy.config"],
    build: ["eleventy"],
    files: ({ config }) => ({ dir: folder(setting(config, "output"), "_site"), spa: false, why: "eleventy builds static pages" }),
  },
  {
    flavour: "angular",
    packages: ["@angular/core"],
    build: ["ng", "build"],
    files: angularFiles,
    start: angularServer,
    env: { NG_CLI_ANALYTICS: "false" },
    exclude: [".angular"],
  },
  // With CI set, react-scripts takes every warning for an error.
  {
    flavour: "create-react-app",
    packages: ["react-scripts"],
    build: ["react-scripts", "build"],
    files: always("build", true, "react-scripts builds a single-page app"),
    env: { CI: "false" },
  },
  {
    flavour: "vue-cli",
    packages: ["@vue/cli-service"],
    configs: ["vue.config"],
    build: ["vue-cli-service", "build"],
    files: ({ config }) => ({
      dir: folder(setting(config, "outputDir"), "dist"),
      spa: true,
      why: "vue-cli-service builds a single-page app",
    }),
  },
  {
    flavour: "vite",
    packages: ["vite"],
    configs: ["vite.config"],
    build: ["vite", "build"],
    files: ({ look, config }) =>
      /\blib\s*:\s*\{/.test(config) || /\bssr\s*:\s*true\b/.test(config) || !look.files.some((file) => /(?:^|\/)index\.html$/.test(file))
        ? undefined
        : { dir: folder(setting(config, "outDir"), "dist"), spa: true, why: "vite builds index.html into static files" },
  },
  {
    flavour: "parcel",
    packages: ["parcel"],
    build: ["parcel", "build"],
    files: always("dist", true, "parcel builds static files"),
    exclude: [".parcel-cache"],
  },
];

/** Servers that need no build of their own; they name the flavour when nothing above does. */
export const servers: readonly (readonly [string, string])[] = [
  ["fastify", "fastify"],
  ["express", "express"],
  ["koa", "koa"],
  ["hono", "hono"],
  ["@hono/node-server", "hono"],
  ["@hapi/hapi", "hapi"],
  ["@adonisjs/core", "adonis"],
  ["@strapi/strapi", "strapi"],
  ["restify", "restify"],
  ["polka", "polka"],
  ["@feathersjs/feathers", "feathers"],
  ["socket.io", "socket.io"],
  ["ws", "ws"],
];

/** A script that serves sources while one edits them; it is no way to run in production. */
export function developmentServer(line: string): string | undefined {
  const patterns: readonly (readonly [RegExp, string])[] = [
    [/\breact-scripts start\b/, "react-scripts start"],
    [/\bng serve\b/, "ng serve"],
    [/(?:^|\s|\/)vite(?:\s+(?:dev|serve|preview)\b|\s*$|\s+-)/, "vite"],
    [/\bvue-cli-service serve\b/, "vue-cli-service serve"],
    [/\bwebpack(?:-dev-server|\s+serve)\b/, "webpack serve"],
    [/\bnext dev\b/, "next dev"],
    [/\bnux[ti] dev\b/, "nuxt dev"],
    [/\bastro (?:dev|preview|start)\b/, "astro dev"],
    [/\bgatsby develop\b/, "gatsby develop"],
    [/\bdocusaurus start\b/, "docusaurus start"],
    [/\bvitepress (?:dev|serve|preview)\b/, "vitepress dev"],
    [/\bvuepress dev\b/, "vuepress dev"],
    [/\beleventy\b.*--serve\b/, "eleventy --serve"],
    [/\bparcel(?:\s+serve\b|\s+[^b\s]|\s*$)/, "parcel"],
    [/\bnodemon\b/, "nodemon"],
    [/\bts-node-dev\b/, "ts-node-dev"],
    [/\btsx watch\b/, "tsx watch"],
    [/\bnest start\b/, "nest start"],
    [/\bremix(?:\s+vite:|\s+)dev\b/, "remix dev"],
    [/\breact-router dev\b/, "react-router dev"],
    [/\bnode\b.*\s--watch\b/, "node --watch"],
  ];
  return patterns.find(([pattern]) => pattern.test(line.slice(0, 2000)))?.[1];
}

export function frameworkOf(pkg: Package): Framework | undefined {
  return frameworks.find((item) => item.packages.some((name) => dependsOn(pkg, name)));
}

/** The text of the framework's configuration file, whatever its extension. */
export function configOf(look: Look, framework: Framework): string {
  for (const name of framework.configs ?? []) {
    for (const extension of ["ts", "js", "mjs", "cjs", "mts", "cts"]) {
      const text = look.read(`${name}.${extension}`);
      if (text !== undefined) return withoutComments(text);
    }
  }
  return "";
}

function pressOutput(look: Look, marker: string, output: string): StaticOutput {
  const inside = look.files.find((file) => file.startsWith(`${marker}/`) || file.includes(`/${marker}/`));
  const base = inside === undefined ? "docs/" : inside.slice(0, inside.indexOf(marker));
  return { dir: `${base}${marker}/${output}`, spa: false, why: `${marker} holds the site's configuration` };
}

interface AngularBuild {
  readonly options: unknown;
  readonly project: string;
  readonly application: boolean;
}

function angularBuild(look: Look): AngularBuild | undefined {
  const parsed = readJson(look, "angular.json");
  const projects = parsed !== undefined && parsed.ok ? dig(parsed.value, "projects") : undefined;
  if (!isFields(projects)) return undefined;
  const named = parsed !== undefined && parsed.ok ? digText(parsed.value, "defaultProject") : undefined;
  const project = named ?? Object.keys(projects).find((name) => digText(projects, name, "projectType") !== "library");
  if (project === undefined) return undefined;
  const target = dig(projects, project, "architect", "build") ?? dig(projects, project, "targets", "build");
  return { options: dig(target, "options"), project, application: /:application$/.test(digText(target, "builder") ?? "") };
}

function angularOutput(build: AngularBuild): string {
  return folder(digText(build.options, "outputPath") ?? digText(build.options, "outputPath", "base"), `dist/${build.project}`);
}

function angularFiles({ look }: FrameworkContext): StaticOutput | undefined {
  const build = angularBuild(look);
  if (build === undefined || dig(build.options, "ssr") || dig(build.options, "server")) return undefined;
  const browser = digText(build.options, "outputPath", "browser") ?? "browser";
  const dir = build.application && browser !== "" ? `${angularOutput(build)}/${browser}` : angularOutput(build);
  return { dir: folder(dir, "dist"), spa: true, why: `angular.json builds ${build.project} for browsers only` };
}

function angularServer({ look }: FrameworkContext): Command | undefined {
  const build = angularBuild(look);
  return build === undefined ? undefined : exec("node", `${angularOutput(build)}/server/server.mjs`);
}

export function contextOf(look: Look, pkg: Package, framework: Framework): FrameworkContext {
  return { look, pkg, config: configOf(look, framework) };
}
