// `berth tasks list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand } from "../../command.ts";
import { ago, took } from "../../output/time.ts";
import { stateStyle } from "../../view/states.ts";
import { listOptions, showList } from "../lists.ts";
import { commandText } from "../shown.ts";

export const command = defineCommand({
  path: ["tasks", "list"],
  scope: "component",
  summary: "List one-off and scheduled runs, newest first",
  options: {
    ...listOptions(lists.tasks),
    phase: choice("--phase <phase>", "only in this phase", ["queued", "running", "succeeded", "failed", "cancelled", "missed"]),
    trigger: choice("--trigger <trigger>", "only those that this started", ["user", "schedule", "release", "postdeploy"]),
  },
  examples: [
    ["berth tasks list -c nightly", "the history of a cron component"],
    ["berth tasks list -s shop --phase failed", "what failed"],
  ],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) =>
        api.listTasks(
          { params, query: { ...query, component: ctx.settings.component, phase: options.phase, trigger: options.trigger } },
          { signal: ctx.signal },
        ),
      [
        { title: "TASK", of: (task) => `#${task.number}`, align: "right", style: ctx.out.paint.bold },
        { title: "COMPONENT", of: (task) => task.component, shrink: 1 },
        { title: "PHASE", of: (task) => task.phase, style: stateStyle(ctx.out.paint) },
        { title: "EXIT", of: (task) => (task.exitCode === undefined ? (task.signal ?? "-") : String(task.exitCode)), align: "right" },
        { title: "STARTED", of: (task) => ago(task.startedAt ?? task.scheduledFor ?? task.createdAt, ctx.now()) },
        { title: "TOOK", of: (task) => took(task.startedAt, task.endedAt), align: "right", drop: 2 },
        { title: "BY", of: (task) => (task.trigger === "user" ? task.createdBy : task.trigger), shrink: 1, drop: 1 },
        { title: "COMMAND", of: (task) => commandText(task.command), shrink: 3 },
      ],
      "tasks",
    );
  },
});
