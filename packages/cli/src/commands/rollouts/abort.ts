// `berth rollouts abort`
import { defineCommand, optional } from "../../command.ts";
import { openRolloutNumber } from "../newest.ts";

export const command = defineCommand({
  path: ["rollouts", "abort"],
  scope: "component",
  waits: true,
  summary: "Stop a rollout; the release that served before keeps serving",
  arguments: { rollout: optional("its number; default: the newest") },
  examples: [
    ["berth rollouts abort -c web", "the one under way"],
    ["berth rollouts abort 7 -c web", "a certain one"],
  ],
  async run(ctx, input) {
    const api = await ctx.api();
    const params = await ctx.inComponent();
    const rollout = await openRolloutNumber(ctx, params, input.arguments.rollout);
    const answer = await api.abortRollout({ params: { ...params, rollout } }, { signal: ctx.signal });
    if (ctx.out.json) ctx.out.object(answer);
    const { follow } = await import("../../follow/follow.ts");
    return follow(ctx, { stack: params.stack, rollouts: [{ component: params.component, number: answer.number }], builds: [] }, "aborted");
  },
});
