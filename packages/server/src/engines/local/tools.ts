// Finds the runtimes and build tools that a project asks for, as the user who will run them: a program that another uid cannot execute is not there.
// Nothing is downloaded; what is missing is named with the way to get it.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  constants,
  copyFileSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import semver from "semver";
import { behindShim } from "./shims.ts";

export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

export interface FoundTool {
  readonly name: string;
  /** Absolute path of the program that this user can execute. */
  readonly path: string;
  readonly version: string;
}
export type ToolAnswer = { readonly found: FoundTool } | { readonly failure: Cause };

export interface ToolSearch {
  /** Absent: Berth's own user. */
  readonly runAs?: RunAs;
  /** Folders that are searched before the usual ones. */
  readonly path: readonly string[];
  /** Folders that are searched after those; where a machine usually has its programs, unless a test says otherwise. */
  readonly usual?: readonly string[];
  /** Where Berth keeps its own copy of Node.js; absent: it is not offered. */
  readonly runtimeDir?: string;
  /** ms in which a program has to say its version; half a minute, unless a test says otherwise. */
  readonly patience?: number;
}

interface Tool {
  /** Names of the program, the preferred first. */
  readonly programs: RegExp;
  readonly version: readonly string[];
  /** Names under which a project calls it, beside the program's own. */
  readonly aliases: readonly string[];
  readonly how: string;
}

const tool = (programs: RegExp, how: string, aliases: readonly string[] = [], version: readonly string[] = ["--version"]): Tool => ({
  programs,
  how,
  aliases,
  version,
});
const apt = (packages: string): string => `Install it, on Debian or Ubuntu with \`apt-get install ${packages}\``;
const tools: Readonly<Record<string, Tool>> = {
  node: tool(/^node(js)?$/, `${apt("nodejs npm")}, or get a newer one from nodejs.org.`, ["node"]),
  npm: tool(/^npm$/, `${apt("npm")}.`),
  pnpm: tool(/^pnpm$/, "Run `npm install --global pnpm`."),
  yarn: tool(/^yarn(pkg)?$/, "Run `npm install --global yarn`.", ["yarn"]),
  python: tool(/^python(3(\.\d+)?)?$/, `${apt("python3 python3-venv python3-pip")}, or get the version asked for with pyenv or uv.`, [
    "python3",
    "python",
  ]),
  pip: tool(/^pip3?(\.\d+)?$/, `${apt("python3-pip")}.`, ["pip", "pip3"]),
  poetry: tool(/^poetry$/, "Run `pipx install poetry`."),
  uv: tool(/^uv$/, "Run `pipx install uv`."),
  pipenv: tool(/^pipenv$/, "Run `pipx install pipenv`."),
  go: tool(/^go$/, `${apt("golang-go")}, or get a newer one from go.dev.`, [], ["version"]),
  java: tool(/^java$/, `${apt("default-jdk-headless")}.`, [], ["-version"]),
  maven: tool(/^mvn$/, `${apt("maven")}, or add the Maven wrapper (mvnw) to the project.`, ["mvn"]),
  gradle: tool(/^gradle$/, `${apt("gradle")}, or add the Gradle wrapper (gradlew) to the project.`),
  php: tool(/^php(\d(\.\d)?)?$/, `${apt("php-cli")}.`, ["php"]),
  composer: tool(/^composer$/, `${apt("composer")}.`),
  ruby: tool(/^ruby(\d(\.\d)?)?$/, `${apt("ruby-full")}.`, ["ruby"]),
  bundler: tool(/^bundle(r)?$/, `${apt("ruby-bundler")}.`, ["bundle"]),
  rust: tool(/^cargo$/, `${apt("cargo")}, or get a newer one with rustup.`, ["cargo"]),
  git: tool(/^git$/, `${apt("git")}.`),
};

/** PATH that every program gets after its tools. */
export const standardPath = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"] as const;
const usualFolders = [...standardPath, "/usr/local/go/bin", "/usr/lib/go/bin", "/snap/bin", "/opt/node/bin"];

/**
 * The first program of this name whose version satisfies `wanted` (a semver range or `*`) and which the user can execute.
 * Otherwise the cause `tool_missing` or `tool_version`, with what to install. A name that Berth does not know is looked for as a program of that name.
 */
