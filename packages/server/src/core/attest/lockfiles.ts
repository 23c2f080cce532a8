// What the lockfiles of a source name: the versions that its build installs. Pure. A file that cannot be read names nothing, and whoever asks says so.
import { parse as parseToml } from "smol-toml";
import { isFields } from "../buildplan/source.ts";
import type { Ecosystem, SoftwarePackage } from "./package.ts";

type Found = Omit<SoftwarePackage, "from" | "ecosystem">;
interface Format {
  readonly ecosystem: Ecosystem;
  readonly read: (text: string) => Found[];
}

/** Lockfiles by their name. */
const formats: Readonly<Record<string, Format>> = {
  "package-lock.json": { ecosystem: "npm", read: npmLock },
  "npm-shrinkwrap.json": { ecosystem: "npm", read: npmLock },
  "yarn.lock": { ecosystem: "npm", read: yarnLock },
  "pnpm-lock.yaml": { ecosystem: "npm", read: pnpmLock },
  "poetry.lock": { ecosystem: "pypi", read: (text) => tomlPackages(text, () => true) },
  "uv.lock": { ecosystem: "pypi", read: (text) => tomlPackages(text, ({ source }) => isFields(source) && "registry" in source) },
  "requirements.txt": { ecosystem: "pypi", read: requirements },
  "Pipfile.lock": { ecosystem: "pypi", read: pipfileLock },
  "go.mod": { ecosystem: "golang", read: goMod },
  // What has no source is the project's own.
  "Cargo.lock": { ecosystem: "cargo", read: (text) => tomlPackages(text, ({ source }) => typeof source === "string") },
  "composer.lock": { ecosystem: "composer", read: composerLock },
  "Gemfile.lock": { ecosystem: "gem", read: gemfileLock },
  "gradle.lockfile": { ecosystem: "maven", read: gradleLock },
};

const baseOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** Whether a path of a source is a lockfile of its own: what somebody's package brought along is none. */
export const isLockfile = (path: string): boolean =>
  Object.hasOwn(formats, baseOf(path)) && !/(?:^|\/)(?:node_modules|vendor|\.venv)\//.test(path);

/** undefined: the text is not what its name says. */
export function lockedPackages(path: string, text: string): SoftwarePackage[] | undefined {
  const format = formats[baseOf(path)];
  if (format === undefined) return undefined;
  try {
    return format.read(text).map((one) => ({ ...one, ecosystem: format.ecosystem, from: path }));
  } catch (error) {
    // Whatever the parsers of these texts throw is about the text: nothing else is done here.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

const fieldsOf = (value: unknown): [string, Record<string, unknown>][] =>
  isFields(value) ? Object.entries(value).filter((entry): entry is [string, Record<string, unknown>] => isFields(entry[1])) : [];
/** A line that is longer than this is none of these files'. */
const linesOf = (text: string): string[] => text.split(/\r?\n/).filter((line) => line.length < 1000);
const listOf = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isFields) : []);

function named(name: unknown, version: unknown, dev: boolean): Found[] {
  if (typeof name !== "string" || typeof version !== "string" || name === "" || version === "") return [];
  return [{ name, version, ...(dev ? { dev: true as const } : {}) }];
}

function npmLock(text: string): Found[] {
  const lock: unknown = JSON.parse(text);
  if (!isFields(lock)) return [];
  if (!isFields(lock["packages"])) return npmTree(lock["dependencies"]);
  return fieldsOf(lock["packages"]).flatMap(([path, one]) => {
    const at = path.lastIndexOf("node_modules/");
    // The project itself, and folders of its own.
    if (at === -1 || one["link"] === true) return [];
    return named(one["name"] ?? path.slice(at + "node_modules/".length), one["version"], one["dev"] === true);
  });
}

/** Lockfiles of npm 6 and older. */
function npmTree(dependencies: unknown): Found[] {
  return fieldsOf(dependencies).flatMap(([name, one]) => [
    ...named(name, one["version"], one["dev"] === true),
    ...npmTree(one["dependencies"]),
  ]);
}

