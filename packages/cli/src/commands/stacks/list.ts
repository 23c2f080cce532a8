// `berth stacks list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand, text } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { stateStyle, stateText } from "../../view/states.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["stacks", "list"],
  scope: "none",
  summary: "List stacks",
  options: {
    ...listOptions(lists.stacks),
    state: choice("--state <state>", "only stacks in this state", ["empty", "healthy", "progressing", "degraded", "stopped", "deleting"]),
    team: text("--team <team>", "only stacks of this team"),
    cluster: text("--cluster <cluster>", "only stacks on this cluster"),
  },
  examples: [
    ["berth stacks list", "every stack that you may see"],
    ["berth stacks list --state degraded --json", "the ones in trouble, for a script"],
  ],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) =>
        api.listStacks({ query: { ...query, state: options.state, team: options.team, cluster: options.cluster } }, { signal: ctx.signal }),
      [
        { title: "STACK", of: (stack) => stack.name, shrink: 1, style: ctx.out.paint.bold },
        { title: "STATE", of: (stack) => stateText(stack, ctx.now()), style: stateStyle(ctx.out.paint) },
        { title: "COMPONENTS", of: (stack) => String(stack.components), align: "right", drop: 2 },
        { title: "VERSION", of: (stack) => (stack.version === 0 ? "-" : String(stack.version)), align: "right", drop: 3 },
        { title: "CLUSTER", of: (stack) => stack.cluster, shrink: 1, drop: 4 },
        { title: "CHANGED", of: (stack) => ago(stack.updatedAt, ctx.now()), drop: 1 },
        { title: "URL", of: (stack) => stack.urls[0] ?? "", shrink: 3, least: 28, drop: 5, style: ctx.out.paint.link },
      ],
      "stacks",
    );
  },
});
