// `berth teams list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["teams", "list"],
  scope: "none",
  summary: "List teams",
  options: listOptions(lists.teams),
  examples: [["berth teams list", "every team that you may see"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listTeams({ query }, { signal: ctx.signal }),
      [
        { title: "TEAM", of: (team) => team.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "ID", of: (team) => team.id, shrink: 1 },
        { title: "CREATED", of: (team) => ago(team.createdAt, ctx.now()) },
      ],
      "teams",
    );
  },
});
