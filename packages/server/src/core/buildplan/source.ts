// The source as detection sees it: names of all files, and the text of those that the caller loaded. Must never read anything itself.
import { parse as parseToml } from "smol-toml";

/** Relative POSIX paths from the source's top; `read` gives text that the caller has loaded already (256 KiB at most, else undefined). */
export interface SourceTree {
  readonly files: ReadonlySet<string>;
  read(path: string): string | undefined;
}

/** One folder of the source. Paths given to it are relative to that folder. */
export interface Look {
  readonly root: string;
  /** Every file below the folder, sorted, relative to it. */
  readonly files: readonly string[];
  has(path: string): boolean;
  read(path: string): string | undefined;
  /** The path from the source's top, as findings name it. */
  label(path: string): string;
  /** Another folder of the same source, named from the source's top. */
  at(root: string): Look;
}

export type Parsed = { readonly ok: true; readonly value: Fields } | { readonly ok: false; readonly reason: string };
/** A JSON or TOML table of unknown content. */
export type Fields = Readonly<Record<string, unknown>>;

const skipped = /(?:^|\/)(?:node_modules|\.git|\.venv|venv|__pycache__|site-packages|\.berth|\.next|\.nuxt|\.svelte-kit)\//;

/** Looks into `root` (`.` for the top) of the source. */
export function lookInto(tree: SourceTree, root: string): Look {
  let sorted: readonly string[] | undefined;
  const all = (): readonly string[] => (sorted ??= [...tree.files].filter((path) => !skipped.test(path)).sort());
  return lookAt(tree, root, all);
}

function lookAt(tree: SourceTree, root: string, all: () => readonly string[]): Look {
  const prefix = root === "." ? "" : `${root}/`;
  const at = (path: string): string => joinPath(root, path);
  let files: readonly string[] | undefined;
  return {
    root,
    get files() {
      files ??=
        prefix === ""
          ? all()
          : all()
              .filter((path) => path.startsWith(prefix))
              .map((path) => path.slice(prefix.length));
      return files;
    },
    has: (path) => tree.files.has(at(path)),
    read: (path) => (tree.files.has(at(path)) ? tree.read(at(path)) : undefined),
    label: at,
    at: (other) => lookAt(tree, other, all),
  };
}

/** The folder and every folder above it, nearest first; the last one is `.`. */
export function foldersUp(root: string): string[] {
  const up: string[] = [];
  for (let folder = root; folder !== "."; folder = parentOf(folder)) up.push(folder);
  return [...up, "."];
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "." : path.slice(0, slash);
}

export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Joins and normalizes; steps above the source's top are kept as `..`, so that callers can refuse them. */
export function joinPath(folder: string, path: string): string {
  const parts: string[] = [];
  for (const part of `${folder}/${path}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(part);
  }
  return parts.join("/") || ".";
}

/** `to` as seen from `from`, both from the source's top. */
export function relativePath(from: string, to: string): string {
  const a = from === "." ? [] : from.split("/");
  const b = to === "." ? [] : to.split("/");
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same += 1;
  return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/") || ".";
}

/** The nearest file of that name at the folder or above it. */
export function nearest(look: Look, name: string): { readonly file: string; readonly text: string } | undefined {
  for (const folder of foldersUp(look.root)) {
    const text = look.at(folder).read(name);
    if (text !== undefined) return { file: joinPath(folder, name), text };
  }
  return undefined;
}

/** undefined when there is no such file; a reason when it cannot be understood. */
export function readJson(look: Look, path: string): Parsed | undefined {
  return readTable(look, path, (text) => JSON.parse(text) as unknown);
}

export function readToml(look: Look, path: string): Parsed | undefined {
  return readTable(look, path, (text) => parseToml(text) as unknown);
}

function readTable(look: Look, path: string, parse: (text: string) => unknown): Parsed | undefined {
  if (!look.has(path)) return undefined;
  const text = look.read(path);
  if (text === undefined) return { ok: false, reason: "it is larger than 256 KiB or not text" };
  try {
    const value = parse(text.replace(/^\uFEFF/, ""));
    return isFields(value) ? { ok: true, value } : { ok: false, reason: "its top level is not a table of keys" };
  } catch (error) {
    return { ok: false, reason: firstLine(error instanceof Error ? error.message : String(error)) };
  }
}

function firstLine(text: string): string {
  return (text.split("\n").find((line) => line.trim() !== "") ?? text).trim().slice(0, 300);
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at a path of keys, own keys only. */
export function dig(value: unknown, ...keys: string[]): unknown {
  let here = value;
  for (const key of keys) {
    if (!isFields(here) || !Object.hasOwn(here, key)) return undefined;
    here = here[key];
  }
  return here;
}

export function digText(value: unknown, ...keys: string[]): string | undefined {
  const found = dig(value, ...keys);
  return typeof found === "string" ? found : undefined;
}

/** The text entries of a table; others are left out. */
export function digTexts(value: unknown, ...keys: string[]): Map<string, string> {
  const found = dig(value, ...keys);
  const entries = isFields(found) ? Object.entries(found) : [];
  return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}

export function digList(value: unknown, ...keys: string[]): string[] {
  const found = dig(value, ...keys);
  return Array.isArray(found) ? found.filter((item): item is string => typeof item === "string") : [];
}
