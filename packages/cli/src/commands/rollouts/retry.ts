// `berth rollouts retry`
import { defineCommand, optional } from "../../command.ts";
import { rolloutNumber, withFurther } from "../newest.ts";

export const command = defineCommand({
  path: ["rollouts", "retry"],
  scope: "component",
  waits: true,
  summary: "Try a rollout that ended badly again",
  arguments: { rollout: optional("its number; default: the newest") },
  examples: [["berth rollouts retry -c web", "the newest one, as a new rollout"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const params = await ctx.inComponent();
    const rollout = await rolloutNumber(ctx, params, input.arguments.rollout);
    const answer = await api.retryRollout({ params: { ...params, rollout } }, { signal: ctx.signal });
    if (ctx.out.json) ctx.out.object(answer);
    const { follow } = await import("../../follow/follow.ts");
    return follow(ctx, { stack: params.stack, rollouts: await withFurther(ctx, params, answer.number), builds: [] }, "released");
  },
});
