// `berth plan`: what `berth up` would do, and why a folder is taken for what it is. Applies nothing.
import { ApiError } from "@berth/contract/client-errors.ts";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";
import { uploadFolder } from "../pack/upload.ts";
import { guessStack } from "../project.ts";
import { makePlan } from "./plan.ts";
import { planLines } from "./planview.ts";
import { stackOf } from "./up.ts";

export interface PlanOptions {
  readonly source: boolean;
  readonly root: string | undefined;
  readonly image: boolean;
  readonly file: readonly string[];
  readonly profile: readonly string[];
  readonly prune: boolean;
  readonly cluster: string | undefined;
  readonly team: string | undefined;
}

export async function showPlan(ctx: Context, folder: string, options: PlanOptions): Promise<number> {
  const stack = await stackOf(ctx, folder, options.file);
  const compose = options.file.length > 0 || (await guessStack(folder, ctx.surroundings.variable)).compose;
  const folderItself = options.source || options.root !== undefined || options.image;
  if (folderItself || (!compose && !(await exists(ctx, stack)))) return explain(ctx, stack, folder, options);
  const plan = await makePlan(ctx, {
    stack,
    folder,
    composeFiles: options.file,
    profiles: options.profile,
    component: ctx.settings.component,
    cluster: options.cluster,
    team: options.team,
    ...(options.prune ? { prune: true } : {}),
  });
  if (ctx.out.json) ctx.out.object(plan);
  else ctx.out.lines(planLines(plan, ctx.out.paint, true));
  return exitCodes.done;
}

/** A stack that is there has something to compare with: its definition, config and secrets. */
async function exists(ctx: Context, stack: string): Promise<boolean> {
  try {
    await (await ctx.api()).showStack({ params: { stack } }, { signal: ctx.signal });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_found") return false;
    throw error;
  }
}

async function explain(ctx: Context, stack: string, folder: string, options: PlanOptions): Promise<number> {
  const source = await uploadFolder(ctx, stack, folder);
  const answer = await (
    await ctx.api()
  ).explainSource(
    {
      body: {
        source: source.digest,
        ...(options.root === undefined ? {} : { root: options.root }),
        ...(options.image ? { prefer: "image" as const } : {}),
      },
    },
    { signal: ctx.signal },
  );
  if (ctx.out.json) ctx.out.object(answer);
  else ctx.out.lines(answer.lines);
  if (answer.missing !== undefined && !ctx.out.json)
    throw new Failure(exitCodes.failed, answer.missing.sentence, { next: answer.missing.next });
  return exitCodes.done;
}
