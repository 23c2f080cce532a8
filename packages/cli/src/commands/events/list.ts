// `berth events list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand, instant, text } from "../../command.ts";
import { when } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["events", "list"],
  scope: "component",
  summary: "List what happened, newest first",
  options: {
    ...listOptions(lists.events),
    topics: text("--topics <topics>", "comma-separated, e.g. `component:shop/*,build:shop/3`"),
    code: text("--code <code>", "only events with this code"),
    since: instant("--since <time>", "from then on"),
    until: instant("--until <time>", "before then"),
  },
  examples: [
    ["berth events list -s shop --limit 20", "the last twenty of a stack"],
    ["berth events list --code rollout_failed", "failed rollouts of everything you may see"],
  ],
  async run(ctx, { options }) {
    const api = await ctx.api();
    const { eventText } = await import("../../view/events.ts");
    const { stack, component } = ctx.settings;
    await showList(
      ctx,
      options,
      (query) =>
        api.listEvents(
          { query: { ...query, topics: options.topics, code: options.code, since: options.since, until: options.until, stack, component } },
          { signal: ctx.signal },
        ),
      [
        { title: "WHEN", of: (event) => when(event.at) ?? "", style: ctx.out.paint.dim },
        { title: "STACK", of: (event) => event.stack ?? "-", shrink: 1, drop: 1 },
        { title: "WHAT", of: (event) => eventText(event), shrink: 3 },
      ],
      "events",
    );
  },
});
