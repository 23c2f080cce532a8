// Reads folders that hostile code has written, without being led out of them: every step goes through an open folder and follows no link,
// so that a folder swapped for a link in the middle of the walk leads nowhere. Turns what it finds into archive items in canonical order.
import { constants } from "node:fs";
import { lstat, open, readdir, readlink, type FileHandle } from "node:fs/promises";
import { joinPath, parentOf, relativePath } from "../../core/buildplan/source.ts";
import type { TarItem } from "../tar.ts";

/** Files up to this size are read ahead, so many at a time. */
const smallFile = 128 * 1024;
const readAhead = 12;
const chunkSize = 256 * 1024;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** O_NONBLOCK: a named pipe that was a file a moment ago must not hold up the walk. */
const fileFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export interface Walk {
  /** The build's whole work folder, absolute: no link may make content from outside it appear. */
  readonly workDir: string;
  /** Folder to walk, relative to `workDir`. */
  readonly root: string;
  /** Whose files count when Berth is root: a hard link to somebody else's file is left out. */
  readonly owner: number | undefined;
  /** Paths relative to `root` that are left out with everything below them. */
  readonly exclude: ReadonlySet<string>;
  /** Only this entry of the root. */
  readonly only?: string;
  /** `keep`: the tree goes back to the place it came from. `enclose`: it goes elsewhere, so that what a link names outside `root` takes the link's place. */
  readonly links: "keep" | "enclose";
  /** Told what is left out, for the log. */
  readonly onSkipped: (path: string, why: string) => void;
}

/** A way from the work folder down; `undefined` when it is not there or a link is on it. */
export async function openBelow(workDir: string, path: string): Promise<FileHandle | undefined> {
  let folder = await open(workDir, folderFlags);
  for (const name of path === "." ? [] : path.split("/")) {
    const next = await openIn(folder, name, folderFlags);
    await folder.close();
    if (next === undefined) return undefined;
    folder = next;
  }
  return folder;
}

function inside(folder: FileHandle, name: string): string {
  return `/proc/self/fd/${String(folder.fd)}/${name}`;
}

async function openIn(folder: FileHandle, name: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(inside(folder, name), flags);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Gone, not a folder, a link, a socket, or not readable: the walk goes on without it. */
function isAbsent(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO", "EACCES", "EMLINK"].includes(String(error.code))
  );
}

/** The items below `root` with paths relative to it. Throws when the root itself is not a folder of the work folder. */
export async function* walkItems(walk: Walk): AsyncGenerator<TarItem> {
  const folder = await openBelow(walk.workDir, walk.root);
  if (folder === undefined) throw new Error(`${walk.root} is not a folder of the build`);
  yield* walkFolder(walk, { folder, at: walk.root, as: "", bases: [{ at: walk.root, as: "." }] });
}

/** `at`: where the folder is, from the work folder; `as`: its path in the archive. `bases`: which places appear where, outermost first. */
interface Visit {
  readonly folder: FileHandle;
  readonly at: string;
  readonly as: string;
  readonly bases: readonly { readonly at: string; readonly as: string }[];
}

async function* walkFolder(walk: Walk, visit: Visit): AsyncGenerator<TarItem> {
  try {
    const entries = await readdir(inside(visit.folder, "."), { withFileTypes: true });
    const wanted = entries
      .map((entry) => ({ entry, as: visit.as === "" ? entry.name : `${visit.as}/${entry.name}` }))
      .filter(({ as, entry }) => !walk.exclude.has(as) && (walk.only === undefined || visit.as !== "" || entry.name === walk.only))
      .sort((a, b) => (a.entry.name < b.entry.name ? -1 : 1));
    const ahead = new Map<number, Promise<TarItem | undefined>>();
    for (const [index, { entry, as }] of wanted.entries()) {
      for (let next = index; next < Math.min(wanted.length, index + readAhead); next += 1) {
        const one = wanted[next];
        if (one === undefined || !one.entry.isFile() || ahead.has(next)) continue;
        const reading = readFileItem(walk, visit.folder, one.entry.name, one.as);
        reading.catch(() => undefined);
        ahead.set(next, reading);
      }
      const file = ahead.get(index);
      ahead.delete(index);
      if (file !== undefined) {
        const item = await file;
        if (item !== undefined) yield item;
      } else if (entry.isDirectory()) yield* walkSub(walk, visit, entry.name, as);
      else if (entry.isSymbolicLink()) yield* walkLink(walk, visit, entry.name, as);
      else walk.onSkipped(as, "it is neither file nor folder");
    }
  } finally {
    await visit.folder.close();
  }
}

async function* walkSub(walk: Walk, visit: Visit, name: string, as: string): AsyncGenerator<TarItem> {
  const folder = await openIn(visit.folder, name, folderFlags);
  if (folder === undefined) {
    walk.onSkipped(as, "it cannot be read");
    return;
  }
  yield { type: "directory", path: as };
  yield* walkFolder(walk, { folder, at: joinPath(visit.at, name), as, bases: visit.bases });
}

