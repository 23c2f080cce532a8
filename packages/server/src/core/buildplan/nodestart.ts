// How a Node.js package is started: its scripts, its framework, or its main file. A script is run without the package manager around it
// where that means the same, so that signals reach the program and no second process stays in memory.
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import { commandOf, fixedPort, inFolder, showCommand, wordsOf } from "./command.ts";
import { exec, type Notes, type Processes } from "./draft.ts";
import { contextOf, developmentServer, type Framework, type StaticOutput } from "./nodeframework.ts";
import { runScript, type Manager } from "./nodemanager.ts";
import type { Package } from "./nodepackage.ts";
import type { Workspace } from "./nodeworkspace.ts";
import { joinPath, type Look } from "./source.ts";

/** What a package is built with: itself, its workspace, its framework. */
export interface NodeProject {
  readonly look: Look;
  readonly pkg: Package;
  readonly workspace: Workspace | undefined;
  /** The package's folder as seen from the plan's root. */
  readonly folder: string;
  readonly manager: Manager;
  readonly framework: Framework | undefined;
  readonly output: StaticOutput | undefined;
}

export interface NodeStart {
  readonly processes: Processes;
  readonly served: BuildPlan["staticSite"];
}

/** Process types of the package, and the folder to serve when its build leaves only files. */
export function nodeProcesses(project: NodeProject, notes: Notes): NodeStart {
  const found = new Map<string, Processes[string]>();
  const script = startScript(project);
  const production = script !== undefined && developmentServer(script.line) === undefined;
  const output = production && project.output !== undefined && project.framework?.flavour !== "next" ? undefined : project.output;
  if (output !== undefined) return serveFiles(project, output, script?.line, notes);
  const web = webProcess(project, script, notes);
  if (web !== undefined) {
    const port = fixedPort(web.command);
    if (port !== undefined) notes.warn("port_fixed", { port });
    found.set("web", { ...web, command: inFolder(project.folder, web.command) });
  }
  for (const name of ["worker", "start:worker"]) {
    const worker = project.pkg.scripts.has(name) ? scriptCommand(project, name) : undefined;
    if (worker !== undefined && !found.has("worker"))
      found.set("worker", { command: inFolder(project.folder, worker), why: `scripts.${name}` });
  }
  const file = ["worker.js", "worker.mjs", "worker.ts"].find((name) => project.look.has(name));
  if (!found.has("worker") && file !== undefined) found.set("worker", { command: inFolder(project.folder, exec("node", file)), why: file });
  return { processes: Object.fromEntries(found), served: undefined };
}

function serveFiles(project: NodeProject, output: StaticOutput, start: string | undefined, notes: Notes): NodeStart {
  const dir = joinPath(project.folder, output.dir);
  notes.found(project.look.label("package.json"), `leaves only static files in ${dir}: ${output.why}`);
  if (start !== undefined) notes.found(project.look.label("package.json"), `scripts.start (\`${start}\`) is for development and not used`);
  const command = exec("berth-static", ...(output.spa ? ["--spa"] : []), dir);
  return {
    processes: { web: { command, why: `the files that ${project.framework?.flavour ?? "the build"} leaves in ${dir}` } },
    served: { dir, spa: output.spa },
  };
}

interface Script {
  readonly name: string;
  readonly line: string;
}

/** `start`, unless it is for development and another one is meant for production. */
function startScript({ pkg }: NodeProject): Script | undefined {
  const named = (name: string): Script[] => {
    const line = pkg.scripts.get(name);
    return line === undefined || line.trim() === "" ? [] : [{ name, line }];
  };
  const [start] = named("start");
  const [production] = [...named("start:prod"), ...named("start:production"), ...named("serve:prod")];
  return start !== undefined && (production === undefined || developmentServer(start.line) === undefined) ? start : (production ?? start);
}

