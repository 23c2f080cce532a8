// How a build plan becomes an image: stages, their instructions and what is left behind, as data that `dockerfile.ts` writes down. Three layers
// as they are kept apart in the field: the operating system, the runtime with the project's dependencies, the code. Pure.
import { argumentsOf } from "../command.ts";
import type { BuildPlan, BuildStep, BuildTool } from "@berth/contract/buildplan.ts";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import { isPlainWord, shellWord } from "../buildplan/command.ts";
import { chooseBase, isRuntime, runtimeOf, type Catalogue, type RuntimeBase, type ToolImage } from "./catalogue.ts";

/** Where the plan's root lies in every image. */
export const imageRoot = "/app";
/** Who programs run as: nobody that the base image knows, so that nothing in it belongs to them. */
export const imageUser = "10001:10001";
/** What PORT says unless the engine says otherwise. */
export const imagePort = 8080;
/** Where a static site's file server lies, in the build context and in the image; and the program by which it is started, as on a machine. */
export const staticServer = {
  inContext: ".berth-static.mjs",
  inImage: "/usr/local/lib/berth/berth-static.mjs",
  program: "/usr/local/bin/berth-static",
} as const;

/** A folder that one build leaves for the next, where the builder keeps such. */
export interface CacheMount {
  readonly name: string;
  readonly target: string;
}

export type Instruction =
  | { readonly type: "env"; readonly env: Readonly<Record<string, string>> }
  | { readonly type: "arg"; readonly names: readonly string[] }
  | { readonly type: "copy"; readonly from?: string; readonly owner?: string; readonly sources: readonly string[]; readonly target: string }
  | {
      readonly type: "run";
      /** The plan's step that it is, for the build's log. */
      readonly step?: BuildStep["name"];
      readonly command: Command;
      readonly caches: readonly CacheMount[];
      readonly network: boolean;
      readonly why?: string;
    }
  | { readonly type: "user"; readonly user: string }
  | { readonly type: "expose"; readonly port: number }
  | { readonly type: "cmd"; readonly words: readonly string[] };

export interface Stage {
  readonly name?: string;
  readonly from: string;
  /** For people: what the stage is for. */
  readonly why: string;
  readonly instructions: readonly Instruction[];
}

export interface Recipe {
  readonly stages: readonly Stage[];
  /** Patterns of what a context leaves out, as in a .dockerignore. */
  readonly ignore: readonly string[];
  /** Berth's own file server has to lie in the context at `staticServer.inContext`. */
  readonly needsStaticServer: boolean;
}

export type RecipeOutcome = { readonly ok: true; readonly recipe: Recipe } | { readonly ok: false; readonly cause: Cause };

/**
 * The recipe of a plan that was detected from the project's own files; `args` names the user's environment for build steps: build arguments, in no layer of the image;
 * `writable` are folders that belong to the program, for volumes.
 * Causes: `base_missing`, `tool_not_in_images`, `dockerfile_needs_container_engine` (the repository's own Dockerfile has no recipe: builders of images build it as it is).
 */
