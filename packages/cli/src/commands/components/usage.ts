// `berth components usage`
import { defineCommand } from "../../command.ts";
import { labelOf } from "../../follow/model.ts";
import { age, bytes } from "../../output/time.ts";

export const command = defineCommand({
  path: ["components", "usage"],
  scope: "stack",
  summary: "What a stack's instances use now",
  examples: [["berth components usage -s shop", "memory, processor time and processes per instance"]],
  async run(ctx) {
    const answer = await (await ctx.api()).showUsage({ params: { stack: await ctx.stack() } }, { signal: ctx.signal });
    if (ctx.out.json) return ctx.out.object(answer);
    const rows = answer.items.flatMap((item) => item.instances.map((usage) => ({ component: item.component, ...usage })));
    for (const cluster of answer.away ?? []) ctx.out.note(ctx.say("usage_away", { cluster }));
    if (rows.length === 0) return ctx.out.note(ctx.say("nothing", { what: "running instances" }));
    ctx.out.table(
      [
        { title: "COMPONENT", of: labelOf, style: ctx.out.paint.bold, shrink: 1 },
        { title: "INSTANCE", of: (row) => row.instance, shrink: 2 },
        { title: "MEMORY", of: (row) => bytes(row.memory), align: "right" },
        {
          title: "PROCESSOR TIME",
          of: (row) => (row.cpuSeconds < 60 ? `${row.cpuSeconds.toFixed(1)}s` : age(row.cpuSeconds * 1000)),
          align: "right",
          drop: 2,
        },
        { title: "PROCESSES", of: (row) => String(row.processes), align: "right", drop: 1 },
      ],
      rows,
    );
  },
});
