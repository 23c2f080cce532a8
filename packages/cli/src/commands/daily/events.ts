// `berth events`
import { defineCommand, flag, integer, text } from "../../command.ts";
import { when } from "../../output/time.ts";
import { watchEvents } from "../watching.ts";

export const command = defineCommand({
  path: ["events"],
  scope: "component",
  summary: "What happened, and with -f what happens",
  options: {
    follow: flag("-f, --follow", "go on until Ctrl-C"),
    limit: integer("-n, --limit <n>", "the last ones; default: 30", 1),
    topics: text("--topics <topics>", "comma-separated, e.g. `component:shop/*,build:shop/3`"),
  },
  examples: [
    ["berth events", "the last thirty"],
    ["berth events -f -s shop", "of one stack, as they happen"],
  ],
  async run(ctx, { options }) {
    const api = await ctx.api();
    const { eventLine } = await import("../../view/events.ts");
    const { stack, component } = ctx.settings;
    const page = await api.listEvents(
      { query: { limit: options.limit ?? 30, topics: options.topics, stack, component } },
      { signal: ctx.signal },
    );
    const items = page.items.toReversed();
    if (ctx.out.json && !options.follow) return ctx.out.object(page);
    for (const event of items)
      ctx.out.line(ctx.out.json ? JSON.stringify(event) : `${ctx.out.paint.dim(when(event.at) ?? "")}  ${eventLine(event, ctx.out.paint)}`);
    if (options.follow) await watchEvents(ctx, { topics: options.topics, after: items.at(-1)?.id });
  },
});