export function imageRecipe(
  plan: BuildPlan,
  catalogue: Catalogue,
  args: readonly string[] = [],
  writable: readonly string[] = [],
): RecipeOutcome {
  if (plan.kind === "dockerfile")
    return { ok: false, cause: cause("dockerfile_needs_container_engine", { dir: plan.root === "." ? "The folder" : plan.root }) };
  const wanted = runtimeOf(plan);
  const found = wanted === undefined ? undefined : chooseBase(catalogue, wanted.runtime, wanted.wanted);
  if (found?.ok === false) return found;
  const base = found?.base;
  const needsStaticServer = Object.values(plan.processes).some(({ command }) => usesStaticServer(command));
  // The file server is a Node.js program.
  const server = needsStaticServer ? chooseBase(catalogue, "node", "*") : undefined;
  if (server?.ok === false) return server;
  const ownRun = wanted?.atRunTime === true ? base?.run : undefined;
  const ran = ownRun ?? server?.base.run ?? catalogue.os;
  const tools = toolInstructions(plan.tools, base, catalogue);
  if (!tools.ok) return tools;
  // What programs need beside their own runtime.
  const ranWith = plan.tools.filter(({ phase, name }) => phase !== "build" && name !== base?.runtime);
  const servedBeside = needsStaticServer && ownRun !== undefined && base?.runtime !== "node";
  const runTools = toolInstructions([...ranWith, ...(servedBeside ? [serverTool] : [])], base ?? server?.base, catalogue);
  if (!runTools.ok) return runTools;

  const early = earlySteps(plan);
  const outputs = plan.steps.flatMap((step) => (step.inputs.length === 0 ? [] : step.outputs));
  const kept = outputs.filter((path) => !plan.exclude.includes(path));
  const dropped = [...new Set([...kept, ...plan.exclude, ...sourcesOf(plan), ...(needsStaticServer ? [staticServer.inContext] : [])])];
  // Nothing is made of the sources: they go past the stage that builds, and it is as it was when only they have changed.
  const untouched = early.length === plan.steps.length && !needsStaticServer && kept.length === outputs.length && !isCompiled(plan);
  const build: Stage = {
    name: "build",
    from: base?.build ?? catalogue.os,
    why: "builds with everything that only a build needs; nothing of this stage but /app is taken along",
    instructions: [
      ...tools.instructions,
      // ENV would win over an argument of the same name, and the user's word counts.
      { type: "env", env: Object.fromEntries(Object.entries(buildEnv(plan)).filter(([name]) => !args.includes(name))) },
      // After what never changes: every later step runs again when one of them changes.
      ...(args.length === 0 ? [] : [{ type: "arg", names: [...new Set(args)].sort() } satisfies Instruction]),
      ...earlyInstructions(plan, early),
      ...(untouched
        ? withoutInputs(early)
        : [{ type: "copy", sources: ["."], target: "./" } satisfies Instruction, ...lateInstructions(plan, early)]),
    ],
  };
  const code: Stage = {
    name: "code",
    from: "build",
    why: "without what has a layer of its own and what nobody needs to run it",
    instructions: [
      { type: "run", command: { shell: `rm -rf ${dropped.map(shellWord).join(" ")}${dropsBySuffix(plan)}` }, caches: [], network: false },
    ],
  };
  const drops = dropped.length > 0 || dropsBySuffix(plan) !== "";
  const run: Stage = {
    from: ran,
    why: "what runs",
    instructions: [
      ...runTools.instructions,
      // Programs of compiled languages bring no certificates of their own.
      ...(isCompiled(plan) && catalogue.osCertificates !== true
        ? [{ type: "copy", from: "build", sources: ["/etc/ssl/certs"], target: "/etc/ssl/certs" } satisfies Instruction]
        : []),
      { type: "env", env: runEnv(plan) },
      ...(needsStaticServer
        ? [{ type: "copy", sources: [staticServer.inContext], target: staticServer.inImage } satisfies Instruction]
        : []),
      // A folder that is copied into keeps its own owner. Programs may write beside their code, as on a machine.
      {
        type: "run",
        command: { shell: `${ownFolders(writable)}${needsStaticServer ? ` && ${installStaticServer}` : ""}` },
        caches: [],
        network: false,
      },
      ...(untouched ? layersOfSources(plan) : layersOf(kept, drops ? "code" : "build")),
      { type: "user", user: imageUser },
      { type: "expose", port: imagePort },
      ...cmdOf(plan),
    ],
  };
  return {
    ok: true,
    recipe: {
      stages: [...(untouched && plan.steps.length === 0 ? [] : [build]), ...(untouched || !drops ? [] : [code]), run],
      ignore: [".git", ...new Set([...outputs, ...plan.exclude])].sort(),
      needsStaticServer,
    },
  };
}

function ownFolders(writable: readonly string[]): string {
  const folders = writable.map(shellWord);
  const made = folders.length === 0 ? "" : `mkdir -p ${folders.join(" ")} && `;
  return `${made}chown ${[imageUser, imageRoot, ...folders].join(" ")}`;
}

const installStaticServer = `printf '#!/bin/sh\\nexec node ${staticServer.inImage} "$@"\\n' > ${staticServer.program} && chmod 755 ${staticServer.program}`;

const isCompiled = ({ kind }: BuildPlan): boolean => kind === "go" || kind === "rust";

/** What steps left in folders of their own is a layer each; then the code, out of that stage. */
function layersOf(kept: readonly string[], stage: string): Instruction[] {
  const take = (from: string, path: string): Instruction => ({ type: "copy", from, owner: imageUser, sources: [path], target: path });
  return [...kept.map((path) => take("build", `${imageRoot}/${path}`)), take(stage, imageRoot)];
}

