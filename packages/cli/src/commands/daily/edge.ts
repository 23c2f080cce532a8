// `berth edge`: passed on to the server's own program.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["edge"], scope: "none", raw: true, hidden: true, summary: "The router and supervisor of this machine; the server starts it",
  arguments: { rest: rest("passed on as it is") },
  examples: [["berth edge --help", "what it takes"]],
  async run(_ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    return delegate(["edge", ...input.arguments.rest]);
  },
});
