// The newest of a numbered thing, for verbs whose number may be left out.
import { readOrdinal } from "../command.ts";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";

/** The given rollout, or the component's newest. */
export async function rolloutNumber(
  ctx: Context,
  params: { readonly stack: string; readonly component: string },
  given: string | undefined,
): Promise<number> {
  if (given !== undefined) return readOrdinal(given, "<rollout>");
  const { items } = await (await ctx.api()).listRollouts({ params, query: { limit: 1 } }, { signal: ctx.signal });
  if (items[0] === undefined)
    throw new Failure(exitCodes.notAllowed, `${params.component} has no rollouts yet.`, {
      next: `\`berth deploy -c ${params.component}\` makes the first.`,
    });
  return items[0].number;
}

/** With it those of the same component in the clusters after it. */
export async function withFurther(
  ctx: Context,
  params: { readonly stack: string; readonly component: string },
  number: number,
): Promise<{ readonly component: string; readonly number: number }[]> {
  const { items } = await (await ctx.api()).listRollouts({ params, query: { limit: 200 } }, { signal: ctx.signal });
  const further = items.filter((rollout) => rollout.number > number && rollout.endedAt === undefined).map((rollout) => rollout.number);
  return [number, ...further.toSorted((one, other) => one - other)].map((one) => ({ component: params.component, number: one }));
}

/** The given one, or the first that is under way, or the newest. */
export async function openRolloutNumber(
  ctx: Context,
  params: { readonly stack: string; readonly component: string },
  given: string | undefined,
): Promise<number> {
  if (given !== undefined) return readOrdinal(given, "<rollout>");
  const { items } = await (await ctx.api()).listRollouts({ params, query: { limit: 200 } }, { signal: ctx.signal });
  const open = items.filter((rollout) => rollout.endedAt === undefined).map((rollout) => rollout.number);
  return open.length > 0 ? Math.min(...open) : rolloutNumber(ctx, params, undefined);
}

/** The given build, or the stack's newest. */
export async function buildNumber(ctx: Context, stack: string, given: string | undefined): Promise<number> {
  if (given !== undefined) return readOrdinal(given, "<build>");
  const { items } = await (await ctx.api()).listBuilds({ params: { stack }, query: { limit: 1 } }, { signal: ctx.signal });
  if (items[0] === undefined)
    throw new Failure(exitCodes.notAllowed, `${stack} has no builds yet.`, { next: "`berth up` makes the first." });
  return items[0].number;
}

/** The given task, or the stack's newest. */
export async function taskNumber(ctx: Context, stack: string, given: string | undefined): Promise<number> {
  if (given !== undefined) return readOrdinal(given, "<task>");
  const { items } = await (
    await ctx.api()
  ).listTasks({ params: { stack }, query: { limit: 1, component: ctx.settings.component } }, { signal: ctx.signal });
  if (items[0] === undefined)
    throw new Failure(exitCodes.notAllowed, `${stack} has no tasks yet.`, { next: "`berth run -c <component> -- <command>` makes one." });
  return items[0].number;
}
