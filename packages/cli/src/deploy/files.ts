// Answering what the server asks for while it makes a plan: files by content, variables by name. Gives away nothing but what the project's own files
// name, and nothing from outside of the project's folder.
import { open, realpath } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { composeVariables } from "@berth/contract/compose.ts";
import { workspaceFiles } from "@berth/contract/workspace.ts";
import { isCode } from "../credentials.ts";
import { Failure, UsageError, exitCodes } from "../failure.ts";

const mostBytes = 2_097_152;

export type Answered = { readonly state: "there"; readonly text: string } | { readonly state: "absent" };

/** The path below `root` (a real path) that a project-relative path names; fails when it leads out, by `..`, by being absolute, or through a link. */
export async function insideProject(root: string, path: string, what: string): Promise<string | undefined> {
  const full = resolve(root, path);
  const outside = (at: string): boolean => at !== root && !at.startsWith(root + sep);
  const refuse = (): never => {
    throw new Failure(exitCodes.failed, `The ${what} ${path} lies outside of ${root} and is not sent.`, {
      next: "Copy it into the project, or run berth in the folder above.",
    });
  };
  if (path.startsWith("/") || outside(full)) refuse();
  try {
    const real = await realpath(full);
    return outside(real) ? refuse() : real;
  } catch (error) {
    if (isCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** A file of the project by content. */
export async function projectFile(root: string, path: string): Promise<Answered> {
  const full = await insideProject(root, path, "file");
  if (full === undefined) return { state: "absent" };
  const handle = await open(full, "r");
  try {
    const found = await handle.stat();
    if (!found.isFile()) return { state: "absent" };
    if (found.size > mostBytes) throw new UsageError(`${join(root, path)} is larger than 2 MiB and is not sent.`);
    return { state: "there", text: await handle.readFile("utf8") };
  } finally {
    await handle.close();
  }
}

const above: ReadonlySet<string> = new Set(workspaceFiles);

/** A file in a folder above the project's, as far as its work tree reaches: only one of those that say what a workspace holds. */
export async function fileAbove(root: string, top: string | undefined, path: string): Promise<Answered> {
  if (top === undefined || !above.has(basename(path)))
    throw new Failure(exitCodes.failed, `The file ${path} lies outside of ${root} and is not sent.`, {
      next: "Copy it into the project, or run berth in the folder above.",
    });
  const full = resolve(root, path);
  return isBelow(full, top) ? projectFile(top, relative(top, full)) : { state: "absent" };
}

/** A folder above or beside the project's, as far as its work tree reaches: what holds its workspace or its neighbours. */
export async function folderAbove(root: string, top: string | undefined, path: string): Promise<string | undefined> {
  const full = resolve(root, path);
  if (top === undefined || !isBelow(full, top))
    throw new Failure(exitCodes.failed, `The folder ${path} lies outside of ${root} and is not sent.`, {
      next: "Run berth in the folder above.",
    });
  return insideProject(top, relative(top, full) || ".", "build context");
}

function isBelow(path: string, top: string): boolean {
  return path === top || path.startsWith(top + sep);
}

/** Variables that Compose itself reads. */
const wellKnown: ReadonlySet<string> = new Set(composeVariables);

/** A variable of the caller's shell, or null when it is not set. Only names that stand in a file that was sent are answered: nobody can ask for others. */
export function shellVariable(
  name: string,
  files: Readonly<Record<string, string>>,
  variable: (name: string) => string | undefined,
): string | null {
  if (!wellKnown.has(name) && !Object.values(files).some((text) => text.includes(name)))
    throw new Failure(exitCodes.failed, `The server asked for the variable ${name}, which no file of the project names; it is not sent.`);
  return variable(name) ?? null;
}
