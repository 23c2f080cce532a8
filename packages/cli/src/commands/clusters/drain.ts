// `berth clusters drain`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["clusters", "drain"],
  scope: "none",
  summary: "Keep new stacks away from a cluster",
  arguments: { cluster: required("its name") },
  examples: [["berth clusters drain fra1", "what runs there goes on"]],
  async run(ctx, { arguments: { cluster } }) {
    const changed = await (await ctx.api()).changeCluster({ params: { cluster }, body: { draining: true } }, { signal: ctx.signal });
    done(ctx, changed, `${cluster} takes no new stacks; what it has goes on.`);
  },
});
