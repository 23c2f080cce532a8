// Node.js: install with the project's own package manager, build when there is something to build, and start the server or serve the files.
import type { BuildStep, BuildTool } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import { inFolder } from "./command.ts";
import { brokenManifest, exec, step, takeNotes, type Broken, type Draft, type Notes, type Processes } from "./draft.ts";
import { contextOf, frameworkOf, servers } from "./nodeframework.ts";
import { chooseManager, installStep, pruneStep, runScript } from "./nodemanager.ts";
import { allDependencies, installScripts, readPackage, type Package } from "./nodepackage.ts";
import { devDependencyUsed, nodeProcesses, type NodeProject } from "./nodestart.ts";
import { findWorkspace, neededMembers, type Member, type Workspace } from "./nodeworkspace.ts";
import { joinPath, relativePath, type Look } from "./source.ts";
import { chooseVersion, saidByFile, saidBySwitchers, type VersionSaid } from "./versions.ts";
import { rangeOfNpm, rangeOfPin } from "./ranges.ts";

export function detectNode(look: Look): Draft | Broken | undefined {
  const read = readPackage(look);
  if (read === undefined) return detectScript(look);
  if (!read.ok) return brokenManifest(look, "package.json", read.reason);
  const notes = takeNotes();
  const workspace = findWorkspace(look);
  if (workspace !== undefined && workspace.root === look.root) {
    const only = onlyApp(look, read.value, workspace, notes);
    if (only !== undefined) return planPackage(look.at(joinPath(look.root, only.folder)), only.pkg, workspace, notes);
  }
  return planPackage(look, read.value, workspace, notes);
}

/** At the top of a workspace without a start of its own: its one member that has one. */
function onlyApp(look: Look, pkg: Package, workspace: Workspace, notes: Notes): Member | undefined {
  if (pkg.scripts.has("start") || frameworkOf(pkg) !== undefined) return undefined;
  const apps = workspace.members.filter((member) => member.pkg.scripts.has("start") || frameworkOf(member.pkg) !== undefined);
  const [first] = apps;
  if (apps.length === 1 && first !== undefined) {
    notes.found(look.label(joinPath(first.folder, "package.json")), "the only member of the workspace that can be started");
    return first;
  }
  if (apps.length > 1) notes.warn("several_programs", { programs: apps.map((member) => member.folder).join(", ") });
  return undefined;
}

function planPackage(look: Look, pkg: Package, workspace: Workspace | undefined, notes: Notes): Draft {
  const root = workspace?.root ?? look.root;
  const top = look.at(root);
  const folder = relativePath(root, look.root);
  notes.found(look.label("package.json"), `a Node.js package${pkg.name === undefined ? "" : ` named ${pkg.name}`}`);
  if (workspace !== undefined && folder !== ".")
    notes.found(top.label("package.json"), `the workspace that ${folder} belongs to; the plan's root is its folder`);
  const manager = chooseManager(top, workspace?.pkg ?? pkg, notes);
  const framework = frameworkOf(pkg);
  const project = withOutput({ look, pkg, workspace, folder, manager, framework, output: undefined });
  const flavour = framework?.flavour ?? servers.find(([name]) => pkg.dependencies.has(name))?.[1];
  if (flavour !== undefined) notes.found(look.label("package.json"), `uses ${flavour}`);

  const started = nodeProcesses(project, notes);
  const builds = buildSteps(project, notes);
  const keepsDev = started.served === undefined && devDependencyUsed(project, started.processes, notes);
  const install = dependencySteps(project, builds.length > 0, keepsDev, started.served !== undefined, notes);
  const steps = [...install.before, ...builds, ...install.after];
  const usesManager = Object.values(started.processes).some(
    ({ command }) => "exec" in command && command.exec[0] === manager.command(".")[0] && command.exec[0] !== "node",
  );
  const needsManager =
    usesManager || steps.some(({ command }) => ("exec" in command ? command.exec.includes(manager.command(".")[0] ?? "") : true));
  return {
    kind: "node",
    flavour,
    root,
    strength: "manifest",
    tools: [
      nodeTool(look, pkg, started.served === undefined ? "both" : "build", notes),
      ...(needsManager ? manager.tools.map((tool): BuildTool => (usesManager ? { ...tool, phase: "both" } : tool)) : []),
    ],
    steps,
    processes: started.processes,
    env: {
      NODE_ENV: "production",
      PATH: `${folder === "." ? "" : `$ROOT/${folder}/node_modules/.bin:`}$ROOT/node_modules/.bin:$PATH`,
      ...manager.env,
      ...framework?.env,
    },
    caches: install.before.length > 0 ? manager.caches : [],
    exclude: [
      ...(started.served === undefined ? [] : ["node_modules"]),
      ...(framework?.exclude ?? []).map((path) => joinPath(folder, path)),
    ],
    staticSite: started.served,
    notes,
  };
}

/** Static output counts only when no server of the package's own is there to serve it. */
function withOutput(project: NodeProject): NodeProject {
  const { framework, pkg, look } = project;
  if (framework?.files === undefined) return project;
  const bundler = framework.flavour === "vite" || framework.flavour === "parcel";
  const ownServer =
    servers.some(([name]) => pkg.dependencies.has(name)) &&
    ["server.js", "server.mjs", "server.ts", "index.js", pkg.main ?? ""].some((file) => file !== "" && look.has(file));
  return bundler && ownServer ? project : { ...project, output: framework.files(contextOf(look, pkg, framework)) };
}

