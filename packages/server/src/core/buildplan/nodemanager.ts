// Which package manager a Node.js project uses, and how it installs, prunes and runs scripts. Never mixes two managers in one plan.
import type { BuildStep, BuildTool } from "@berth/contract/buildplan.ts";
import type { Command } from "@berth/contract/spec.ts";
import { exec, step, type Cache, type Notes } from "./draft.ts";
import { dependencyMissing, lockfileMismatch } from "./nodelock.ts";
import { allDependencies, installScripts, localDependencies, type Package } from "./nodepackage.ts";
import { chooseVersion, type VersionSaid } from "./versions.ts";
import { rangeOfNpm, rangeOfPin } from "./ranges.ts";
import { digList, dig, isFields, relativePath, type Look } from "./source.ts";

export type ManagerName = "npm" | "pnpm" | "yarn" | "berry";

export interface Manager {
  readonly name: ManagerName;
  readonly lockfile: string | undefined;
  /** The words that start it, from a folder below the workspace's top. */
  command(from: string): string[];
  readonly tools: readonly BuildTool[];
  readonly caches: readonly Cache[];
  readonly env: Readonly<Record<string, string>>;
}

const lockfiles: readonly (readonly [string, "npm" | "pnpm" | "yarn"])[] = [
  ["pnpm-lock.yaml", "pnpm"],
  ["yarn.lock", "yarn"],
  ["package-lock.json", "npm"],
  ["npm-shrinkwrap.json", "npm"],
];

/** Decides by `packageManager`, then by the lockfile; `look` is the workspace's top. */
export function chooseManager(look: Look, pkg: Package, notes: Notes): Manager {
  const pinned = /^(npm|pnpm|yarn)@(\S+)$/.exec(pkg.packageManager ?? "");
  const present = lockfiles.filter(([file]) => look.has(file));
  const byPin = pinned === null ? undefined : present.find(([, manager]) => manager === pinned[1]);
  const taken = byPin ?? (pinned === null ? present[0] : undefined);
  const family = (pinned?.[1] as "npm" | "pnpm" | "yarn" | undefined) ?? taken?.[1] ?? (look.has("pnpm-workspace.yaml") ? "pnpm" : "npm");
  if (pinned !== null) notes.found(look.label("package.json"), `packageManager is ${pinned[0].split("+")[0] ?? ""}`);
  else if (taken !== undefined) notes.found(look.label(taken[0]), `${taken[1]} installs the dependencies`);
  const others = present.filter((item) => item !== taken && item[1] !== taken?.[1]);
  if (others.length > 0)
    notes.warn("several_lockfiles", {
      files: present.map(([file]) => file).join(", "),
      chosen: taken?.[0] ?? `${family} (packageManager)`,
    });
  for (const file of ["bun.lock", "bun.lockb", "deno.lock"])
    if (look.has(file)) notes.found(look.label(file), `not used: ${family} installs the dependencies`);
  const lockfile = taken?.[0];
  const berry = family === "yarn" && isBerry(look, pinned?.[2]);
  const name: ManagerName = berry ? "berry" : family;
  const release = berry ? look.files.find((file) => /^\.yarn\/releases\/yarn-[^/]+\.c?js$/.test(file)) : undefined;
  return {
    name,
    lockfile,
    command: (from) => (release === undefined ? [family] : ["node", relativePath(from, release)]),
    tools: release === undefined ? [managerTool(look, pkg, family, name, pinned?.[2], lockfile, notes)] : [],
    caches: [cacheOf(name, look)],
    env: berry ? berryEnv(look, notes) : {},
  };
}

function isBerry(look: Look, pinned: string | undefined): boolean {
  if (pinned !== undefined) return !/^[01]\./.test(pinned);
  return look.has(".yarnrc.yml") || /^__metadata:/m.test(look.read("yarn.lock") ?? "");
}

