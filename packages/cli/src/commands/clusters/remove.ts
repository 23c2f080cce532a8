// `berth clusters remove`
import { defineCommand, flag, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["clusters", "remove"],
  scope: "none",
  asks: true,
  summary: "Remove a cluster that has no stacks any more, and what Berth has put there for itself",
  arguments: { cluster: required("its name") },
  options: { unreached: flag("--unreached", "also when it does not answer: what Berth has there stays there") },
  examples: [["berth clusters remove fra1", "asks first"]],
  async run(ctx, { arguments: { cluster }, options: { unreached } }) {
    await ctx.confirm(`Removing cluster ${cluster}`, `Remove cluster ${cluster}?`);
    const query = unreached ? { unreached } : {};
    done(ctx, await (await ctx.api()).removeCluster({ params: { cluster }, query }, { signal: ctx.signal }), `${cluster} is removed.`);
  },
});
