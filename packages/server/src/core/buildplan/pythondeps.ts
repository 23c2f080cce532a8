// How a Python project's dependencies get into `.berth/python`, a folder that moves with the bundle. Virtual environments are not used: their
// scripts and configuration hold absolute paths.
import type { BuildStep, BuildTool } from "@berth/contract/buildplan.ts";
import { shellWord } from "./command.ts";
import { exec, shell, step, type Cache, type Notes } from "./draft.ts";
import { matchesGlobs } from "./globs.ts";
import {
  dig,
  digList,
  digText,
  digTexts,
  foldersUp,
  isFields,
  joinPath,
  parentOf,
  readJson,
  readToml,
  relativePath,
  type Fields,
  type Look,
} from "./source.ts";

export const pythonFolder = ".berth/python";
const target = ["--target", pythonFolder];
const pipInstall = ["python3", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", ...target];
const exported = ".berth/requirements.txt";
const pipExported = `${pipInstall.join(" ")} --no-deps -r ${exported}`;

export interface PythonDependencies {
  /** How they are managed, for people. */
  readonly by: "pip" | "poetry" | "uv" | "pipenv";
  /** Lower-case names with `-`, extras as `name[extra]` as well. */
  readonly names: ReadonlySet<string>;
  readonly steps: readonly BuildStep[];
  readonly tools: readonly BuildTool[];
  readonly caches: readonly Cache[];
}

export type ReadDependencies =
  { readonly ok: true; readonly value: PythonDependencies } | { readonly ok: false; readonly file: string; readonly reason: string };

/** The project's `pyproject.toml`, read once. */
export type Pyproject = ReturnType<typeof readToml>;

/** By lockfile first, then requirements, then pyproject's own list. */
export function pythonDependencies(look: Look, pyproject: Pyproject, uv: UvTop | undefined, notes: Notes): ReadDependencies {
  const table = pyproject !== undefined && pyproject.ok ? pyproject.value : {};
  const declared = declaredIn(table, look, notes);
  const poetry =
    look.has("poetry.lock") ||
    (dig(table, "tool", "poetry", "dependencies") !== undefined && dig(table, "project", "dependencies") === undefined);
  const broken = pyproject !== undefined && !pyproject.ok ? pyproject.reason : undefined;
  const needsPyproject =
    uv !== undefined ||
    look.has("poetry.lock") ||
    !["requirements.txt", "Pipfile", "Pipfile.lock", "setup.py"].some((file) => look.has(file));
  if (broken !== undefined && needsPyproject) return { ok: false, file: "pyproject.toml", reason: broken };
  if (broken !== undefined) notes.warn("file_unreadable", { file: look.label("pyproject.toml"), reason: broken });
  const several = ["uv.lock", "poetry.lock", "Pipfile.lock"].filter((file) => look.has(file));
  if (several.length > 1) notes.warn("several_lockfiles", { files: several.join(", "), chosen: several[0] ?? "" });
  const value =
    uv !== undefined
      ? byUv(look, uv, table, declared, notes)
      : poetry
        ? byPoetry(look, declared, notes)
        : look.has("requirements.txt")
          ? byRequirements(look, notes)
          : look.has("Pipfile") || look.has("Pipfile.lock")
            ? byPipenv(look, notes)
            : byPyproject(look, table, declared, notes);
  return { ok: true, value };
}

const pipTool = (why: string): BuildTool => ({ name: "pip", wanted: "*", why, phase: "build" });
const pipCache: Cache = { name: "pip", env: { PIP_CACHE_DIR: "$CACHE", PIP_ROOT_USER_ACTION: "ignore" } };

function byUv(look: Look, top: UvTop, table: Fields, declared: Declared, notes: Notes): PythonDependencies {
  const lockfile = joinPath(top.root, "uv.lock");
  notes.found(lockfile, "uv installs the dependencies that it locks");
  const lock = look.at(top.root).read("uv.lock");
  const missing = lock === undefined ? undefined : declared.required.map(plainName).find((name) => !lock.includes(`"${name}"`));
  if (missing !== undefined)
    notes.warn("lockfile_outdated", {
      lockfile,
      manifest: look.label("pyproject.toml"),
      detail: `${missing} is missing`,
      command: "uv lock",
    });
  const member = top.root === look.root ? "" : ` --package ${shellWord(digText(table, "project", "name") ?? "")}`;
  const line = `mkdir -p .berth && uv export --frozen --no-dev --no-editable --no-emit-project --no-hashes --quiet${member} --output-file ${exported} && uv pip install --python python3 --target ${pythonFolder} -r ${exported}`;
  const local =
    top.root !== look.root ||
    Object.values(digTable(table, "tool", "uv", "sources")).some(
      (source) => dig(source, "path") !== undefined || dig(source, "workspace") !== undefined,
    );
  return {
    by: "uv",
    names: declared.names,
    steps: nothingToInstall(declared) ? [] : [installing(shell(line), "uv.lock", local ? [] : ["pyproject.toml", "uv.lock"])],
    tools: [{ name: "uv", wanted: "*", why: "uv.lock", phase: "build" }],
    caches: [{ name: "uv", env: { UV_CACHE_DIR: "$CACHE", UV_LINK_MODE: "copy" } }],
  };
}

/** The folder with the uv.lock that a project obeys. */
export interface UvTop {
  readonly root: string;
}

/** A project's own uv.lock, or that of the workspace above which has it as a member. */
export function uvTop(look: Look): UvTop | undefined {
  if (look.has("uv.lock")) return { root: look.root };
  const root = uvWorkspace(look);
  return root !== undefined && look.at(root).has("uv.lock") ? { root } : undefined;
}

/** The folder above of whose uv workspace this one is a member. */
export function uvWorkspace(look: Look): string | undefined {
  if (!look.has("pyproject.toml")) return undefined;
  return foldersUp(look.root)
    .slice(1)
    .find((root) => {
      const parsed = readToml(look.at(root), "pyproject.toml");
      return (
        parsed !== undefined &&
        parsed.ok &&
        matchesGlobs(relativePath(root, look.root), digList(parsed.value, "tool", "uv", "workspace", "members"))
      );
    });
}

/** The export command is a plugin since Poetry 2: without it the locked packages are taken from an environment that Poetry fills. */
function byPoetry(look: Look, declared: Declared, notes: Notes): PythonDependencies {
  const locked = look.has("poetry.lock");
  notes.found(look.label(locked ? "poetry.lock" : "pyproject.toml"), "Poetry resolves the dependencies, pip puts them into the bundle");
  if (!locked && !nothingToInstall(declared))
    notes.warn("lockfile_missing", { manifest: look.label("pyproject.toml"), command: "poetry lock" });
  const line = [
    `mkdir -p .berth`,
    `{ poetry export --only main --without-hashes --output ${exported} 2>/dev/null || { poetry install --only main --no-root --no-interaction && poetry run python -m pip freeze --exclude-editable > ${exported}; }; }`,
    pipExported,
  ].join(" && ");
  const local = /^[ \t]*type = "(?:directory|file)"/m.test(look.read("poetry.lock") ?? "");
  return {
    by: "poetry",
    names: declared.names,
    steps: nothingToInstall(declared)
      ? []
      : [installing(shell(line), locked ? "poetry.lock" : "pyproject.toml", locked && !local ? ["pyproject.toml", "poetry.lock"] : [])],
    tools: [
      { name: "poetry", wanted: "*", why: locked ? "poetry.lock" : "pyproject.toml has [tool.poetry]", phase: "build" },
      pipTool("installs into the bundle"),
    ],
    caches: [pipCache, { name: "poetry", env: { POETRY_CACHE_DIR: "$CACHE" } }],
  };
}

function byPipenv(look: Look, notes: Notes): PythonDependencies {
  notes.found(look.label("Pipfile"), "Pipenv resolves the dependencies, pip puts them into the bundle");
  const lock = readJson(look, "Pipfile.lock");
  const manifest = readToml(look, "Pipfile");
  const names =
    lock !== undefined && lock.ok
      ? Object.keys(digTable(lock.value, "default"))
      : manifest !== undefined && manifest.ok
        ? Object.keys(digTable(manifest.value, "packages"))
        : [];
  for (const [file, read] of [
    ["Pipfile", manifest],
    ["Pipfile.lock", lock],
  ] as const)
    if (read !== undefined && !read.ok) notes.warn("file_unreadable", { file: look.label(file), reason: read.reason });
  const inputs = ["Pipfile", "Pipfile.lock"].filter((file) => look.has(file));
  const line = `mkdir -p .berth && pipenv requirements > ${exported} && ${pipExported}`;
  return {
    by: "pipenv",
    names: new Set(names.map(plainName)),
    steps: names.length === 0 ? [] : [installing(shell(line), inputs.at(-1) ?? "Pipfile", inputs.includes("Pipfile.lock") ? inputs : [])],
    tools: [{ name: "pipenv", wanted: "*", why: "Pipfile", phase: "build" }, pipTool("installs into the bundle")],
    caches: [pipCache],
  };
}

function byRequirements(look: Look, notes: Notes): PythonDependencies {
  const read = readRequirements(look, "requirements.txt", new Set());
  const count = read.names.length;
  notes.found(
    look.label("requirements.txt"),
    count === 0 && !read.local
      ? "names no package: nothing is installed"
      : `names ${count} package${count === 1 ? "" : "s"}; pip installs them`,
  );
  const command = exec(...pipInstall, "-r", "requirements.txt");
  return {
    by: "pip",
    names: new Set(read.names.flatMap(nameForms)),
    steps: count === 0 && !read.local ? [] : [installing(command, "requirements.txt", read.local ? [] : read.files)],
    tools: [pipTool("requirements.txt")],
    caches: [pipCache],
  };
}

/** A list in pyproject is handed to pip as it is; the project itself is built only when its own packaging has to run for that. */
function byPyproject(look: Look, table: Fields, declared: Declared, notes: Notes): PythonDependencies {
  const dynamic = digList(table, "project", "dynamic").includes("dependencies");
  const packaged = dynamic || (look.has("setup.py") && !look.has("pyproject.toml"));
  const why = look.has("pyproject.toml") ? "pyproject.toml" : "setup.py";
  if (packaged) {
    notes.found(look.label(why), "says its dependencies only when it is built: pip installs the project itself");
    return {
      by: "pip",
      names: declared.names,
      steps: [installing(exec(...pipInstall, "."), why, [])],
      tools: [pipTool(why)],
      caches: [pipCache],
    };
  }
  if (declared.required.length > 0)
    notes.found(look.label("pyproject.toml"), `names ${declared.required.length} dependencies; pip installs them`);
  const local = declared.required.some((item) => /@\s*(?:file:|\.)/.test(item));
  return {
    by: "pip",
    names: declared.names,
    steps:
      declared.required.length === 0
        ? []
        : [installing(exec(...pipInstall, ...declared.required), "pyproject.toml", local ? [] : ["pyproject.toml"])],
    tools: declared.required.length === 0 ? [] : [pipTool("pyproject.toml")],
    caches: declared.required.length === 0 ? [] : [pipCache],
  };
}

function installing(command: BuildStep["command"], why: string, inputs: readonly string[]): BuildStep {
  const base = step("install", command, why, true);
  return inputs.length === 0 ? base : { ...base, inputs: [...inputs], outputs: [pythonFolder] };
}

interface Declared {
  readonly required: readonly string[];
  readonly names: ReadonlySet<string>;
  readonly poetry: number;
}

function nothingToInstall(declared: Declared): boolean {
  return declared.required.length === 0 && declared.poetry === 0;
}

function declaredIn(table: Fields, look: Look, notes: Notes): Declared {
  const listed = digList(table, "project", "dependencies");
  const required = listed.filter((item) => /^[A-Za-z0-9]/.test(item));
  for (const item of listed)
    if (!required.includes(item))
      notes.warn("file_unreadable", { file: look.label("pyproject.toml"), reason: `\`${item.slice(0, 80)}\` is not a dependency` });
  const poetry = Object.keys(digTable(table, "tool", "poetry", "dependencies")).filter((name) => name !== "python");
  const extras = poetry.flatMap((name) =>
    digList(table, "tool", "poetry", "dependencies", name, "extras").map((extra) => `${name}[${extra}]`),
  );
  return { required, names: new Set([...required, ...poetry, ...extras].flatMap(nameForms)), poetry: poetry.length };
}

function digTable(value: unknown, ...keys: string[]): Fields {
  const found = dig(value, ...keys);
  return isFields(found) ? found : {};
}

/** `Uvicorn[standard]>=0.2 ; python_version > "3"` -> `uvicorn`. */
function plainName(requirement: string): string {
  return (/^[A-Za-z0-9][A-Za-z0-9._-]*/.exec(requirement)?.[0] ?? "").toLowerCase().replaceAll(/[._-]+/g, "-");
}

function nameForms(requirement: string): string[] {
  const name = plainName(requirement);
  const extras = /^[A-Za-z0-9._-]+\s*\[([^\]]*)\]/.exec(requirement)?.[1] ?? "";
  return name === "" ? [] : [name, ...extras.split(",").map((extra) => `${name}[${extra.trim().toLowerCase()}]`)];
}

