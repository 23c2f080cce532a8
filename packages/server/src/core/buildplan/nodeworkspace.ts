// npm, pnpm and yarn workspaces: finds the top that holds the lockfile of a package, its members, and the order in which they are built.
import type { Look } from "./source.ts";
import { dependsOn, readPackage, type Package } from "./nodepackage.ts";
import { matchesGlobs } from "./globs.ts";
import { baseOf, foldersUp, joinPath, parentOf, relativePath } from "./source.ts";

export interface Member {
  readonly folder: string;
  readonly pkg: Package;
}

export interface Workspace {
  /** The folder with the lockfile, from the source's top. */
  readonly root: string;
  readonly pkg: Package;
  /** Member packages; folders are relative to `root`. */
  readonly members: readonly Member[];
}

/** The workspace that the folder is the top of, or a member of. */
export function findWorkspace(look: Look): Workspace | undefined {
  for (const folder of foldersUp(look.root)) {
    const top = look.at(folder);
    const globs = memberGlobs(top);
    if (globs === undefined) continue;
    const below = relativePath(folder, look.root);
    if (below !== "." && !matchesGlobs(below, globs)) continue;
    const own = readPackage(top);
    const pkg = own !== undefined && own.ok ? own.value : undefined;
    if (pkg !== undefined) return { root: folder, pkg, members: membersOf(top, globs) };
  }
  return undefined;
}

function memberGlobs(look: Look): string[] | undefined {
  const pnpm = look.read("pnpm-workspace.yaml");
  if (pnpm !== undefined) {
    const listed = pnpmPackages(pnpm);
    if (listed.length > 0) return listed;
  }
  const pkg = readPackage(look);
  return pkg !== undefined && pkg.ok ? pkg.value.workspaces?.slice() : undefined;
}

/** The `packages:` list of pnpm-workspace.yaml: plain block or flow sequences, which is all that people write there. */
function pnpmPackages(text: string): string[] {
  const lines = text.split(/\r?\n/);
  const start = lines.findIndex((line) => /^packages\s*:/.test(line));
  if (start < 0) return [];
  const flow = /\[([^\]]*)\]/.exec(lines[start] ?? "")?.[1];
  if (flow !== undefined)
    return flow
      .split(",")
      .map(unquoted)
      .filter((item) => item !== "");
  const found: string[] = [];
  for (const line of lines.slice(start + 1)) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const item = /^\s*-\s+(\S.*)$/.exec(line)?.[1];
    if (item === undefined) break;
    found.push(unquoted(item));
  }
  return found;
}

function unquoted(text: string): string {
  const trimmed = text.trim();
  const quoted = /^(["'])(.*?)\1/.exec(trimmed);
  const comment = trimmed.indexOf(" #");
  return quoted?.[2] ?? (comment < 0 ? trimmed : trimmed.slice(0, comment)).trim();
}

function membersOf(top: Look, globs: readonly string[]): Member[] {
  const members: Member[] = [];
  for (const file of top.files) {
    if (baseOf(file) !== "package.json" || file === "package.json") continue;
    const folder = parentOf(file);
    if (!matchesGlobs(folder, globs)) continue;
    const pkg = readPackage(top.at(joinPath(top.root, folder)));
    if (pkg !== undefined && pkg.ok) members.push({ folder, pkg: pkg.value });
  }
  return members;
}

/** The members that `folder` needs, directly or through others, those that others need first. */
export function neededMembers(workspace: Workspace, folder: string): Member[] {
  const ordered: Member[] = [];
  const seen = new Set<string>([folder]);
  const visit = (pkg: Package): void => {
    for (const member of workspace.members) {
      const name = member.pkg.name;
      if (name === undefined || seen.has(member.folder) || !dependsOn(pkg, name)) continue;
      seen.add(member.folder);
      visit(member.pkg);
      ordered.push(member);
    }
  };
  const self = workspace.members.find((member) => member.folder === folder);
  if (self !== undefined) visit(self.pkg);
  return ordered;
}
