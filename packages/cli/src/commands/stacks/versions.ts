// `berth stacks versions`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand, optional } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["stacks", "versions"],
  scope: "stack",
  summary: "List a stack's versions, newest first",
  arguments: { stack: optional("the stack, instead of -s", "stack") },
  options: listOptions(lists.versions),
  examples: [["berth stacks versions shop", "which releases belonged together, and who made them"]],
  async run(ctx, input) {
    const params = { stack: input.arguments.stack ?? (await ctx.stack()) };
    const api = await ctx.api();
    await showList(
      ctx,
      input.options,
      (query) => api.listStackVersions({ params, query }, { signal: ctx.signal }),
      [
        { title: "VERSION", of: (version) => String(version.number), align: "right" },
        { title: "MADE", of: (version) => ago(version.createdAt, ctx.now()) },
        { title: "BY", of: (version) => version.createdBy, shrink: 1, drop: 1 },
        { title: "REASON", of: (version) => version.reason, shrink: 1, drop: 2 },
        {
          title: "RELEASES",
          of: (version) =>
            Object.entries(version.releases)
              .map(([component, release]) => `${component}=${release === 0 ? "…" : release}`)
              .join(" "),
          shrink: 3,
        },
      ],
      "versions",
    );
  },
});
