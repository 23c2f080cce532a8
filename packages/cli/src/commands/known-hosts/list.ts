// `berth known-hosts list`
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  path: ["known-hosts", "list"], scope: "none", summary: "List the ssh host keys that git may trust",
  examples: [["berth known-hosts list", "one line each, as in ~/.ssh/known_hosts"]],
  async run(ctx) {
    const answer = await (await ctx.api()).listKnownHosts({}, { signal: ctx.signal });
    if (ctx.out.json) ctx.out.object(answer);
    else if (answer.lines.length === 0) ctx.out.note(ctx.say("nothing", { what: "known hosts" }));
    else ctx.out.lines(answer.lines);
  },
});
