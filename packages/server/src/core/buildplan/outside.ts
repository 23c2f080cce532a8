// Folders that a project needs beside its own: those that its manifests name by a path, and the workspace that it belongs to. Pure.
import { widenedByGo } from "./go.ts";
import { settingsRoot } from "./gradle.ts";
import { aggregatorOf } from "./java.ts";
import { takeNotes } from "./draft.ts";
import { allDependencies, readPackage } from "./nodepackage.ts";
import { findWorkspace } from "./nodeworkspace.ts";
import { uvWorkspace } from "./pythondeps.ts";
import { workspaceRoot } from "./rust.ts";
import { dig, digText, foldersUp, isFields, joinPath, readJson, readToml, type Fields, type Look } from "./source.ts";

/** What a manifest needs from elsewhere: `path` from the source's top (with `..` when it lies above that), or a member of a workspace that is not there. */
export interface Needed {
  readonly file: string;
  readonly path?: string;
  readonly what: string;
}

/** Dependencies by path that lead out of the folder, and members of a workspace. */
export function neededElsewhere(look: Look): Needed[] {
  const named = (file: string, what: string, path: string): Needed[] => {
    const target = joinPath(look.root, path);
    const inside = look.root === "." ? !target.startsWith("..") : target === look.root || target.startsWith(`${look.root}/`);
    return inside || path.startsWith("/") ? [] : [{ file: look.label(file), path: target, what }];
  };
  return [...fromNode(look, named), ...fromPython(look, named), ...fromRust(look, named), ...fromOthers(look, named)].slice(0, 100);
}

type Named = (file: string, what: string, path: string) => Needed[];

function fromNode(look: Look, named: Named): Needed[] {
  const read = readPackage(look);
  if (read === undefined || !read.ok) return [];
  const workspace = findWorkspace(look);
  return allDependencies(read.value).flatMap(([name, range]) => {
    const path = /^(?:file:|link:|portal:)?(\.{1,2}\/.*)$/.exec(range)?.[1];
    if (path !== undefined) return named("package.json", path, path);
    return range.startsWith("workspace:") && workspace === undefined
      ? [{ file: look.label("package.json"), what: `the workspace package ${name}` }]
      : [];
  });
}

function fromPython(look: Look, named: Named): Needed[] {
  const requirements = (look.read("requirements.txt") ?? "").split(/\r?\n/).flatMap((line) => {
    const path = /^(?:-e\s+|--editable[\s=]+)?(?:file:)?(\.{1,2}\/[^\s;#[]*)/.exec(line.trim())?.[1];
    return path === undefined ? [] : named("requirements.txt", path, path);
  });
  const parsed = readToml(look, "pyproject.toml");
  if (parsed === undefined || !parsed.ok) return requirements;
  const tables = [tableOf(parsed.value, "tool", "uv", "sources"), tableOf(parsed.value, "tool", "poetry", "dependencies")];
  const paths = tables.flatMap((table) =>
    Object.values(table).flatMap((entry) => {
      const path = digText(entry, "path");
      return path === undefined ? [] : named("pyproject.toml", path, path);
    }),
  );
  const members = Object.entries(tableOf(parsed.value, "tool", "uv", "sources"))
    .filter(([, entry]) => dig(entry, "workspace") === true)
    .map(([name]) => name);
  const inWorkspace = dig(parsed.value, "tool", "uv", "workspace") !== undefined || uvWorkspace(look) !== undefined;
  return [
    ...requirements,
    ...paths,
    ...(inWorkspace ? [] : members.map((name) => ({ file: look.label("pyproject.toml"), what: `the workspace package ${name}` }))),
  ];
}

function fromRust(look: Look, named: Named): Needed[] {
  const parsed = readToml(look, "Cargo.toml");
  if (parsed === undefined || !parsed.ok) return [];
  const { value } = parsed;
  const inherits = (entry: unknown): boolean => dig(entry, "workspace") === true;
  const tables = ["dependencies", "build-dependencies"].map((name) => tableOf(value, name));
  const paths = tables.flatMap((table) =>
    Object.values(table).flatMap((entry) => {
      const path = digText(entry, "path");
      return path === undefined ? [] : named("Cargo.toml", path, path);
    }),
  );
  const lost =
    dig(value, "workspace") === undefined &&
    workspaceRoot(look, takeNotes()) === look.root &&
    [...tables.flatMap((table) => Object.values(table)), ...Object.values(tableOf(value, "package"))].some(inherits);
  return lost ? [...paths, { file: look.label("Cargo.toml"), what: "the Cargo workspace that it inherits from" }] : paths;
}

function fromOthers(look: Look, named: Named): Needed[] {
  const module = look.has("vendor/modules.txt") ? "" : (look.read("go.mod") ?? "");
  const replaced = [...module.matchAll(/=>[ \t]*(\.{1,2}\/[^\s]*)/g)].flatMap(([, path = ""]) => named("go.mod", path, path));
  const composer = readJson(look, "composer.json");
  const repositories = composer !== undefined && composer.ok ? dig(composer.value, "repositories") : undefined;
  const urls = (Array.isArray(repositories) ? repositories : isFields(repositories) ? Object.values(repositories) : [])
    .filter((item) => digText(item, "type") === "path")
    .flatMap((item) => digText(item, "url") ?? []);
  const gems = [
    ...(look.read("Gemfile") ?? "").matchAll(/^[^#\n]*(?:\bpath:|:path[ \t]*=>|^[ \t]*path)[ \t]*["'](\.{1,2}\/[^"']*)["']/gm),
  ].flatMap(([, path = ""]) => named("Gemfile", path, path));
  return [...replaced, ...urls.flatMap((url) => named("composer.json", url, url.replace(/\/\*.*$/, ""))), ...gems];
}

function tableOf(value: unknown, ...keys: string[]): Fields {
  const found = dig(value, ...keys);
  return isFields(found) ? found : {};
}

/** The top of the workspace that the folder belongs to; the folder itself when it belongs to none. */
export function workspaceTop(look: Look): string {
  const notes = takeNotes();
  const tops = [
    look.has("package.json") ? findWorkspace(look)?.root : undefined,
    look.has("go.mod") ? widenedByGo(look, look.read("go.mod") ?? "", notes) : undefined,
    look.has("Cargo.toml") ? workspaceRoot(look, notes) : undefined,
    uvWorkspace(look),
    look.has("pom.xml") ? aggregatorOf(look, notes) : undefined,
    settingsRoot(look, notes),
  ].filter((top) => top !== undefined);
  const up = foldersUp(look.root);
  return up[Math.max(0, ...tops.map((top) => up.indexOf(top)))] ?? look.root;
}
