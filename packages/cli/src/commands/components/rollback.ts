// `berth rollback`
import { defineCommand, optional, text, readOrdinal } from "../../command.ts";

export const command = defineCommand({
  path: ["components", "rollback"],
  daily: "rollback",
  scope: "component",
  waits: true,
  summary: "Put an older release live again, artifact and config together",
  arguments: { component: optional("the component, instead of -c", "component") },
  options: { to: text("--to <release>", "the release; default: the one that was live before") },
  examples: [
    ["berth rollback web", "the release before this one"],
    ["berth rollback web --to v12", "a certain one; `berth releases list -c web` shows them"],
  ],
  async run(ctx, { arguments: { component }, options: { to } }) {
    const api = await ctx.api();
    const params = await ctx.inComponent(component);
    const deployment = await api.rollbackComponent(
      { params, body: to === undefined ? {} : { release: readOrdinal(to, "--to") } },
      { signal: ctx.signal },
    );
    const { follow } = await import("../../follow/follow.ts");
    if (ctx.out.json) ctx.out.object(deployment);
    return follow(ctx, deployment, "rolled back");
  },
});
