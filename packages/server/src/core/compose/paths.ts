// Paths of a project, always relative to its folder and with `/`. Nothing outside of the project can be reached by one. Pure text work.
import { get, mapScalars, textScalar, withEntry, type Mapping, type Scalar, type Tree } from "./tree.ts";

/** `a/./b/../c` -> `a/c`; `.` for the folder itself; a path that leads out of it keeps its leading `..`. */
export function normalise(path: string): string {
  const out: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && out.length > 0 && out.at(-1) !== "..") out.pop();
    else out.push(part);
  }
  return out.length === 0 ? "." : out.join("/");
}

export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "." : normalise(path.slice(0, slash));
}

export function join(folder: string, path: string): string {
  return normalise(`${folder}/${path}`);
}

/** Absolute, home-relative and Windows paths, and URLs: nothing that a project folder can contain. */
export function isForeign(path: string): boolean {
  return path.startsWith("/") || path.startsWith("~") || path.startsWith("\\") || /^[A-Za-z]:[\\/]/.test(path) || isRemote(path);
}

export function isRemote(path: string): boolean {
  return (
    /^[a-z][a-z0-9+.-]*:\/\//i.test(path) ||
    /^[^/\s]+@[^/\s]+:/.test(path) ||
    path.startsWith("github.com/") ||
    path.startsWith("oci:") ||
    path.startsWith("docker-image:")
  );
}

/** Why a path may not be used, or undefined when it stays inside of the project. */
export function outside(path: string): string | undefined {
  // Nor may a path say things to a terminal.
  if (/\p{Cc}/u.test(path)) return "it has a character that no path should have";
  if (isRemote(path)) return "it is not in the project's folder";
  if (isForeign(path)) return "absolute paths lead out of the project's folder";
  return normalise(path).startsWith("..") ? "it leads out of the project's folder" : undefined;
}

function moved(folder: string) {
  return (scalar: Scalar): Scalar => {
    if (typeof scalar.value !== "string" || scalar.value === "" || isForeign(scalar.value)) return scalar;
    const path = join(folder, scalar.value);
    return { ...scalar, value: path, text: path };
  };
}

/** Makes the paths that a file in another folder names relative to the project's folder. */
export function rebase(file: Mapping, folder: string): Mapping {
  if (folder === ".") return file;
  const move = moved(folder);
  const at = (tree: Mapping, key: string, change: (value: Tree) => Tree): Mapping => {
    const entry = tree.entries.get(key);
    return entry === undefined || get(tree, key) === undefined ? tree : withEntry(tree, { ...entry, value: change(entry.value) });
  };
  const inMapping = (value: Tree, change: (inner: Mapping) => Tree): Tree => (value.type === "mapping" ? change(value) : value);
  const each = (value: Tree, change: (inner: Mapping) => Tree): Tree =>
    inMapping(value, (all) => ({
      ...all,
      entries: new Map([...all.entries].map(([key, entry]) => [key, { ...entry, value: inMapping(entry.value, change) }])),
    }));
  const paths = (value: Tree) => mapScalars(value, move);
  const listed = (value: Tree): Tree =>
    value.type === "sequence"
      ? { ...value, items: value.items.map((item) => (item.type === "mapping" ? at(item, "path", paths) : paths(item))) }
      : paths(value);
  const build = (value: Tree): Tree => {
    if (value.type !== "mapping") return paths(value);
    const context = get(value, "context");
    return context === undefined
      ? withEntry(value, { key: "context", keyAt: value.at, value: textScalar(folder, value.at) })
      : at(value, "context", paths);
  };
  const service = (tree: Mapping): Mapping => {
    const built = at(at(at(tree, "build", build), "env_file", listed), "label_file", paths);
    return at(built, "extends", (value) => inMapping(value, (inner) => at(inner, "file", paths)));
  };
  const include = (value: Tree): Tree =>
    value.type === "sequence"
      ? {
          ...value,
          items: value.items.map((item) =>
            item.type === "mapping" ? at(at(at(item, "path", paths), "env_file", paths), "project_directory", paths) : paths(item),
          ),
        }
      : value;
  const files = (value: Tree): Tree => each(value, (inner) => at(inner, "file", paths));
  return at(
    at(
      at(
        at(file, "services", (value) => each(value, service)),
        "secrets",
        files,
      ),
      "configs",
      files,
    ),
    "include",
    include,
  );
}
