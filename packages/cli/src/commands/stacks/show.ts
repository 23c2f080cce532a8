// `berth stacks show`
import { defineCommand, optional } from "../../command.ts";
import { ago, when } from "../../output/time.ts";
import { stateStyle, stateText } from "../../view/states.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["stacks", "show"],
  scope: "stack",
  summary: "Show a stack",
  arguments: { stack: optional("the stack, instead of -s", "stack") },
  examples: [["berth stacks show shop", "state, version and URLs of the stack `shop`"]],
  async run(ctx, input) {
    const stack = await (
      await ctx.api()
    ).showStack({ params: { stack: input.arguments.stack ?? (await ctx.stack()) } }, { signal: ctx.signal });
    showObject(ctx, stack, [
      ["stack", ctx.out.paint.bold(stack.name)],
      ["state", stateStyle(ctx.out.paint)(stateText(stack, ctx.now()))],
      ["team", stack.team],
      ["cluster", stack.cluster],
      ["RUN_ENV", stack.runEnv],
      ["drift", stack.drift],
      ["components", String(stack.components)],
      ["version", stack.version === 0 ? "-" : String(stack.version)],
      ["created", when(stack.createdAt)],
      ["changed", ago(stack.updatedAt, ctx.now())],
      ["URLs", stack.urls.length === 0 ? undefined : stack.urls.map(ctx.out.paint.link).join("\n")],
    ]);
  },
});