/** All that steps left is a layer, and the sources are another one: in the order in which a build would meet them. */
function layersOfSources(plan: BuildPlan): Instruction[] {
  const sources: Instruction = { type: "copy", owner: imageUser, sources: ["."], target: imageRoot };
  return plan.steps.length === 0
    ? [sources]
    : [{ type: "copy", from: "build", owner: imageUser, sources: [imageRoot], target: imageRoot }, sources];
}

/** Dependencies are installed from their lockfiles alone, before the sources come, as long as steps say which files they need. */
function earlySteps(plan: BuildPlan): readonly BuildStep[] {
  const first = plan.steps.findIndex((step) => step.inputs.length === 0 || !step.inputs.every(isPlainWord));
  return first === -1 ? plan.steps : plan.steps.slice(0, first);
}

function earlyInstructions(plan: BuildPlan, early: readonly BuildStep[]): Instruction[] {
  return early.flatMap((step) => [...copyInputs(step), runStep(plan, step)]);
}

/** What steps made, without what they made it from: that comes with the sources. */
function withoutInputs(early: readonly BuildStep[]): Instruction[] {
  const inputs = [...new Set(early.flatMap((step) => step.inputs))];
  return inputs.length === 0
    ? []
    : [{ type: "run", command: { shell: `rm -f ${inputs.map(shellWord).join(" ")}` }, caches: [], network: false }];
}

function lateInstructions(plan: BuildPlan, early: readonly BuildStep[]): Instruction[] {
  return plan.steps.slice(early.length).map((step) => runStep(plan, step));
}

function runStep(plan: BuildPlan, step: BuildStep): Instruction {
  const mounts = plan.caches.map(({ name }): CacheMount => ({ name, target: cacheFolder(name) }));
  return { type: "run", step: step.name, command: step.command, caches: mounts, network: step.network, why: step.why };
}

/** Files of one folder in one instruction, each folder kept as it is. */
function copyInputs(step: BuildStep): Instruction[] {
  const folders = new Map<string, string[]>();
  for (const file of step.inputs) {
    const cut = file.lastIndexOf("/");
    const folder = cut < 0 ? "./" : `${file.slice(0, cut)}/`;
    folders.set(folder, [...(folders.get(folder) ?? []), file]);
  }
  return [...folders].map(([target, sources]) => ({ type: "copy", sources, target }));
}

const cacheFolder = (name: string): string => `/var/cache/berth/${name}`;

/** What steps find: as on the host, so that the same plan gives the same result. SOURCE_DATE_EPOCH: reproducible-builds.org. */
function buildEnv(plan: BuildPlan): Record<string, string> {
  const caches = plan.caches.flatMap(({ name, env }) =>
    Object.entries(env).map(([key, value]): [string, string] => [key, value.replaceAll("$CACHE", cacheFolder(name))]),
  );
  return {
    LANG: "C.UTF-8",
    CI: "1",
    SOURCE_DATE_EPOCH: "315532800",
    ...Object.fromEntries(caches),
    ...Object.fromEntries(Object.entries(plan.env).map(([key, value]) => [key, rooted(value)])),
  };
}

function runEnv(plan: BuildPlan): Record<string, string> {
  return {
    LANG: "C.UTF-8",
    HOME: "/tmp",
    HOST: "0.0.0.0",
    PORT: String(imagePort),
    ...Object.fromEntries(Object.entries(plan.env).map(([key, value]) => [key, rooted(value)])),
  };
}

const rooted = (value: string): string => value.replaceAll(/\$ROOT\b|\$\{ROOT\}/g, imageRoot);

/** The program of the process type that a container runs when nobody says otherwise. */
function cmdOf(plan: BuildPlan): Instruction[] {
  const names = Object.keys(plan.processes);
  const name = names.includes("web") ? "web" : names.length === 1 ? names[0] : undefined;
  const command = name === undefined ? undefined : plan.processes[name]?.command;
  return command === undefined ? [] : [{ type: "cmd", words: argumentsOf(command) }];
}

function usesStaticServer(command: Command): boolean {
  return "exec" in command && command.exec[0] === "berth-static";
}

