// Following the one watch stream, for everything or for one stack or component.
import type { Context } from "../context.ts";
import { when } from "../output/time.ts";

export async function watchEvents(
  ctx: Context,
  options: { readonly topics: string | undefined; readonly after: string | undefined },
): Promise<void> {
  const api = await ctx.api();
  const { eventLine } = await import("../view/events.ts");
  const { stack, component } = ctx.settings;
  const own = stack === undefined ? undefined : component === undefined ? `stack:${stack}` : `component:${stack}/${component}`;
  const stream = api.watch(
    { query: { topics: options.topics ?? own, after: options.after } },
    {
      signal: ctx.signal,
      onReconnect: () => {
        ctx.out.note("The connection broke; connecting again ...");
      },
    },
  );
  for await (const { data } of stream)
    await ctx.out.write(
      ctx.out.json ? `${JSON.stringify(data)}\n` : `${ctx.out.paint.dim(when(data.at) ?? "")}  ${eventLine(data, ctx.out.paint)}\n`,
    );
}
