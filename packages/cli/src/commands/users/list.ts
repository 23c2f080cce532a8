// `berth users list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["users", "list"],
  scope: "none",
  summary: "List users",
  options: listOptions(lists.users),
  examples: [["berth users list", "every user that you may see"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listUsers({ query }, { signal: ctx.signal }),
      [
        { title: "USER", of: (user) => user.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "ID", of: (user) => user.id, shrink: 1 },
        { title: "CREATED", of: (user) => ago(user.createdAt, ctx.now()) },
      ],
      "users",
    );
  },
});
