// `berth builds sbom`
import { defineCommand, optional } from "../../command.ts";
import { buildNumber } from "../newest.ts";

export const command = defineCommand({
  path: ["builds", "sbom"],
  scope: "stack",
  summary: "Print what is in a build's artifact: a bill of materials as SPDX 2.3",
  arguments: { build: optional("its number; default: the newest") },
  examples: [["berth builds sbom -s shop", "what is in the newest build"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const build = await buildNumber(ctx, stack, input.arguments.build);
    const document = await api.readBuildSbom({ params: { stack, build } }, { signal: ctx.signal });
    // A document of its own standard: other programs read it, with and without --json.
    await ctx.out.write(`${JSON.stringify(document, null, ctx.out.json ? 0 : 2)}\n`);
  },
});