/** Sources of compiled languages: programs do not read them, and the image would carry them around. */
function sourcesOf(plan: BuildPlan): string[] {
  if (plan.kind === "go") return ["go.mod", "go.sum", "go.work", "go.work.sum", "vendor"];
  if (plan.kind === "rust") return ["Cargo.toml", "Cargo.lock", "target", "vendor"];
  return [];
}

function dropsBySuffix(plan: BuildPlan): string {
  const suffix = plan.kind === "go" ? "go" : plan.kind === "rust" ? "rs" : undefined;
  return suffix === undefined ? "" : ` && find . -name '*.${suffix}' -type f -delete`;
}

const serverTool: BuildTool = { name: "node", wanted: "*", why: "serves the static files", phase: "run" };

type ToolsOutcome = { readonly ok: true; readonly instructions: readonly Instruction[] } | { readonly ok: false; readonly cause: Cause };

/** How a stage gets the tools that its own base image does not bring. */
function toolInstructions(tools: readonly BuildTool[], base: RuntimeBase | undefined, catalogue: Catalogue): ToolsOutcome {
  const instructions: Instruction[] = [];
  for (const tool of tools) {
    if (tool.name === base?.runtime || brought.get(base?.runtime ?? "")?.has(tool.name) === true) continue;
    const install = installer(tool);
    const image = catalogue.tools.find((one) => one.tool === tool.name);
    if (install !== undefined) instructions.push(run(install, tool));
    else if (image !== undefined) instructions.push(...takeTool(image, tool));
    else if (isRuntime(tool.name)) {
      const found = chooseBase(catalogue, tool.name, tool.wanted);
      if (!found.ok) return found;
      const beside = besideInstructions(found.base, tool);
      if (beside === undefined) return missing(tool, base);
      instructions.push(...beside);
    } else if (!(tool.name === "npm" && tools.some(({ name }) => name === "node"))) return missing(tool, base);
  }
  return { ok: true, instructions };
}

/** What every image of a runtime has beside the runtime itself. */
const brought: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["node", new Set(["npm"])],
  ["python", new Set(["pip"])],
  ["ruby", new Set(["bundler"])],
  ["rust", new Set(["cargo"])],
]);

function missing(tool: BuildTool, base: RuntimeBase | undefined): ToolsOutcome {
  return { ok: false, cause: cause("tool_not_in_images", { tool: tool.name, image: base?.build ?? "the base image" }) };
}

/** Tools that come from their ecosystem's own registry, in the version that the project asks for. */
function installer(tool: BuildTool): Command | undefined {
  // Images of Node.js may have one of that name already, which npm does not replace by itself.
  const npm = (name: string): Command => ({
    exec: ["npm", "install", "--global", "--force", "--no-audit", "--no-fund", `${name}@${tool.wanted}`],
  });
  switch (tool.name) {
    case "pnpm":
      return npm("pnpm");
    case "yarn":
      return npm(/(?:^|[^\d.])1(?:\.|$)|^1/.test(tool.wanted) ? "yarn" : "@yarnpkg/cli-dist");
    case "poetry":
    case "pipenv":
    case "uv":
      return {
        exec: ["python3", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore", tool.name],
      };
    default:
      return undefined;
  }
}

function run(command: Command, tool: BuildTool): Instruction {
  return { type: "run", command, caches: [], network: true, why: tool.why };
}

function takeTool(image: ToolImage, tool: BuildTool): Instruction[] {
  return [
    ...(image.packages === undefined ? [] : [run({ shell: aptInstall(image.packages) }, tool)]),
    ...image.copy.map((path): Instruction => ({ type: "copy", from: image.image, sources: [path], target: path })),
    ...(image.path === undefined ? [] : [{ type: "env", env: { PATH: `${image.path}:$PATH` } } satisfies Instruction]),
  ];
}

function besideInstructions(base: RuntimeBase, tool: BuildTool): Instruction[] | undefined {
  if (base.beside === undefined) return undefined;
  if ("copy" in base.beside) {
    const { copy } = base.beside;
    return copy.map((path): Instruction => ({ type: "copy", from: base.build, sources: [path], target: path }));
  }
  return [run({ shell: aptInstall(base.beside.packages) }, tool)];
}

function aptInstall(packages: readonly string[]): string {
  const names = packages.map(shellWord).join(" ");
  return `apt-get update -qq && apt-get install -y -qq --no-install-recommends ${names} && rm -rf /var/lib/apt/lists/*`;
}
