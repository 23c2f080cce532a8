// `berth init`: asks the server how the folder becomes an image, and writes that into the folder. Replaces nothing that a person wrote without asking.
import { lstat, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { composeNames } from "@berth/contract/compose.ts";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";
import { uploadFolder } from "../pack/upload.ts";
import { stackOf } from "./up.ts";

export interface InitOptions {
  readonly root: string | undefined;
  readonly force: boolean;
  readonly dryRun: boolean;
}

type State = "written" | "unchanged" | "replaced" | "kept" | "skipped";

const dockerfileNames = ["Dockerfile", "Containerfile", "dockerfile"] as const;
const alikeNames = (path: string, names: readonly string[]): boolean => names.includes(basename(path));

/** Ends with `done` also when files were kept: that is what was asked for. */
export async function initFolder(ctx: Context, folder: string, options: InitOptions): Promise<number> {
  const stack = await stackOf(ctx, folder, []);
  const source = await uploadFolder(ctx, stack, folder);
  const answer = await (
    await ctx.api()
  ).explainSource(
    { body: { source: source.digest, files: true, ...(options.root === undefined ? {} : { root: options.root }) } },
    { signal: ctx.signal },
  );
  if (answer.missing !== undefined) throw new Failure(exitCodes.failed, answer.missing.sentence, { next: answer.missing.next });
  const files = answer.files ?? [];
  if (options.root !== undefined && join("/", answer.plan.root) !== join("/", options.root, "."))
    throw new Failure(
      exitCodes.failed,
      `${options.root} is built from ${answer.plan.root === "." ? "the folder above" : answer.plan.root}, because it needs files from there.`,
      { next: "Run `berth init` without --root, and adapt what it writes to the project that you mean." },
    );
  // A server says what is written, never where else.
  const outside = files.find(({ path }) => path.startsWith("/") || path.split("/").includes(".."));
  if (outside !== undefined) throw new Failure(exitCodes.failed, `The server named a file outside of the folder: ${outside.path}`);
  if (options.dryRun) {
    if (ctx.out.json) ctx.out.object(files);
    else ctx.out.lines(files.flatMap(({ path, text }) => [`--- ${path}`, ...text.trimEnd().split("\n"), ""]));
    return exitCodes.done;
  }
  const outcomes: { path: string; state: State }[] = [];
  for (const file of files) {
    // It fits the Dockerfile that Berth writes. For another, only its author knows what the build has to see.
    const ignoresFor = file.path.endsWith(".dockerignore") ? outcomes.find(({ path }) => alikeNames(path, dockerfileNames)) : undefined;
    outcomes.push(ignoresFor?.state === "kept" ? { path: file.path, state: "skipped" } : await settle(ctx, folder, file, options.force));
  }
  if (ctx.out.json) ctx.out.object(outcomes);
  else ctx.out.lines(outcomes.map(({ path, state }) => `${path}  ${said[state]}`));
  if (outcomes.some(({ state }) => state === "kept"))
    ctx.out.note("What was kept differs from what Berth would write: `berth init --dry-run` shows that, `berth init --force` takes it.");
  return exitCodes.done;
}

const said: Readonly<Record<State, string>> = {
  written: "written",
  unchanged: "is there already, and the same",
  replaced: "replaced",
  kept: "kept as it is",
  skipped: "not written: it is for the Dockerfile that was not written either",
};

async function settle(
  ctx: Context,
  folder: string,
  file: { readonly path: string; readonly text: string },
  force: boolean,
): Promise<{ path: string; state: State }> {
  const { path, text } = file;
  const target = join(folder, path);
  const there = await existing(target);
  if (there === undefined) {
    const other = await sameUnderAnotherName(folder, path);
    if (other !== undefined) return { path: other, state: "kept" };
    // Nobody may have put one there meanwhile.
    await writeFile(target, text, { flag: "wx" });
    return { path, state: "written" };
  }
  if (there.type === "file" && there.text === text) return { path, state: "unchanged" };
  if (there.type === "other") return { path, state: "kept" };
  if (!force && !(await agreed(ctx, path))) return { path, state: "kept" };
  await writeFile(target, text);
  return { path, state: "replaced" };
}

async function agreed(ctx: Context, path: string): Promise<boolean> {
  if (!ctx.prompt.possible) return false;
  return /^y(es)?$/i.test(
    (await ctx.prompt.ask(ctx.say("confirm", { question: `${path} is there and differs. Replace it?` }), ctx.signal)).trim(),
  );
}

/** undefined when nothing is there. A link is nobody's to write through. */
async function existing(path: string): Promise<{ readonly type: "file"; readonly text: string } | { readonly type: "other" } | undefined> {
  try {
    return (await lstat(path)).isFile() ? { type: "file", text: await readFile(path, "utf8") } : { type: "other" };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Two Compose files or two Dockerfiles side by side would leave it to chance which one counts. */
async function sameUnderAnotherName(folder: string, path: string): Promise<string | undefined> {
  const alike = [composeNames, dockerfileNames].find((names) => alikeNames(path, names));
  const at = dirname(path);
  for (const name of alike ?? []) {
    const other = at === "." ? name : `${at}/${name}`;
    if (other !== path && (await existing(join(folder, other))) !== undefined) return other;
  }
  return undefined;
}
