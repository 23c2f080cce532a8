// What a folder says about the stack that it belongs to: `.berth.json`, a Compose file's `name:`, or the folder's own name. Only reads.
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { composeNames, filesNamed } from "@berth/contract/compose.ts";
import { isCode } from "./credentials.ts";
import { UsageError } from "./failure.ts";

export interface ProjectFile {
  readonly path: string;
  readonly stack?: string;
  readonly component?: string;
  readonly server?: string;
}
export interface Guess {
  readonly stack: string;
  readonly origin: string;
  readonly compose: boolean;
}

/** The nearest `.berth.json`, from `folder` upward. */
export async function findProjectFile(folder: string): Promise<ProjectFile | undefined> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const path = join(at, ".berth.json");
    const text = await textOf(path);
    if (text !== undefined) return { path, ...projectFile(text, path) };
    if (at === dirname(at)) return undefined;
  }
}

/** A variable of the caller's shell. */
export type Variable = (name: string) => string | undefined;

/** The name that `berth up` gives the stack of a folder when nobody says otherwise. `composeFiles` are those that were named for this run. */
export async function guessStack(folder: string, variable: Variable, composeFiles: readonly string[] = []): Promise<Guess> {
  const own = { stack: asName(basename(resolve(folder))), origin: "the folder's name" };
  const dotenv = (await textOf(join(folder, ".env"))) ?? "";
  const lookup = (name: string): string | undefined => variable(name) ?? plainValue(dotenv, name);
  const named = composeFiles.length > 0 ? [...composeFiles] : filesNamed(lookup);
  for (const name of named.length > 0 ? named.slice(0, 1) : composeNames) {
    const text = await textOf(resolve(folder, name));
    if (text === undefined) continue;
    const project = lookup("COMPOSE_PROJECT_NAME");
    if (project !== undefined && project !== "") return { stack: asName(project), origin: "COMPOSE_PROJECT_NAME", compose: true };
    const value = topLevelName(text);
    return { ...(value === undefined ? own : { stack: asName(value), origin: `\`name:\` in ${name}` }), compose: true };
  }
  return { ...own, compose: named.length > 0 };
}

/** Only a plain top-level name; an interpolated one is the server's to read, and the folder's name stands in. */
function topLevelName(text: string): string | undefined {
  const named = /^name:[ \t]*(?:"([^"$]+)"|'([^'$]+)'|([^\s"'#$]+))[ \t]*(?:#.*)?$/m.exec(text);
  return named?.[1] ?? named?.[2] ?? named?.[3];
}

/** The value of one variable of a `.env`, when it stands there plainly. */
function plainValue(dotenv: string, name: string): string | undefined {
  const found = new RegExp(
    `^[ \\t]*(?:export[ \\t]+)?${name}[ \\t]*=[ \\t]*(?:"([^"$\\n]*)"|'([^'\\n]*)'|([^\\s"'#$]*))[ \\t]*(?:#.*)?$`,
    "gm",
  );
  const [, double, single, bare] = [...dotenv.matchAll(found)].at(-1) ?? [];
  return double ?? single ?? bare;
}

/** The nearest valid name: a DNS label without `--`, 40 characters at most. */
export function asName(text: string): string {
  const label = text
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+/, "");
  const started = /^[a-z]/.test(label) ? label : `stack-${label}`;
  return started.slice(0, 40).replace(/-+$/, "");
}

function projectFile(text: string, path: string): Omit<ProjectFile, "path"> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null)
    throw new UsageError(`${path} wants an object like {"stack": "shop", "component": "web"}.`);
  const fields: { stack?: string; component?: string; server?: string } = {};
  for (const name of ["stack", "component", "server"] as const) {
    const field: unknown = name in value ? value[name as keyof typeof value] : undefined;
    if (field === undefined) continue;
    if (typeof field !== "string" || field === "") throw new UsageError(`${path}: \`${name}\` wants a text.`);
    fields[name] = field;
  }
  return fields;
}

/** The text of a file; undefined when there is none. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isFile() ? await readFile(path, "utf8") : undefined;
  } catch (error) {
    if (isCode(error, "ENOENT", "ENOTDIR", "EACCES", "ELOOP")) return undefined;
    throw error;
  }
}
