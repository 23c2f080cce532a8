// `berth builds logs`
import { defineCommand, flag, optional } from "../../command.ts";
import { buildNumber } from "../newest.ts";

export const command = defineCommand({
  path: ["builds", "logs"],
  scope: "stack",
  summary: "Read or follow a build's log",
  arguments: { build: optional("its number; default: the newest") },
  options: { follow: flag("-f, --follow", "go on until the build ends") },
  examples: [
    ["berth builds logs -s shop", "the newest build's log"],
    ["berth builds logs 12 -f", "one that is under way"],
  ],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const build = await buildNumber(ctx, stack, input.arguments.build);
    const { buildLine } = await import("../../view/logs.ts");
    let lines = 0;
    for await (const { data } of api.readBuildLogs(
      { params: { stack, build }, query: { follow: input.options.follow } },
      { signal: ctx.signal },
    )) {
      lines += 1;
      await ctx.out.write(ctx.out.json ? `${JSON.stringify(data)}\n` : `${buildLine(data, ctx.out)}\n`);
    }
    if (lines === 0) ctx.out.note(ctx.say("nothing", { what: `lines in the log of build ${build}` }));
  },
});