function managerTool(
  look: Look,
  pkg: Package,
  family: string,
  name: ManagerName,
  pinned: string | undefined,
  lockfile: string | undefined,
  notes: Notes,
): BuildTool {
  const manifest = look.label("package.json");
  const said: VersionSaid[] = [];
  if (pinned !== undefined) said.push({ file: manifest, says: pinned.split("+")[0] ?? pinned, wanted: rangeOfPin(pinned, "major") });
  for (const source of [pkg.volta, pkg.engines]) {
    const says = source.get(family);
    if (says !== undefined) said.push({ file: manifest, says, wanted: rangeOfNpm(says) });
  }
  if (said.length > 0) return { name: family, ...chooseVersion(family, said, notes), phase: "build" };
  const why = lockfile === undefined ? "package.json has dependencies" : `${look.label(lockfile)} is its lockfile`;
  return { name: family, wanted: lockedRange(look, name), why, phase: "build" };
}

/** What the lockfile's own format asks of the manager. */
function lockedRange(look: Look, name: ManagerName): string {
  if (name === "yarn") return "1.x";
  if (name === "berry") return ">=2";
  if (name === "npm") return "*";
  const format = Number(/^lockfileVersion:[ \t]*['"]?(\d+)/m.exec(look.read("pnpm-lock.yaml") ?? "")?.[1] ?? 0);
  return format >= 9 ? ">=9" : format >= 6 ? ">=8" : "*";
}

function cacheOf(name: ManagerName, look: Look): Cache {
  switch (name) {
    case "npm":
      return { name: "npm", env: { npm_config_cache: "$CACHE", npm_config_update_notifier: "false" } };
    case "pnpm":
      return {
        name: "pnpm",
        env: { npm_config_store_dir: "$CACHE", pnpm_config_store_dir: "$CACHE", COREPACK_ENABLE_DOWNLOAD_PROMPT: "0" },
      };
    case "yarn":
      return { name: "yarn", env: { YARN_CACHE_FOLDER: "$CACHE", COREPACK_ENABLE_DOWNLOAD_PROMPT: "0" } };
    case "berry": {
      const shared = { YARN_GLOBAL_FOLDER: "$CACHE", YARN_ENABLE_TELEMETRY: "0", COREPACK_ENABLE_DOWNLOAD_PROMPT: "0" };
      const committed = look.files.some((file) => file.startsWith(".yarn/cache/"));
      return { name: "yarn-berry", env: committed ? shared : { ...shared, YARN_ENABLE_GLOBAL_CACHE: "true" } };
    }
    default:
      return name satisfies never;
  }
}

/** Plug'n'Play links into a cache outside the folder, which a bundle does not have: dependencies become an ordinary node_modules. */
function berryEnv(look: Look, notes: Notes): Record<string, string> {
  const linker = /^[ \t]*nodeLinker[ \t]*:[ \t]*["']?([\w-]+)/m.exec(look.read(".yarnrc.yml") ?? "")?.[1] ?? "pnp";
  if (linker !== "pnp") return {};
  notes.found(look.label(".yarnrc.yml"), "Plug'n'Play would point outside the bundle: installed with the node-modules linker instead");
  return { YARN_NODE_LINKER: "node-modules" };
}

/** `run <script>` in a folder below the workspace's top. */
export function runScript(manager: Manager, from: string, script: string): Command {
  return exec(...manager.command(from), "run", script);
}

/** The install step; undefined when there is nothing to install. */
export function installStep(
  look: Look,
  pkg: Package,
  members: readonly Package[],
  manager: Manager,
  withDev: boolean,
  notes: Notes,
): BuildStep | undefined {
  const packages = [pkg, ...members];
  const wanted = packages.flatMap((item) => (withDev ? allDependencies(item) : [...item.dependencies, ...item.optionalDependencies]));
  const scripts = packages.flatMap(installScripts);
  if (wanted.length === 0 && scripts.length === 0) return undefined;
  const why =
    scripts.length > 0
      ? `${manager.lockfile ?? "package.json"}; runs ${[...new Set(scripts)].join(", ")}`
      : (manager.lockfile ?? "package.json has dependencies and no lockfile");
  noteLockfile(look, pkg, members, manager, wanted.length, notes);
  const sound =
    manager.lockfile !== undefined &&
    scripts.length === 0 &&
    members.length === 0 &&
    pkg.workspaces === undefined &&
    localDependencies(pkg).length === 0;
  const base = step("install", exec(...manager.command("."), ...installWords(manager, withDev)), why, wanted.length > 0);
  const inputs = sound ? installInputs(look, pkg, manager) : [];
  return inputs.length === 0 ? base : { ...base, inputs, outputs: ["node_modules"] };
}

function installWords(manager: Manager, withDev: boolean): string[] {
  const locked = manager.lockfile !== undefined;
  switch (manager.name) {
    case "npm":
      return [locked ? "ci" : "install", withDev ? "--include=dev" : "--omit=dev", "--no-audit", "--no-fund"];
    case "pnpm":
      return ["install", locked ? "--frozen-lockfile" : "--no-frozen-lockfile", withDev ? "--prod=false" : "--prod"];
    case "yarn":
      return ["install", ...(locked ? ["--frozen-lockfile"] : []), `--production=${withDev ? "false" : "true"}`, "--non-interactive"];
    case "berry":
      return ["install", locked ? "--immutable" : "--no-immutable"];
    default:
      return manager.name satisfies never;
  }
}

/** Every file that decides what is installed; empty when that cannot be told from files alone. */
function installInputs(look: Look, pkg: Package, manager: Manager): string[] {
  const patched = dig(pkg.raw, "pnpm", "patchedDependencies");
  const patches = isFields(patched)
    ? Object.values(patched).filter((file): file is string => typeof file === "string" && look.has(file))
    : [];
  const plugins = look.files.filter((file) => /^\.yarn\/(?:plugins|patches|releases)\//.test(file));
  if (digList(pkg.raw, "bundledDependencies").length > 0 || look.files.some((file) => file.startsWith(".yarn/cache/"))) return [];
  // They may name any file of the project.
  if (look.has(".yarnrc") || /^(?:patchedDependencies|configDependencies)\s*:/m.test(look.read("pnpm-workspace.yaml") ?? "")) return [];
  const known = ["package.json", manager.lockfile ?? "", ".npmrc", ".yarnrc.yml", ".pnpmfile.cjs", "pnpm-workspace.yaml"];
  return [...known.filter((file) => file !== "" && look.has(file)), ...patches, ...plugins];
}

/** Drops development dependencies again after the build; undefined where that cannot be done safely. */
export function pruneStep(pkg: Package, members: readonly Package[], manager: Manager): BuildStep | undefined {
  if (pkg.devDependencies.size === 0 && members.every((member) => member.devDependencies.size === 0)) return undefined;
  const workspace = pkg.workspaces !== undefined || members.length > 0;
  const why = "development dependencies are not needed to run";
  switch (manager.name) {
    case "npm":
      return step("prune", exec("npm", "prune", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"), why, true);
    case "yarn":
      return step(
        "prune",
        exec(
          "yarn",
          "install",
          "--production=true",
          "--ignore-scripts",
          "--prefer-offline",
          "--non-interactive",
          ...(manager.lockfile === undefined ? [] : ["--frozen-lockfile"]),
        ),
        why,
        true,
      );
    case "pnpm":
      return workspace
        ? undefined
        : step("prune", exec("env", "CI=true", "pnpm", "prune", "--prod", "--config.ignore-scripts=true"), why, true);
    case "berry":
      return undefined;
    default:
      return manager.name satisfies never;
  }
}

function noteLockfile(look: Look, pkg: Package, members: readonly Package[], manager: Manager, wanted: number, notes: Notes): void {
  const manifest = look.label("package.json");
  const command = `${manager.name === "berry" ? "yarn" : manager.name} install`;
  if (manager.lockfile === undefined) {
    if (wanted > 0) notes.warn("lockfile_missing", { manifest, command });
    return;
  }
  const text = look.read(manager.lockfile);
  if (text === undefined) return;
  const siblings = new Set(members.flatMap((member) => member.name ?? []));
  const detail =
    lockfileMismatch(manager.lockfile, text, pkg, siblings) ??
    members.map((member) => dependencyMissing(manager.lockfile ?? "", text, member, siblings)).find((item) => item !== undefined);
  if (detail !== undefined) notes.warn("lockfile_outdated", { lockfile: look.label(manager.lockfile), manifest, detail, command });
}
