// Which entries of an archive may become files of a source: pure rules over names, types and sizes.
// A tree that passes holds only folders, regular files and links that stay inside it. Must never touch a disk.
import { BerthError } from "./errors.ts";

/** Bounds of one archive; sizes are bytes. */
export interface ArchiveLimits {
  readonly files: number;
  readonly totalBytes: number;
  readonly fileBytes: number;
  /** Unpacked bytes for each byte received, looked at after the first `ratioAfter` unpacked bytes. */
  readonly ratio: number;
  readonly ratioAfter: number;
  /** Links to absolute paths are taken: in what Berth itself has packed they name programs of the machine (a Python environment's interpreter). */
  readonly absoluteLinks?: boolean;
}

export const sourceLimits: ArchiveLimits = {
  files: 100_000,
  totalBytes: 2 * 1024 ** 3,
  fileBytes: 1024 ** 3,
  ratio: 200,
  ratioAfter: 32 * 1024 ** 2,
};

/** An entry as a tar reader reports it: `type` is undefined for a type flag that the reader does not know. */
export interface RawEntry {
  readonly name: string;
  readonly type: string | undefined;
  readonly size: number;
  readonly mode: number;
  readonly linkname: string | undefined;
  readonly pax: Readonly<Record<string, string>> | undefined;
}

export type ArchiveItem =
  | { readonly type: "file"; readonly path: string; readonly size: number; readonly executable: boolean }
  | { readonly type: "directory"; readonly path: string }
  | { readonly type: "symlink"; readonly path: string; readonly target: string }
  /** A hard link: the same content as an earlier file. */
  | { readonly type: "copy"; readonly path: string; readonly of: string };

/** Entry names are shown in answers: control characters and endless names are not repeated to the caller. */
function shown(name: string): string {
  const clean = name.replace(/[\p{Cc}\u{FFFD}]/gu, "?");
  return clean.length > 120 ? `${clean.slice(0, 117)}...` : clean;
}

/** `archive_refused` with its reason and what to do about it. */
export function refused(reason: string, hint = "Leave it out, by .berthignore or .gitignore, and send the folder again."): BerthError {
  return new BerthError("archive_refused", { reason, hint });
}

/** The relative path of an entry without `./` and trailing `/`; `.` for the folder itself. Throws `archive_refused`. */
export function entryPath(name: string): string {
  if (name === "") throw refused("an entry has no name");
  if (name.includes("\0")) throw refused(`the name \`${shown(name)}\` contains a NUL character`);
  if (name.includes("\u{FFFD}")) throw refused(`the name \`${shown(name)}\` is not valid UTF-8`);
  if (name.startsWith("/")) throw refused(`\`${shown(name)}\` is an absolute path`);
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refused(`\`${shown(name)}\` leads out of the folder`);
  if (parts.some((part) => Buffer.byteLength(part) > 255) || Buffer.byteLength(name) > 2048)
    throw refused(`the name \`${shown(name)}\` is too long`);
  return parts.length === 0 ? "." : parts.join("/");
}

/** What a tar entry becomes. Throws `archive_refused` for every kind of entry that a source may not hold. */
export function checkEntry(raw: RawEntry, limits: ArchiveLimits): ArchiveItem {
  const path = entryPath(raw.name);
  if (Object.keys(raw.pax ?? {}).some((key) => key.startsWith("GNU.sparse"))) throw refused(`\`${shown(path)}\` is a sparse file`);
  switch (raw.type) {
    case "file":
    case "contiguous-file":
      if (path === ".") throw refused("an entry has no name");
      if (!Number.isSafeInteger(raw.size) || raw.size < 0) throw refused(`the size of \`${shown(path)}\` is not valid`);
      if (raw.size > limits.fileBytes) throw refused(`\`${shown(path)}\` is larger than ${String(limits.fileBytes)} bytes`);
      return { type: "file", path, size: raw.size, executable: (raw.mode & 0o111) !== 0 };
    case "directory":
      return { type: "directory", path };
    case "symlink":
      return { type: "symlink", path, target: linkTarget(path, raw.linkname, limits) };
    case "link":
      return { type: "copy", path, of: entryPath(raw.linkname ?? "") };
    case "character-device":
    case "block-device":
      throw refused(`\`${shown(path)}\` is a device`);
    case "fifo":
      throw refused(`\`${shown(path)}\` is a named pipe`);
    default:
      throw refused(`\`${shown(path)}\` is of an unknown kind`);
  }
}

