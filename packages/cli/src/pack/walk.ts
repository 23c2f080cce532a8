// The files of a folder that are sent: in one order, always the same, with what was left out and why it matters.
import { lstat, readdir, readlink, realpath } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { trackedThoughIgnored } from "./git.ts";
import { Rules } from "./rules.ts";

export type PackEntry =
  | { readonly type: "file"; readonly path: string; readonly size: number; readonly executable: boolean }
  | { readonly type: "symlink"; readonly path: string; readonly target: string }
  /** Only folders with nothing in them; the others follow from their files. */
  | { readonly type: "directory"; readonly path: string };

export interface Packing {
  readonly folder: string;
  readonly entries: readonly PackEntry[];
  /** Bytes of all files. */
  readonly bytes: number;
  /** Links that lead out of the folder: they would mean something else elsewhere. */
  readonly leftOut: readonly string[];
}

/** Everything of `folder` that is sent. Paths have `/` and are relative to it. */
export async function walk(folder: string, signal: AbortSignal): Promise<Packing> {
  const root = await realpath(folder);
  const [rules, forced] = await Promise.all([Rules.of(root), trackedThoughIgnored(root)]);
  const walker: Walker = { root, signal, forced, forcedFolders: foldersOf(forced), entries: [], leftOut: [] };
  await walkFolder(walker, root, rules, false);
  const entries = walker.entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  return {
    folder: root,
    entries,
    bytes: entries.reduce((sum, entry) => sum + (entry.type === "file" ? entry.size : 0), 0),
    leftOut: walker.leftOut.sort(),
  };
}

interface Walker {
  readonly root: string;
  readonly signal: AbortSignal;
  readonly forced: ReadonlySet<string>;
  readonly forcedFolders: ReadonlySet<string>;
  readonly entries: PackEntry[];
  readonly leftOut: string[];
}

/** `forcedOnly`: the folder is ignored by git, but holds files that git tracks all the same. Resolves with whether anything was taken. */
async function walkFolder(walker: Walker, folder: string, rules: Rules, forcedOnly: boolean): Promise<boolean> {
  walker.signal.throwIfAborted();
  let taken = false;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const full = join(folder, entry.name);
    const path = relative(walker.root, full).split(sep).join("/");
    const verdict = rules.verdict(full, entry.isDirectory());
    if (verdict === "left out") continue;
    const ignored = (forcedOnly && !rules.takenBack(full, entry.isDirectory())) || verdict === "ignored by git";
    if (entry.isDirectory()) {
      if (ignored && !walker.forcedFolders.has(path)) continue;
      const inside = await rules.in(full, rules.takenBack(full, true));
      const filled = await walkFolder(walker, full, inside, ignored);
      if (!filled && !ignored) walker.entries.push({ type: "directory", path });
      taken = true;
    } else if (!ignored || walker.forced.has(path)) {
      taken = (await takeFile(walker, full, path)) || taken;
    }
  }
  return taken;
}

async function takeFile(walker: Walker, full: string, path: string): Promise<boolean> {
  const found = await lstat(full);
  if (found.isFile()) walker.entries.push({ type: "file", path, size: found.size, executable: (found.mode & 0o100) !== 0 });
  else if (found.isSymbolicLink()) {
    const target = await targetInside(walker.root, full);
    if (target === undefined) walker.leftOut.push(path);
    else walker.entries.push({ type: "symlink", path, target });
  }
  // Sockets, pipes and devices are nothing that could be built.
  return found.isFile() || found.isSymbolicLink();
}

/** The link's target as a relative path; undefined when it leads out of the folder. */
async function targetInside(root: string, link: string): Promise<string | undefined> {
  const raw = await readlink(link);
  const target = resolve(dirname(link), raw);
  // A path through other links may end elsewhere than its text says.
  const real = await realpath(link).catch(() => target);
  const inside = (path: string): boolean => path === root || path.startsWith(root + sep);
  if (!inside(target) || !inside(real)) return undefined;
  return (relative(dirname(link), target) || ".").split(sep).join("/");
}

function foldersOf(files: ReadonlySet<string>): ReadonlySet<string> {
  const folders = new Set<string>();
  for (const file of files) for (let at = dirname(file); at !== "."; at = dirname(at)) folders.add(at);
  return folders;
}
