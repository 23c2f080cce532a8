// `berth stacks quota`
import { defineCommand, flag, integer, optional, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { quotaFacts, readCores, readMemory } from "../../view/quota.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["stacks", "quota"],
  scope: "stack",
  summary: "Show or set what a stack may use in all",
  description:
    "Counted is what is wanted: so many instances, each with its limits, and as many as an autoscaler may make of it. What a release has beside that while it goes out is not counted. Setting it takes the permission `installation.manage`; what is left out stays as it is.",
  arguments: { stack: optional("the stack, instead of -s", "stack") },
  options: {
    instances: integer("--instances <n>", "at most so many instances"),
    cpu: text("--cpu <cores>", "at most so many cores"),
    memory: text("--memory <size>", "at most so much memory, as `8g`"),
    off: flag("--off", "no limits any more"),
  },
  examples: [
    ["berth stacks quota shop", "what it asks for, of what it may use"],
    ["berth stacks quota shop --cpu 4 --memory 8g --instances 20", "set all three"],
  ],
  async run(ctx, { arguments: { stack: named }, options: { instances, cpu, memory, off } }) {
    const given = {
      ...(instances === undefined ? {} : { instances }),
      ...(cpu === undefined ? {} : { cpu: readCores(cpu) }),
      ...(memory === undefined ? {} : { memory: readMemory(memory) }),
    };
    const isChange = Object.keys(given).length > 0;
    if (off && isChange) throw new UsageError("--off takes all limits away.", "Leave it out to change some.");
    const api = await ctx.api();
    const params = { stack: named ?? (await ctx.stack()) };
    const before = await api.showQuota({ params }, { signal: ctx.signal });
    const now =
      off || isChange ? await api.setQuota({ params, body: off ? {} : { ...before.limits, ...given } }, { signal: ctx.signal }) : before;
    showObject(ctx, now, [["stack", ctx.out.paint.bold(params.stack)], ...quotaFacts(now)]);
  },
});
