// `berth start`
import { defineCommand, rest } from "../../command.ts";
import { chosenComponents } from "../chosen.ts";

export const command = defineCommand({
  path: ["components", "start"],
  daily: "start",
  scope: "component",
  waits: true,
  asks: true,
  summary: "Start stopped components",
  arguments: { components: rest("the components, instead of -c; none of them = all of the stack", "component") },
  examples: [
    ["berth start worker", "the worker of this stack"],
    ["berth start -s shop --yes", "every component of the stack"],
  ],
  async run(ctx, { arguments: { components } }) {
    const api = await ctx.api();
    const { stack, names } = await chosenComponents(ctx, components, "Starting");
    const answers = [];
    for (const component of names) answers.push(await api.startComponent({ params: { stack, component } }, { signal: ctx.signal }));
    const { untilSteady } = await import("../../follow/steady.ts");
    const settled = ctx.settings.wait ? await untilSteady(ctx, stack, answers) : answers;
    for (const component of settled) {
      if (ctx.out.json) ctx.out.object(component);
      else ctx.out.line(`${component.name}: ${component.state}`);
    }
  },
});