export async function findTool(name: string, wanted: string, search: ToolSearch, signal?: AbortSignal): Promise<ToolAnswer> {
  const known = tools[name] ?? tool(new RegExp(`^${name.replace(/[^A-Za-z0-9_-]/g, "\\$&")}$`), "Install it on this machine.");
  const others: string[] = [];
  for (const path of candidates(known, [...search.path, ...(search.usual ?? usualFolders)])) {
    const version = await versionOf(path, known.version, search, signal);
    if (version === undefined) continue;
    if (fits(version, wanted)) return { found: { name, path, version } };
    others.push(version);
  }
  if (name === "node" && search.runtimeDir !== undefined && fits(process.versions.node, wanted)) {
    return {
      found: { name, path: search.runAs === undefined ? process.execPath : sharedNode(search.runtimeDir), version: process.versions.node },
    };
  }
  const asked = wanted === "*" || wanted === "" ? "" : wanted;
  const best = others.sort((a, b) => semver.rcompare(semver.coerce(a) ?? "0.0.0", semver.coerce(b) ?? "0.0.0"))[0];
  return {
    failure:
      best === undefined
        ? cause("tool_missing", { tool: name, wanted: asked === "" ? "" : ` ${asked}`, how: known.how })
        : cause("tool_version", { tool: name, found: best, wanted: asked, how: known.how }),
  };
}

function fits(version: string, wanted: string): boolean {
  const exact = semver.coerce(version);
  return wanted === "" || wanted === "*" || semver.validRange(wanted) === null || (exact !== null && semver.satisfies(exact, wanted));
}

/** Paths of programs that may be this tool, in the order in which they are preferred; some may not be there. */
function candidates(known: Tool, folders: readonly string[]): string[] {
  const chosen: string[] = [];
  const others: string[] = [];
  for (const folder of new Set(folders)) {
    // The plain name first: it is what the machine's owner chose among several versions.
    const names = namesIn(folder)
      .filter((name) => known.programs.test(name))
      .sort((a, b) => a.length - b.length || a.localeCompare(b));
    for (const name of names) {
      const found = behindShim(join(folder, name));
      chosen.push(...found.chosen);
      others.push(...found.others);
    }
  }
  return [...chosen, ...others];
}

const listed = new Map<string, { readonly changed: number; readonly names: readonly string[] }>();
/** ms within which a folder's time of change may stay the same although it changes again. */
const settled = 1000;

/** Every build and every start of an instance asks several times for folders of thousands of names that hardly ever change. */
function namesIn(folder: string): readonly string[] {
  try {
    const changed = statSync(folder).mtimeMs;
    const known = listed.get(folder);
    if (known?.changed === changed) return known.names;
    const names = readdirSync(folder);
    if (Math.abs(Date.now() - changed) > settled) listed.set(folder, { changed, names });
    return names;
  } catch {
    // A folder of PATH that is not there, or not ours to read, offers nothing.
    return [];
  }
}

/** ms after which a program that did not say its version in time is asked again, however often it was late. */
const longestDoubt = 86_400_000;
const versions = new Map<string, string | undefined>();
/** How often each was late. */
const lates = new Map<string, number>();

async function versionOf(
  path: string,
  args: readonly string[],
  { runAs, patience = 30_000 }: ToolSearch,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  let real: string;
  let changed: number;
  try {
    real = realpathSync(path);
    changed = statSync(real).mtimeMs;
  } catch {
    // A dangling link.
    return undefined;
  }
  // Users of stacks own nothing that is looked at here and are in no group: what one of them can execute, all can.
  const key = `${path}\0${real}\0${changed}\0${runAs === undefined ? "own" : "a stack's"}`;
  if (versions.has(key)) return versions.get(key);
  const { output, late } = await execute(path, args, runAs, patience, signal);
  const version = output === undefined ? undefined : /\d+(\.\d+)+/.exec(output)?.[0];
  if (signal?.aborted === true) return version;
  versions.set(key, version);
  // A machine that is busy is so for a while, and a program that hangs does so always: what is asked for over and over meanwhile is not waited for each time.
  if (late) {
    const times = (lates.get(key) ?? 0) + 1;
    lates.set(key, times);
    setTimeout(() => versions.delete(key), Math.min(longestDoubt, patience * 2 ** times)).unref();
  }
  return version;
}

