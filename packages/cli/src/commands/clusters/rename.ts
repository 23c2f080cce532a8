// `berth clusters rename`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["clusters", "rename"],
  scope: "none",
  summary: "Call a cluster otherwise",
  description:
    "Only the name changes: nothing that runs there is touched, and no release begins. The name before goes on leading to the cluster for as long as it is there, in commands, in the API and in what was written with it; so no other cluster can have it.",
  arguments: { cluster: required("its name"), to: required("what it is called from now on") },
  examples: [["berth clusters rename prod-2 prod", "after the old prod was removed"]],
  async run(ctx, { arguments: { cluster, to } }) {
    const changed = await (await ctx.api()).changeCluster({ params: { cluster }, body: { name: to } }, { signal: ctx.signal });
    const before = changed.formerNames ?? [];
    const lead = before.length === 1 ? "leads" : "lead";
    done(
      ctx,
      changed,
      `${cluster} is called ${changed.name} now${before.length === 0 ? "." : `; ${before.join(", ")} ${lead} to it as before.`}`,
    );
  },
});
