// `berth scale`
import { defineCommand, rest } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { parseScale } from "../../view/scale.ts";

export const command = defineCommand({
  path: ["components", "scale"],
  daily: "scale",
  scope: "component",
  waits: true,
  summary: "Set how many instances run",
  arguments: { replicas: rest("a number for the component, or several `component=number`") },
  examples: [
    ["berth scale 3 -c web", "three instances of web"],
    ["berth scale web=3 worker=2 -s shop", "two components at once"],
  ],
  async run(ctx, { arguments: { replicas } }) {
    const wanted = parseScale(replicas);
    if (wanted.length === 0) throw new UsageError("How many instances?", "For example `berth scale 3 -c web` or `berth scale web=3`.");
    const api = await ctx.api();
    const stack = await ctx.stack();
    const answers = [];
    for (const { component, count } of wanted)
      answers.push(
        await api.scaleComponent(
          { params: { stack, component: await ctx.component(stack, component) }, body: { replicas: count } },
          { signal: ctx.signal },
        ),
      );
    const { untilSteady } = await import("../../follow/steady.ts");
    const settled = ctx.settings.wait ? await untilSteady(ctx, stack, answers) : answers;
    if (ctx.out.json) for (const component of settled) ctx.out.object(component);
    else for (const component of settled) ctx.out.line(`${component.name}: ${component.ready} of ${component.replicas} ready`);
  },
});
