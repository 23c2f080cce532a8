// `berth stacks export`
import { defineCommand, optional } from "../../command.ts";

export const command = defineCommand({
  path: ["stacks", "export"],
  scope: "stack",
  summary: "Write a stack as a Compose file",
  arguments: { stack: optional("the stack, instead of -s", "stack") },
  examples: [["berth stacks export shop > compose.yaml", "a file that `berth up` understands; secrets stay references"]],
  async run(ctx, input) {
    const answer = await (
      await ctx.api()
    ).exportStack({ params: { stack: input.arguments.stack ?? (await ctx.stack()) } }, { signal: ctx.signal });
    if (ctx.out.json) ctx.out.object(answer);
    else await ctx.out.write(answer.compose.endsWith("\n") ? answer.compose : `${answer.compose}\n`);
  },
});