/** Both languages: blocks whose heading names what was asked for, with a line that names the version. */
function yarnLock(text: string): Found[] {
  return text.split(/\n(?=\S)/).flatMap((block) => {
    if (/^ +linkType: soft$/m.test(block)) return [];
    const name = /^"?((?:@[^/@"]+\/)?[^@"\s]+)@/m.exec(block)?.[1];
    return named(name, /^ {2}version:? "?([^"\s]+)"?$/m.exec(block)?.[1], false);
  });
}

/** By its lines: a parser of YAML takes seconds for large ones. */
function pnpmLock(text: string): Found[] {
  const section = /^packages:\n((?:[ \t].*\n?|\n)*)/m.exec(text)?.[1] ?? "";
  return section.split(/\n(?= {2}\S)/).flatMap((block) => {
    const [, name, version] = /^\s*'?\/?((?:@[^/@'\s]+\/)?[^/@'\s]+)[@/]([^(_'\s:]+)/.exec(block.slice(0, 1000)) ?? [];
    return named(name, version, /^ {4}dev: true$/m.test(block));
  });
}

function tomlPackages(text: string, isForeign: (one: Record<string, unknown>) => boolean): Found[] {
  return listOf(parseToml(text)["package"])
    .filter(isForeign)
    .flatMap((one) => named(one["name"], one["version"], one["category"] === "dev"));
}

function requirements(text: string): Found[] {
  return linesOf(text).flatMap((line) => {
    const [, name, version] = /^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*===?\s*([^\s;#,\\]+)/.exec(line) ?? [];
    return version?.includes("*") === true ? [] : named(name, version, false);
  });
}

function pipfileLock(text: string): Found[] {
  const lock: unknown = JSON.parse(text);
  if (!isFields(lock)) return [];
  const of = (group: string): Found[] =>
    fieldsOf(lock[group]).flatMap(([name, { version }]) =>
      named(name, typeof version === "string" ? version.replace(/^==/, "") : undefined, group === "develop"),
    );
  return [...of("default"), ...of("develop")];
}

/** It names all that is built in since Go 1.17; go.sum names more than that. */
function goMod(text: string): Found[] {
  const replaced = new Map<string, string>();
  const found: Found[] = [];
  for (const line of linesOf(text)) {
    const said = line.replace(/\/\/.*$/, "").trim();
    const [, from = "", to = ""] = /^(?:replace\s+)?(\S+)(?:\s+v\S+)?\s+=>\s+(\S+(?:\s+v\S+)?)$/.exec(said) ?? [];
    if (from !== "") replaced.set(from, to);
    else {
      const [, name, version] = /^(?:require\s+)?([^\s()]+\/[^\s()]+|[^\s()]+\.[^\s()]+)\s+(v\d\S*)$/.exec(said) ?? [];
      found.push(...named(name, version, false));
    }
  }
  return found.flatMap((one) => {
    const [name = "", version] = (replaced.get(one.name) ?? `${one.name} ${one.version}`).split(/\s+/);
    // A folder of the project has no version.
    return named(name, version, false);
  });
}

function composerLock(text: string): Found[] {
  const lock: unknown = JSON.parse(text);
  if (!isFields(lock)) return [];
  const of = (key: string): Found[] => listOf(lock[key]).flatMap((one) => named(one["name"], one["version"], key !== "packages"));
  return [...of("packages"), ...of("packages-dev")];
}

function gemfileLock(text: string): Found[] {
  const gems = /^GEM\n(?:[ \t].*\n?|\n(?=[ \t]))*/m.exec(text)?.[0] ?? "";
  return [...gems.matchAll(/^ {4}(\S+) \(([^)\s]+)\)$/gm)].flatMap(([, name, version]) => named(name, version, false));
}

function gradleLock(text: string): Found[] {
  return linesOf(text).flatMap((line) => {
    const [, name, version, where = ""] = /^([^:#=\s]+:[^:=\s]+):([^:=\s]+)=(.*)$/.exec(line) ?? [];
    return named(name, version, !/runtime/i.test(where));
  });
}
