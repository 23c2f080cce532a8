// `berth builds cancel`
import { defineCommand, optional } from "../../command.ts";
import { buildNumber } from "../newest.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["builds", "cancel"],
  scope: "stack",
  summary: "Cancel a build",
  arguments: { build: optional("its number; default: the newest") },
  examples: [["berth builds cancel 12 -s shop", "ends it, and the rollouts that wait for it"]],
  async run(ctx, input) {
    const stack = await ctx.stack();
    const answer = await (
      await ctx.api()
    ).cancelBuild({ params: { stack, build: await buildNumber(ctx, stack, input.arguments.build) } }, { signal: ctx.signal });
    done(ctx, answer, `Build ${answer.number} is being cancelled.`);
  },
});