async function readFileItem(walk: Walk, folder: FileHandle, name: string, as: string): Promise<TarItem | undefined> {
  const file = await openIn(folder, name, fileFlags);
  if (file === undefined) {
    walk.onSkipped(as, "it cannot be read");
    return undefined;
  }
  let handedOver = false;
  try {
    const stat = await file.stat();
    if (!stat.isFile()) return undefined;
    if (walk.owner !== undefined && stat.uid !== walk.owner) {
      walk.onSkipped(as, "it belongs to another user");
      return undefined;
    }
    const item = { type: "file", path: as, executable: (stat.mode & 0o111) !== 0 } as const;
    if (stat.size > smallFile) {
      handedOver = true;
      return { ...item, size: stat.size, content: readChunks(file, stat.size) };
    }
    const content = Buffer.allocUnsafe(stat.size);
    let size = 0;
    while (size < content.length) {
      const { bytesRead } = await file.read(content, size, content.length - size, size);
      if (bytesRead === 0) break;
      size += bytesRead;
    }
    return { ...item, size, content: content.subarray(0, size) };
  } finally {
    if (!handedOver) await file.close();
  }
}

async function* readChunks(file: FileHandle, size: number): AsyncGenerator<Buffer> {
  try {
    for (let done = 0; done < size;) {
      const buffer = Buffer.allocUnsafe(Math.min(chunkSize, size - done));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, done);
      if (bytesRead === 0) return;
      done += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function* walkLink(walk: Walk, visit: Visit, name: string, as: string): AsyncGenerator<TarItem> {
  const text = await readlink(inside(visit.folder, name)).catch((error: unknown) => {
    if (isAbsent(error) || hasCode(error, "EINVAL")) return undefined;
    throw error;
  });
  if (text === undefined) return;
  const target = targetOf(walk.workDir, visit.at, text);
  // A program or library of this machine, as in a Python environment: only a name, followed later with the instance's own rights.
  if (target === undefined) {
    yield { type: "symlink", path: as, target: text };
    return;
  }
  if (target === "") {
    walk.onSkipped(as, "the link leads out of the build");
    return;
  }
  if (walk.links === "keep") {
    yield { type: "symlink", path: as, target: text.startsWith("/") ? relativePath(visit.at, target) : text };
    return;
  }
  const shown = visit.bases.findLast((base) => isBelow(base.at, target));
  if (shown !== undefined) {
    const there = joinPath(shown.as, relativePath(shown.at, target));
    yield { type: "symlink", path: as, target: relativePath(parentOf(as), there) };
    return;
  }
  yield* encloseTarget(walk, visit, { as, target });
}

/** What the link names becomes part of the archive, at the link's place: a package of the same repository, for instance. */
async function* encloseTarget(walk: Walk, visit: Visit, link: { readonly as: string; readonly target: string }): AsyncGenerator<TarItem> {
  const { as, target } = link;
  if (isBelow(target, visit.at) || visit.bases.length > 8) {
    walk.onSkipped(as, "the link leads to a folder that holds it");
    return;
  }
  const parent = await openBelow(walk.workDir, parentOf(target));
  if (parent === undefined) {
    walk.onSkipped(as, "the link leads nowhere");
    return;
  }
  try {
    const name = target.slice(target.lastIndexOf("/") + 1);
    const kind = await lstat(inside(parent, name)).catch((error: unknown) => {
      if (isAbsent(error)) return undefined;
      throw error;
    });
    if (kind?.isFile() === true) {
      const item = await readFileItem(walk, parent, name, as);
      if (item !== undefined) yield item;
      return;
    }
    const folder = await openIn(parent, name, folderFlags);
    if (folder === undefined) {
      walk.onSkipped(as, "the link leads nowhere");
      return;
    }
    yield { type: "directory", path: as };
    yield* walkFolder(walk, { folder, at: target, as, bases: [...visit.bases, { at: target, as }] });
  } finally {
    await parent.close();
  }
}

/** Where a link leads, from the work folder; "" when it leads above it by `..`, undefined when it names a place of the machine. */
function targetOf(workDir: string, folder: string, text: string): string | undefined {
  if (text.startsWith("/")) {
    if (text === workDir) return ".";
    return text.startsWith(`${workDir}/`) ? leadingIn(joinPath(".", text.slice(workDir.length + 1))) : undefined;
  }
  return leadingIn(joinPath(folder, text));
}

function leadingIn(path: string): string {
  return path === ".." || path.startsWith("../") ? "" : path;
}

function isBelow(folder: string, path: string): boolean {
  return folder === "." || path === folder || path.startsWith(`${folder}/`);
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