function linkTarget(path: string, target: string | undefined, limits: ArchiveLimits): string {
  if (path === "." || target === undefined || target === "" || target.includes("\0") || target.includes("\u{FFFD}"))
    throw refused(`the link \`${shown(path)}\` is not valid`);
  if (target.startsWith("/") && limits.absoluteLinks !== true)
    throw refused(`the link \`${shown(path)}\` leads to the absolute path \`${shown(target)}\``);
  if (Buffer.byteLength(target) > 2048) throw refused(`the link \`${shown(path)}\` is too long`);
  return target;
}

/** Depth-first order with the names of each folder sorted by code unit: the one order in which Berth writes archives. */
export function comparePaths(a: string, b: string): number {
  const left = a.replaceAll("/", "\0");
  const right = b.replaceAll("/", "\0");
  return left < right ? -1 : left > right ? 1 : 0;
}

/**
 * Adds one item to a tree and keeps its bounds. A folder may be named twice, anything else may not.
 * A copy has to name an earlier file, and counts with that file's size.
 */
export class ArchiveTree {
  readonly items = new Map<string, ArchiveItem>();
  readonly #limits: ArchiveLimits;
  #bytes = 0;
  #files = 0;

  constructor(limits: ArchiveLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }
  /** Files and links, without folders. */
  get files(): number {
    return this.#files;
  }

  add(item: ArchiveItem): void {
    if (item.path === ".") return;
    if (item.type === "copy") item = this.#original(item);
    const before = this.items.get(item.path);
    if (before !== undefined && !(before.type === "directory" && item.type === "directory"))
      throw refused(`\`${shown(item.path)}\` is there twice`);
    if (item.type !== "directory") this.#files += 1;
    this.#bytes += this.#sizeOf(item);
    this.items.set(item.path, item);
    this.#checkCount();
    if (this.#bytes > this.#limits.totalBytes)
      throw refused(
        `its files are larger than ${String(this.#limits.totalBytes)} bytes together`,
        "Leave dependencies and build results out, by .berthignore or .gitignore.",
      );
  }

  /** A copy of a copy becomes a copy of the file itself, so that no chain of them has to be followed later. */
  #original(item: ArchiveItem & { type: "copy" }): ArchiveItem {
    const named = this.items.get(item.of);
    const of = named?.type === "copy" ? named.of : item.of;
    if (this.items.get(of)?.type !== "file") throw refused(`the hard link \`${shown(item.path)}\` names no file of the archive`);
    return { ...item, of };
  }

  #sizeOf(item: ArchiveItem): number {
    const file = item.type === "copy" ? this.items.get(item.of) : item;
    return file?.type === "file" ? file.size : 0;
  }

  #checkCount(): void {
    if (this.items.size > this.#limits.files)
      throw refused(
        `it holds more than ${String(this.#limits.files)} entries`,
        "Leave dependencies and build results out, by .berthignore or .gitignore.",
      );
  }

  /** Checks the tree as a whole (links, files used as folders), adds the folders that no entry named, and returns everything in `comparePaths` order. */
  finish(): ArchiveItem[] {
    for (const path of [...this.items.keys()]) {
      for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
        const parent = path.slice(0, end);
        const there = this.items.get(parent);
        if (there !== undefined && there.type !== "directory")
          throw refused(`\`${shown(path)}\` lies below \`${shown(parent)}\`, which is not a folder`);
        if (there !== undefined) break;
        this.items.set(parent, { type: "directory", path: parent });
        this.#checkCount();
      }
    }
    checkLinks(this.items);
    return [...this.items.values()].sort((a, b) => comparePaths(a.path, b.path));
  }
}

/** Follows links as the kernel would: its own bound is 40 links on one path. */
const maxHops = 40;
/** All steps of all links together; a tree of real code needs a few for each link. */
const maxSteps = 5_000_000;

/** Throws `archive_refused` when a link, followed through every other link on its way, leads above the tree's root. */
function checkLinks(items: ReadonlyMap<string, ArchiveItem>): void {
  let steps = 0;
  for (const item of items.values()) {
    if (item.type !== "symlink" || item.target.startsWith("/")) continue;
    const at = item.path.split("/").slice(0, -1);
    const ahead = item.target.split("/").reverse();
    let hops = 0;
    while (ahead.length > 0) {
      const part = ahead.pop();
      steps += 1 + at.length / 8;
      if (steps > maxSteps) throw refused("its links are too many and too deep");
      if (part === undefined || part === "" || part === ".") continue;
      if (part === "..") {
        if (at.length === 0) throw refused(`the link \`${shown(item.path)}\` leads out of the folder, to \`${shown(item.target)}\``);
        at.pop();
        continue;
      }
      const next = items.get([...at, part].join("/"));
      if (next?.type !== "symlink") {
        at.push(part);
        continue;
      }
      if (++hops > maxHops) break;
      steps += next.target.length / 8;
      ahead.push(...next.target.split("/").reverse());
    }
  }
}
