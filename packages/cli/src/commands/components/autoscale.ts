// `berth autoscale`
import { defineCommand, flag, integer, optional } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { autoscaleText } from "../../view/autoscale.ts";

export const command = defineCommand({
  path: ["components", "autoscale"],
  daily: "autoscale",
  scope: "component",
  summary: "Let what instances use decide how many run",
  description:
    "What is left out stays as it is. A Compose file that says `autoscale` under `x-berth` has the last word with the next `berth up`, and so has one that leaves it out.",
  arguments: { component: optional("the component, instead of -c", "component") },
  options: {
    min: integer("--min <n>", "at least so many instances", 1),
    max: integer("--max <n>", "at most so many", 1),
    cpu: integer("--cpu <percent>", "of its cpu limit that an instance should use on average", 1),
    memory: integer("--memory <percent>", "the same of its memory limit", 1),
    off: flag("--off", "keep as many as there are now, and scale by hand again"),
  },
  examples: [
    ["berth autoscale web --min 2 --max 10 --cpu 70", "between two and ten, as many as use 70% of their cpu on average"],
    ["berth autoscale web --max 20", "only another most"],
    ["berth autoscale web --off", "as many as there are now stay"],
  ],
  async run(ctx, { arguments: { component: named }, options: { min, max, cpu, memory, off } }) {
    const given = Object.fromEntries(Object.entries({ min, max, cpu, memory }).filter(([, value]) => value !== undefined));
    if (off === Object.keys(given).length > 0)
      throw new UsageError(
        "What should it do?",
        "For example `berth autoscale web --min 2 --max 10 --cpu 70`, or `berth autoscale web --off`.",
      );
    const api = await ctx.api();
    const params = await ctx.inComponent(named);
    const before = off ? undefined : (await api.showComponent({ params }, { signal: ctx.signal })).spec.autoscale;
    const wanted = { ...before, ...given };
    const least = wanted.min ?? 1;
    if (!off && wanted.max === undefined)
      throw new UsageError("How many instances at most?", "`--max 10`, for example: without it nothing bounds what a load may cost.");
    const component = await api.autoscaleComponent(
      { params, body: off ? {} : { autoscale: { ...wanted, min: least, max: wanted.max ?? least } } },
      { signal: ctx.signal },
    );
    if (ctx.out.json) ctx.out.object(component);
    else ctx.out.line(`${component.name}: ${autoscaleText(component) ?? `${component.replicas} instances, scaled by hand`}`);
  },
});
