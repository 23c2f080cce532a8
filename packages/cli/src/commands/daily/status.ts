// `berth status`
import { defineCommand, flag } from "../../command.ts";

export const command = defineCommand({
  path: ["status"],
  scope: "component",
  summary: "How a stack's components are, where they answer, and why one does not",
  options: { watch: flag("-w, --watch", "go on showing it until Ctrl-C") },
  examples: [
    ["berth status", "the stack of this folder"],
    ["berth status -s shop --watch", "as it changes"],
    ["berth status --json", "the API's page of components"],
  ],
  async run(ctx, { options: { watch } }) {
    const { showStatus, watchStatus } = await import("../../view/status.ts");
    const stack = await ctx.stack();
    return watch ? watchStatus(ctx, stack) : showStatus(ctx, stack);
  },
});
