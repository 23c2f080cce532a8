// `berth clusters undrain`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["clusters", "undrain"],
  scope: "none",
  summary: "Let a cluster take new stacks again",
  arguments: { cluster: required("its name") },
  examples: [["berth clusters undrain fra1", "as before it was drained"]],
  async run(ctx, { arguments: { cluster } }) {
    const changed = await (await ctx.api()).changeCluster({ params: { cluster }, body: { draining: false } }, { signal: ctx.signal });
    done(ctx, changed, `${cluster} takes new stacks again.`);
  },
});
