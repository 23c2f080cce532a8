// Which components a verb that takes several of them means.
import type { Context } from "../context.ts";
import { UsageError } from "../failure.ts";

/** The named ones, else -c, else every component of the stack after asking. `doing` begins the sentence: `Stopping`. */
export async function chosenComponents(
  ctx: Context,
  named: readonly string[],
  doing: string,
): Promise<{ readonly stack: string; readonly names: readonly string[] }> {
  const stack = await ctx.stack();
  if (named.length > 0) return { stack, names: named };
  if (ctx.settings.component !== undefined) return { stack, names: [ctx.settings.component] };
  const { items } = await (await ctx.api()).listComponents({ params: { stack }, query: { limit: 500 } }, { signal: ctx.signal });
  // A cron component has no instances of its own.
  const names = items.filter((item) => item.kind !== "cron" && item.state !== "deleting").map((item) => item.name);
  if (names.length === 0) throw new UsageError(ctx.say("no_component", { stack }), ctx.say("no_component_none", { stack }));
  if (names.length > 1)
    await ctx.confirm(`${doing} all components of ${stack}`, `${doing} ${names.join(", ")} of stack ${stack}: all right?`);
  return { stack, names };
}