/** Build scripts of the workspace members that the package needs, then its own. */
function buildSteps(project: NodeProject, notes: Notes): BuildStep[] {
  const { workspace, folder, manager, pkg, look, framework } = project;
  const steps: BuildStep[] = [];
  for (const member of workspace === undefined ? [] : neededMembers(workspace, folder)) {
    if (!member.pkg.scripts.has("build")) continue;
    notes.found(
      joinPath(workspace?.root ?? ".", joinPath(member.folder, "package.json")),
      `is built first: ${pkg.name ?? folder} depends on it`,
    );
    steps.push(
      step("build", inFolder(member.folder, runScript(manager, member.folder, "build")), `scripts.build of ${member.folder}`, true),
    );
  }
  const script = ["heroku-postbuild", "build"].find((name) => pkg.scripts.has(name));
  const network = allDependencies(pkg).length > 0;
  if (script !== undefined) {
    notes.found(look.label("package.json"), `scripts.${script} is \`${pkg.scripts.get(script) ?? ""}\``);
    steps.push(step("build", inFolder(folder, runScript(manager, folder, script)), `scripts.${script}`, network));
  } else if (framework?.build !== undefined) {
    steps.push(
      step("build", inFolder(folder, exec(...framework.build)), `how ${framework.flavour} is built; there is no scripts.build`, network),
    );
  }
  return steps;
}

function dependencySteps(
  project: NodeProject,
  builds: boolean,
  keepsDev: boolean,
  servesFiles: boolean,
  notes: Notes,
): { before: BuildStep[]; after: BuildStep[] } {
  const { look, pkg, workspace, manager } = project;
  const top = workspace === undefined ? look : look.at(workspace.root);
  const first = workspace?.pkg ?? pkg;
  const members = workspace?.members.map((member) => member.pkg) ?? [];
  // Scripts such as `prepare` call development tools, so an install without them would fail.
  const withDev = builds || keepsDev || [first, ...members].some((item) => installScripts(item).length > 0);
  const install = installStep(top, first, members, manager, withDev, notes);
  if (install === undefined) return { before: [], after: [] };
  const prune = withDev && !keepsDev && !servesFiles ? pruneStep(first, members, manager) : undefined;
  return { before: [install], after: prune === undefined ? [] : [prune] };
}

export function nodeTool(look: Look, pkg: Package | undefined, phase: BuildTool["phase"], notes: Notes): BuildTool {
  const manifest = look.label("package.json");
  const said: VersionSaid[] = [];
  const engines = pkg?.engines.get("node");
  if (engines !== undefined) said.push({ file: manifest, says: engines, wanted: rangeOfNpm(engines) });
  said.push(...saidByFile(look, [".nvmrc", ".node-version"], "major"));
  const volta = pkg?.volta.get("node");
  if (volta !== undefined) said.push({ file: manifest, says: volta, wanted: rangeOfPin(volta, "major") });
  said.push(...saidBySwitchers(look, ["nodejs", "node"], "major", notes));
  return { name: "node", ...chooseVersion("node", said, notes), phase };
}

/** A server file without a package.json: nothing to install, one program to start. */
function detectScript(look: Look): Draft | undefined {
  const page = look.has("index.html");
  const candidates = [
    "server.js",
    "server.mjs",
    "server.cjs",
    "server.ts",
    ...(page ? [] : ["index.js", "index.mjs", "app.js", "main.js", "index.ts"]),
  ];
  const processes = new Map<string, Processes[string]>();
  const notes = takeNotes();
  for (const [type, files] of [
    ["web", candidates],
    ["worker", ["worker.js", "worker.mjs", "worker.ts"]],
  ] as const) {
    const file = files.find((name) => look.has(name));
    if (file === undefined) continue;
    notes.found(look.label(file), "a Node.js program without a package.json: nothing is installed");
    processes.set(type, { command: exec("node", file), why: file });
  }
  if (processes.size === 0) return undefined;
  const typed = [...processes.values()].some(({ why }) => why.endsWith(".ts"));
  const tool = nodeTool(look, undefined, "both", notes);
  return {
    kind: "node",
    root: look.root,
    strength: "file",
    tools: [typed && tool.wanted === "*" ? { ...tool, wanted: ">=22.18.0", why: "runs TypeScript as it is" } : tool],
    steps: [],
    processes: Object.fromEntries(processes),
    env: { NODE_ENV: "production" },
    caches: [],
    exclude: [],
    notes,
  };
}

/** Front-end assets of a project in another language: installs and builds, and leaves the packages out of the artifact. */
export function nodeAssets(look: Look, build: boolean, notes: Notes): Pick<Draft, "tools" | "steps" | "caches" | "exclude"> | undefined {
  const read = readPackage(look);
  if (read === undefined || !read.ok || (!read.value.scripts.has("build") && build)) return undefined;
  const manager = chooseManager(look, read.value, notes);
  const install = installStep(look, read.value, [], manager, true, notes);
  notes.found(look.label("package.json"), build ? "its build script makes assets" : "its packages are installed for the asset build");
  const command: Command = runScript(manager, ".", "build");
  const steps = [
    ...(install === undefined ? [] : [install]),
    ...(build ? [step("build", command, "scripts.build of package.json", dependsOnAnything(read.value))] : []),
  ];
  return {
    tools: [nodeTool(look, read.value, "build", notes), ...manager.tools],
    steps,
    caches: install === undefined ? [] : manager.caches,
    exclude: ["node_modules"],
  };
}

function dependsOnAnything(pkg: Package): boolean {
  return allDependencies(pkg).length > 0;
}
