// `berth components delete`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["components", "delete"],
  scope: "stack",
  asks: true,
  waits: true,
  summary: "Remove a component; its volumes stay",
  arguments: { component: required("the component", "component") },
  examples: [["berth components delete worker -s shop", "stops and removes it; asks first"]],
  async run(ctx, { arguments: { component } }) {
    const api = await ctx.api();
    const params = { stack: await ctx.stack(), component };
    await api.showComponent({ params }, { signal: ctx.signal });
    await ctx.confirm(`Deleting component ${component}`, `Remove component ${component} of stack ${params.stack}? Its volumes stay.`);
    const answer = await api.deleteComponent({ params }, { signal: ctx.signal });
    if (ctx.settings.wait) {
      ctx.watch = `\`berth status -s ${params.stack}\` shows it until it is gone.`;
      const { untilGone } = await import("../../follow/gone.ts");
      await untilGone(ctx, `component:${params.stack}/${component}`, () => api.showComponent({ params }, { signal: ctx.signal }));
    }
    done(ctx, answer, ctx.settings.wait ? `Component ${component} was removed.` : `Component ${component} is being removed.`);
  },
});
