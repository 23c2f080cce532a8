// `berth audit list`
import { defineCommand, text } from "../../command.ts";
import { when } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["audit", "list"], scope: "none", summary: "List who did what, newest first",
  options: { ...listOptions, object: text("--object <object>", "e.g. `stack:shop`"), principal: text("--principal <principal>", "who did it") },
  examples: [["berth audit list --object stack:shop", "everything that was done to a stack"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(ctx, options, (query) => api.listAudit({ query: { ...query, object: options.object, principal: options.principal } }, { signal: ctx.signal }), [
      { title: "WHEN", of: (entry) => when(entry.at) ?? "", style: ctx.out.paint.dim }, { title: "WHO", of: (entry) => entry.principal, shrink: 1 }, { title: "DID", of: (entry) => entry.action, style: ctx.out.paint.bold, shrink: 1 }, { title: "TO", of: (entry) => entry.object, shrink: 2 },
      { title: "WITH", of: (entry) => (Object.keys(entry.params).length === 0 ? "" : JSON.stringify(entry.params)), shrink: 3, drop: 1 },
    ], "audit entries");
  },
});
