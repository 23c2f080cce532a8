// `berth audit list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand, instant, text } from "../../command.ts";
import { when } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["audit", "list"],
  scope: "none",
  summary: "List who did what, newest first",
  options: {
    ...listOptions(lists.audit),
    object: text("--object <object>", "e.g. `stack:shop`"),
    principal: text("--principal <principal>", "who did it"),
    action: text("--action <action>", "e.g. `stacks.delete`"),
    since: instant("--since <time>", "from then on"),
    until: instant("--until <time>", "before then"),
  },
  examples: [["berth audit list --object stack:shop", "everything that was done to a stack"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) =>
        api.listAudit(
          {
            query: {
              ...query,
              object: options.object,
              principal: options.principal,
              action: options.action,
              since: options.since,
              until: options.until,
            },
          },
          { signal: ctx.signal },
        ),
      [
        { title: "WHEN", of: (entry) => when(entry.at) ?? "", style: ctx.out.paint.dim },
        { title: "WHO", of: (entry) => entry.principal, shrink: 1 },
        { title: "DID", of: (entry) => entry.action, style: ctx.out.paint.bold, shrink: 1 },
        { title: "TO", of: (entry) => entry.object, shrink: 2 },
        { title: "WITH", of: (entry) => (Object.keys(entry.params).length === 0 ? "" : JSON.stringify(entry.params)), shrink: 3, drop: 1 },
      ],
      "audit entries",
    );
  },
});