function webProcess(project: NodeProject, script: Script | undefined, notes: Notes): Processes[string] | undefined {
  const { framework, look, pkg } = project;
  const development = script === undefined ? undefined : developmentServer(script.line);
  const built = framework?.start?.(contextOf(look, pkg, framework));
  if (script !== undefined && (development === undefined || built === undefined)) {
    if (development !== undefined)
      notes.warn("development_server", { program: development, better: "a script `start:prod` that runs the built program" });
    return { command: scriptCommand(project, script.name) ?? exec("node", "."), why: `scripts.${script.name}` };
  }
  if (built !== undefined) {
    notes.found(
      look.label("package.json"),
      `has no production start script; ${framework?.flavour ?? ""} is started as \`${showCommand(built)}\``,
    );
    return { command: built, why: `how ${framework?.flavour ?? ""} is started` };
  }
  if (framework?.adapter !== undefined) {
    notes.warn("adapter_missing", { framework: framework.flavour, better: framework.adapter });
    return undefined;
  }
  const main = mainFile(project);
  return main === undefined ? undefined : { command: exec("node", main.file), why: main.why };
}

function mainFile({ look, pkg }: NodeProject): { readonly file: string; readonly why: string } | undefined {
  const main = pkg.main === undefined ? undefined : joinPath(".", pkg.main);
  const named = main === undefined ? undefined : [main, `${main}.js`, joinPath(main, "index.js")].find((file) => look.has(file));
  if (named !== undefined && named !== "index.js") return { file: named, why: "package.json `main`" };
  const bases = ["server", "index", "app", "main", "src/server", "src/index", "src/app", "src/main"];
  const file = bases.flatMap((base) => [`${base}.js`, `${base}.mjs`, `${base}.cjs`, `${base}.ts`]).find((item) => look.has(item));
  return file === undefined ? undefined : { file, why: `${file} is there and no start script` };
}

/** A script as a command of its own; through the package manager when it has hooks or reads npm's variables. */
export function scriptCommand(project: NodeProject, name: string): Command | undefined {
  const { pkg, manager, folder } = project;
  let current = name;
  for (let hops = 0; hops < 5; hops += 1) {
    const line = pkg.scripts.get(current)?.trim();
    if (line === undefined || line === "") return undefined;
    if (pkg.scripts.has(`pre${current}`) || pkg.scripts.has(`post${current}`) || /npm_|\bnpx\b/.test(line))
      return runScript(manager, folder, current);
    const next = /^(?:npm|pnpm|yarn)(?:\s+run)?\s+([\w:.-]+)$/.exec(line)?.[1];
    if (next === undefined || !pkg.scripts.has(next)) return commandOf(line.replace(/^cross-env(?:-shell)?\s+(?=[A-Za-z_]\w*=)/, ""));
    current = next;
  }
  return runScript(manager, folder, name);
}

const binaries: Readonly<Record<string, string>> = {
  nest: "@nestjs/cli",
  "remix-serve": "@remix-run/serve",
  "react-router-serve": "@react-router/serve",
  ng: "@angular/cli",
  tsc: "typescript",
};

/** Whether a start command needs a package that is only a development dependency; these then stay installed. */
export function devDependencyUsed({ pkg, manager, folder }: NodeProject, processes: Processes, notes: Notes): boolean {
  const lines = Object.values(processes).flatMap(({ command }) => {
    const words = wordsOf(command);
    const script = words.at(-2) === "run" && words[0] === manager.command(folder)[0] ? pkg.scripts.get(words.at(-1) ?? "") : undefined;
    return [...words, ...(script === undefined ? [] : wordsOf({ shell: script }))];
  });
  for (const word of lines) {
    const name = Object.hasOwn(binaries, word) ? (binaries[word] ?? word) : packageIn(word);
    if (!pkg.devDependencies.has(name) || pkg.dependencies.has(name)) continue;
    notes.warn("start_needs_dev_dependency", { package: name });
    return true;
  }
  return false;
}

/** `--import=tsx/esm` and `ts-node/register` name packages as well as `nodemon` does. */
function packageIn(word: string): string {
  const path = word.replace(/^--?[\w-]+=/, "").replace(/^.*node_modules\/(?:\.bin\/)?/, "");
  return /^(@[^/]+\/[^/]+|[^/]+)/.exec(path)?.[1] ?? path;
}
