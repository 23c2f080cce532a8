// `berth builds provenance`
import { defineCommand, optional } from "../../command.ts";
import { buildNumber } from "../newest.ts";

export const command = defineCommand({
  path: ["builds", "provenance"],
  scope: "stack",
  summary: "Print where a build's artifact comes from: SLSA v1 in an in-toto statement",
  arguments: { build: optional("its number; default: the newest") },
  examples: [["berth builds provenance -s shop", "where the newest build comes from"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const build = await buildNumber(ctx, stack, input.arguments.build);
    const document = await api.readBuildProvenance({ params: { stack, build } }, { signal: ctx.signal });
    // A document of its own standard: other programs read it, with and without --json.
    await ctx.out.write(`${JSON.stringify(document, null, ctx.out.json ? 0 : 2)}\n`);
  },
});
