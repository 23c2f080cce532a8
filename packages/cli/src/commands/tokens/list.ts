// `berth tokens list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["tokens", "list"],
  scope: "none",
  summary: "List your tokens",
  options: listOptions(lists.tokens),
  examples: [["berth tokens list", "names, scopes, and when each was last used"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listTokens({ query }, { signal: ctx.signal }),
      [
        { title: "ID", of: (token) => token.id, shrink: 1 },
        { title: "NAME", of: (token) => token.name, style: ctx.out.paint.bold, shrink: 2 },
        { title: "BEGINS", of: (token) => token.prefix, drop: 3 },
        { title: "SCOPES", of: (token) => token.scopes.join(", ") || "all", shrink: 3, drop: 4 },
        { title: "USER", of: (token) => token.user, shrink: 1, drop: 5 },
        { title: "CREATED", of: (token) => ago(token.createdAt, ctx.now()), drop: 2 },
        { title: "LAST USED", of: (token) => ago(token.lastUsedAt, ctx.now()) },
        { title: "EXPIRES", of: (token) => (token.expiresAt === undefined ? "never" : ago(token.expiresAt, ctx.now())), drop: 1 },
      ],
      "tokens",
    );
  },
});