/** setpriv itself still has the rights of its caller when it executes a program, and would reach one in a folder that the user cannot pass; what it has executed has not. */
const asThatUser = 'exec "$0" "$@"';

/** Output of a program that ended with 0; undefined when this user cannot run it, or it was not over in time, and so `late`. */
function execute(
  path: string,
  args: readonly string[],
  runAs: RunAs | undefined,
  patience: number,
  signal: AbortSignal | undefined,
): Promise<{ readonly output: string | undefined; readonly late: boolean }> {
  const [command = path, ...rest] =
    runAs === undefined
      ? [path, ...args]
      : [
          "setpriv",
          `--reuid=${runAs.uid}`,
          `--regid=${runAs.gid}`,
          "--clear-groups",
          "--no-new-privs",
          "--bounding-set=-all",
          "--inh-caps=-all",
          "--",
          "/bin/sh",
          "-c",
          asThatUser,
          path,
          ...args,
        ];
  const env = { PATH: standardPath.join(":"), HOME: "/nonexistent", LANG: "C.UTF-8" };
  return new Promise((resolve) => {
    execFile(
      command,
      rest,
      { cwd: "/", env, timeout: patience, killSignal: "SIGKILL", ...(signal === undefined ? {} : { signal }) },
      (error, stdout, stderr) =>
        resolve(error === null ? { output: `${stdout}\n${stderr}`, late: false } : { output: undefined, late: error.killed === true }),
    );
  });
}

/** Whether every user may execute this file: every folder above lets others pass and the file itself is executable for others. */
function openToAll(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (dirname(at) === at) return true;
  }
}

/** Berth's own Node.js where every user can execute it: copied below the runtime folder, once, when it lies in a private place. */
export function sharedNode(runtimeDir: string): string {
  if (process.getuid?.() !== 0 || openToAll(realpathSync(process.execPath))) return process.execPath;
  const target = join(openFolder(join(openFolder(join(openFolder(runtimeDir), `node-${process.versions.node}`)), "bin")), "node");
  if (statSync(target, { throwIfNoEntry: false }) !== undefined) return target;
  const beside = `${target}.${process.pid}.new`;
  copyFileSync(process.execPath, beside, constants.COPYFILE_FICLONE);
  chmodSync(beside, 0o755);
  renameSync(beside, target);
  return target;
}

/** Makes a folder that every user may look into, whatever the umask. */
export function openFolder(path: string): string {
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o755);
  return path;
}

/**
 * A folder for PATH in which exactly this tool is found, under all names that projects use for it (`python` and `python3`; `npm` beside `node`).
 * Putting the tool's own folder first instead would bring in whatever else lies there.
 */
export function toolFolder(runtimeDir: string, found: FoundTool): string {
  const known = tools[found.name];
  const id = createHash("sha256").update(found.path).digest("hex").slice(0, 12);
  const folder = join(openFolder(join(openFolder(runtimeDir), "tools")), `${found.name}-${found.version}-${id}`);
  openFolder(folder);
  const links = new Map<string, string>([
    [basename(found.path), found.path],
    ...(known?.aliases ?? []).map((alias): [string, string] => [alias, found.path]),
  ]);
  const companions = companionsOf[found.name] ?? [];
  for (const name of companions) links.set(name, join(dirname(found.path), name));
  for (const [name, path] of links) link(path, join(folder, name), companions.includes(name));
  return folder;
}

/** Programs beside a tool that come and go with its version. */
const companionsOf: Readonly<Record<string, readonly string[]>> = {
  node: ["npm", "npx", "corepack"],
  java: ["javac", "jar"],
  rust: ["rustc", "rustdoc"],
  go: ["gofmt"],
};

function link(path: string, at: string, optional: boolean): void {
  if (optional && statSync(path, { throwIfNoEntry: false }) === undefined) return;
  try {
    if (realpathSync(at) === realpathSync(path)) return;
    rmSync(at, { force: true });
  } catch {
    // Not there yet, or dangling: made anew.
    rmSync(at, { force: true });
  }
  symlinkSync(path, at);
}
