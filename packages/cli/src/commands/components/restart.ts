// `berth restart`
import { defineCommand, rest } from "../../command.ts";
import { chosenComponents } from "../chosen.ts";

export const command = defineCommand({
  path: ["components", "restart"],
  daily: "restart",
  scope: "component",
  waits: true,
  asks: true,
  summary: "Replace every instance, without losing a request",
  arguments: { components: rest("the components, instead of -c; none of them = all of the stack", "component") },
  examples: [
    ["berth restart web", "new instances of the same release"],
    ["berth restart -s shop --yes", "every component of the stack"],
  ],
  async run(ctx, { arguments: { components } }) {
    const api = await ctx.api();
    const { stack, names } = await chosenComponents(ctx, components, "Restarting");
    const rollouts = [];
    for (const component of names) {
      const answer = await api.restartComponent({ params: { stack, component } }, { signal: ctx.signal });
      if (ctx.out.json) ctx.out.object(answer);
      for (const number of [answer.rollout, ...(answer.further ?? [])]) if (number !== undefined) rollouts.push({ component, number });
    }
    const { follow } = await import("../../follow/follow.ts");
    return follow(ctx, { stack, rollouts, builds: [] }, "restarted");
  },
});
