// `berth releases diff`
import { defineCommand, optional, ordinal, readOrdinal } from "../../command.ts";
import { fieldLines } from "../../view/fields.ts";

export const command = defineCommand({
  path: ["releases", "diff"],
  scope: "component",
  summary: "What differs between two releases",
  arguments: { release: ordinal("a release"), other: optional("another one; default: the one before it") },
  examples: [
    ["berth releases diff 12 -c web", "what release 12 changed"],
    ["berth releases diff 12 9 -c web", "between any two"],
  ],
  async run(ctx, input) {
    const { release, other } = input.arguments;
    const answer = await (
      await ctx.api()
    ).diffReleases(
      { params: { ...(await ctx.inComponent()), release }, query: { to: other === undefined ? undefined : readOrdinal(other, "<other>") } },
      { signal: ctx.signal },
    );
    if (ctx.out.json) return ctx.out.object(answer);
    ctx.out.line(ctx.out.paint.bold(`v${answer.from} -> v${answer.to}`));
    if (answer.changes.length === 0) ctx.out.line("  no difference");
    ctx.out.lines(fieldLines(answer.changes, ctx.out.paint).map((line) => `  ${line}`));
  },
});
