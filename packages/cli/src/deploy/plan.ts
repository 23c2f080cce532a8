// The conversation that ends with a plan: the server says what it still needs, and gets files, variables and uploads until the plan is ready.
import { realpath } from "node:fs/promises";
import { relative, sep } from "node:path";
import { composeNames, composeVariables, overrideNames } from "@berth/contract/compose.ts";
import type { PlanRequest, StackPlan } from "@berth/contract/resources/plans.ts";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";
import { uploadFolder } from "../pack/upload.ts";
import { workTreeTop } from "../pack/git.ts";
import { fileAbove, folderAbove, insideProject, projectFile, shellVariable } from "./files.ts";

export interface PlanWish {
  readonly stack: string;
  /** The project's folder. */
  readonly folder: string;
  readonly composeFiles: readonly string[];
  readonly profiles: readonly string[];
  readonly component?: string | undefined;
  readonly overrides?: PlanRequest["overrides"] | undefined;
  readonly prune?: boolean | undefined;
  readonly runEnv?: string | undefined;
  /** Of a stack that is not there yet. */
  readonly cluster?: string | undefined;
  readonly team?: string | undefined;
  /** Says what is uploaded; for `berth plan`, which explains each context. */
  readonly onSource?: ((context: string, digest: string) => void) | undefined;
}

const mostRounds = 30;

/** Errors: everything that the server says of the Compose file, and Failure for files that may not be sent. */
export async function makePlan(ctx: Context, wish: PlanWish): Promise<StackPlan> {
  const api = await ctx.api();
  const root = await realpath(wish.folder);
  const top = await workTreeTop(root);
  const within = top === undefined ? undefined : relative(top, root).split(sep).join("/") || undefined;
  const files: Record<string, string> = {};
  const absent = new Set<string>();
  // Whether there is a Compose file at all depends on these.
  const variables: Record<string, string | null> = Object.fromEntries(
    composeVariables.map((name) => [name, ctx.surroundings.variable(name) ?? null]),
  );
  const sources: Record<string, string> = {};
  const send = async (path: string): Promise<void> => {
    const answered = path.startsWith("../") ? await fileAbove(root, top, path) : await projectFile(root, path);
    if (answered.state === "there") files[path] = answered.text;
    else absent.add(path);
  };
  // What is asked for nearly always goes along at once.
  for (const path of wish.composeFiles.length > 0 ? [...wish.composeFiles, ".env"] : [...composeNames, ...overrideNames, ".env"])
    await send(path);
  for (let round = 0; round < mostRounds; round += 1) {
    const answer = await api.createPlan(
      {
        params: { stack: wish.stack },
        body: {
          files,
          absent: [...absent],
          composeFiles: [...wish.composeFiles],
          variables,
          profiles: [...wish.profiles],
          sources,
          ...(within === undefined ? {} : { within }),
          ...(wish.component === undefined ? {} : { component: wish.component }),
          ...(wish.overrides === undefined ? {} : { overrides: wish.overrides }),
          ...(wish.prune === undefined ? {} : { prune: wish.prune }),
          ...(wish.runEnv === undefined ? {} : { runEnv: wish.runEnv }),
          ...(wish.cluster === undefined ? {} : { cluster: wish.cluster }),
          ...(wish.team === undefined ? {} : { team: wish.team }),
        },
      },
      { signal: ctx.signal },
    );
    if (answer.status === "ready") return answer;
    const news = [
      ...answer.files.filter((path) => !(path in files) && !absent.has(path)),
      ...answer.variables.filter((name) => !(name in variables)),
      ...answer.contexts.filter((context) => !(context in sources)),
    ];
    if (news.length === 0)
      throw new Failure(exitCodes.failed, "The server asks for what it was sent already, so that no plan comes about.", {
        next: "`berth doctor` may know why; `berth --version` and the server's should not be far apart.",
      });
    for (const path of answer.files) await send(path);
    for (const name of answer.variables) variables[name] = shellVariable(name, files, ctx.surroundings.variable);
    for (const context of answer.contexts) {
      const folder =
        context === ".." || context.startsWith("../")
          ? await folderAbove(root, top, context)
          : await insideProject(root, context, "build context");
      if (folder === undefined)
        throw new Failure(exitCodes.failed, `There is no folder ${context}, which the Compose file names as build context.`, {
          next: "Correct `build:` or create the folder.",
        });
      const source = await uploadFolder(
        ctx,
        wish.stack,
        folder,
        context === "." ? "the folder" : folder === top ? `all of ${folder}, the repository that it belongs to` : context,
      );
      sources[context] = source.digest;
      wish.onSource?.(context, source.digest);
    }
  }
  throw new Failure(exitCodes.failed, "The server kept asking for more files, so that no plan came about.");
}
