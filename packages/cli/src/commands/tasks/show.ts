// `berth tasks show`
import { defineCommand, optional } from "../../command.ts";
import { duration, when } from "../../output/time.ts";
import { stateStyle } from "../../view/states.ts";
import { taskNumber } from "../newest.ts";
import { commandText, showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["tasks", "show"],
  scope: "component",
  summary: "Show a task",
  arguments: { task: optional("its number; default: the newest") },
  examples: [["berth tasks show 3 -s shop", "how it ended, and why"]],
  async run(ctx, input) {
    const stack = await ctx.stack();
    const task = await (
      await ctx.api()
    ).showTask({ params: { stack, task: await taskNumber(ctx, stack, input.arguments.task) } }, { signal: ctx.signal });
    const { causeLines } = await import("../../view/cause.ts");
    showObject(ctx, task, [
      ["task", ctx.out.paint.bold(`#${task.number}`)],
      ["component", task.component],
      ["stack", task.stack],
      ["phase", stateStyle(ctx.out.paint)(task.phase)],
      ["command", commandText(task.command)],
      ["release", task.release === undefined ? undefined : `v${task.release}`],
      ["exit code", task.exitCode === undefined ? undefined : String(task.exitCode)],
      ["signal", task.signal],
      [
        "asked for",
        task.trigger === "schedule"
          ? `by the schedule, for ${when(task.scheduledFor)}`
          : task.trigger === "release"
            ? "as the release command, before the release went live"
            : task.trigger === "postdeploy"
              ? "by app.json, once after the first release"
              : `${when(task.createdAt)} by ${task.createdBy}`,
      ],
      [
        "took",
        task.startedAt === undefined || task.endedAt === undefined
          ? undefined
          : duration(Date.parse(task.endedAt) - Date.parse(task.startedAt)),
      ],
      ["cause", task.cause === undefined ? undefined : causeLines(task.cause, ctx.out.paint).join("\n")],
    ]);
  },
});
