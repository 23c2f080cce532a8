// `berth tasks logs`
import { defineCommand, flag, instant, integer, optional } from "../../command.ts";
import { taskNumber } from "../newest.ts";

export const command = defineCommand({
  path: ["tasks", "logs"],
  scope: "component",
  summary: "Read or follow a task's output",
  arguments: { task: optional("its number; default: the newest") },
  options: {
    follow: flag("-f, --follow", "go on until the task ends"),
    tail: integer("-n, --tail <n>", "only the last lines"),
    since: instant("--since <time>", "only what is newer: 10m, 2h or an instant"),
  },
  examples: [
    ["berth tasks logs 3 -s shop", "all that it printed"],
    ["berth tasks logs -f -c nightly", "the newest run, as it goes on"],
  ],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const { options } = input;
    const { logText } = await import("../../view/logs.ts");
    const stream = api.readTaskLogs(
      {
        params: { stack, task: await taskNumber(ctx, stack, input.arguments.task) },
        query: { follow: options.follow, tail: options.tail, since: options.since },
      },
      { signal: ctx.signal },
    );
    for await (const { data } of stream) await ctx.out.write(ctx.out.json ? `${JSON.stringify(data)}\n` : `${logText(data, ctx.out)}\n`);
  },
});
