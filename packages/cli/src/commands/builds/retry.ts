// `berth builds retry`
import { defineCommand, optional } from "../../command.ts";
import { buildNumber } from "../newest.ts";

export const command = defineCommand({
  path: ["builds", "retry"],
  scope: "stack",
  waits: true,
  summary: "Run a build again, with the rollouts that waited for it",
  arguments: { build: optional("its number; default: the newest") },
  examples: [["berth builds retry -s shop", "the newest build, once more"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const answer = await api.retryBuild(
      { params: { stack, build: await buildNumber(ctx, stack, input.arguments.build) } },
      { signal: ctx.signal },
    );
    if (ctx.out.json) ctx.out.object(answer);
    const { follow } = await import("../../follow/follow.ts");
    const { items } = await api.listStackRollouts({ params: { stack }, query: { limit: 200 } }, { signal: ctx.signal });
    const rollouts = items
      .filter((rollout) => rollout.build === answer.number && rollout.endedAt === undefined)
      .map(({ component, number }) => ({ component, number }));
    return follow(
      ctx,
      { stack, rollouts, builds: [{ number: answer.number, components: rollouts.map((rollout) => rollout.component) }] },
      "released",
    );
  },
});
