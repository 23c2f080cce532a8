// `berth drift`
import { defineCommand } from "../../command.ts";
import { exitCodes } from "../../failure.ts";
import { labelOf } from "../../follow/model.ts";
import { ago } from "../../output/time.ts";

export const command = defineCommand({
  path: ["drift"],
  scope: "component",
  summary: "Show what somebody changed by hand in the cluster",
  description:
    "On Kubernetes: each field of what Berth put there that is otherwise now, what Berth wants, what is there, and who changed it when. Ends with 1 when there is any. Whether changes are taken back or only shown is a setting of the stack: `berth stacks set --drift repair|report`.",
  examples: [
    ["berth drift -s shop", "all components"],
    ["berth drift -s shop -c web --json", "the API's answer"],
  ],
  async run(ctx) {
    const stack = await ctx.stack();
    const { component } = ctx.settings;
    const query = component === undefined ? {} : { component };
    const answer = await (await ctx.api()).showDrift({ params: { stack }, query }, { signal: ctx.signal });
    const code = answer.differences.length === 0 ? exitCodes.done : exitCodes.failed;
    if (ctx.out.json) {
      ctx.out.object(answer);
      return code;
    }
    for (const { name, unknownSince } of [{ name: answer.cluster, unknownSince: answer.unknownSince }, ...(answer.others ?? [])])
      if (unknownSince !== undefined) ctx.out.note(ctx.say("drift_unknown", { cluster: name }));
    if (answer.differences.length === 0) ctx.out.note(ctx.say("no_drift", { stack }));
    const { paint } = ctx.out;
    for (const { component: of, cluster, object, path, wanted, found, by, at } of answer.differences) {
      ctx.out.line(`${paint.bold(labelOf({ component: of, cluster }))}  ${object}  ${path}`);
      if (wanted !== undefined) ctx.out.line(paint.bad(`  - ${wanted}`));
      if (found !== undefined) ctx.out.line(paint.good(`  + ${found}`));
      if (by !== undefined) ctx.out.line(paint.dim(`  by ${by}${at === undefined ? "" : `, ${ago(at, ctx.now())}`}`));
    }
    return code;
  },
});
