// `berth tasks cancel`
import { defineCommand, optional } from "../../command.ts";
import { taskNumber } from "../newest.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["tasks", "cancel"],
  scope: "component",
  summary: "Cancel a task",
  arguments: { task: optional("its number; default: the newest") },
  examples: [["berth tasks cancel 3 -s shop", "SIGTERM, and SIGKILL after the grace period"]],
  async run(ctx, input) {
    const stack = await ctx.stack();
    const task = await (
      await ctx.api()
    ).cancelTask({ params: { stack, task: await taskNumber(ctx, stack, input.arguments.task) } }, { signal: ctx.signal });
    done(ctx, task, `Task ${task.number} is being cancelled.`);
  },
});