interface Requirements {
  readonly names: string[];
  readonly files: string[];
  /** Something in it is part of the source. */ readonly local: boolean;
}

/** Follows `-r` and `-c`; whatever is a path makes the outcome depend on more than these files. */
function readRequirements(look: Look, file: string, seen: Set<string>): Requirements {
  const empty = { names: [], files: [], local: false };
  if (seen.has(file) || seen.size > 50) return empty;
  seen.add(file);
  const text = look.read(file);
  if (text === undefined) return { ...empty, local: true };
  const found: Requirements[] = [{ names: [], files: [file], local: false }];
  for (const raw of text.replaceAll(/\\\r?\n/g, " ").split(/\r?\n/)) {
    const line = raw.replace(/(?:^|\s)#.*$/, "").trim();
    const included = /^(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)/.exec(line);
    if (included !== null) {
      const inner = readRequirements(look, joinPath(parentOf(file), included[1] ?? ""), seen);
      found.push(/^(?:-c|--c)/.test(line) ? { ...inner, names: [] } : inner);
    } else if (/^(?:-e|--editable|\.{1,2}(?:\/|$|\[)|\/|file:)/.test(line) || /@\s*file:/.test(line))
      found.push({ names: [line], files: [], local: true });
    else if (/^--(?:find-links|no-index)/.test(line)) found.push({ names: [], files: [], local: true });
    else if (/^[A-Za-z0-9]/.test(line))
      found.push({ names: [line], files: [], local: /\.(?:whl|zip|tar\.gz)$/.test(line) && !line.includes("://") });
    else if (/^(?:git|hg|svn|bzr)\+/.test(line)) found.push({ names: [line], files: [], local: false });
  }
  return {
    names: found.flatMap((item) => item.names),
    files: found.flatMap((item) => item.files),
    local: found.some((item) => item.local),
  };
}

/** What `[project.scripts]` or Poetry's scripts start: `module:function`. */
export function declaredScripts(pyproject: Pyproject): Map<string, string> {
  if (pyproject === undefined || !pyproject.ok) return new Map();
  return new Map([...digTexts(pyproject.value, "tool", "poetry", "scripts"), ...digTexts(pyproject.value, "project", "scripts")]);
}
