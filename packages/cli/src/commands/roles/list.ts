// `berth roles list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand, text } from "../../command.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["roles", "list"],
  scope: "none",
  summary: "List roles and their permissions",
  options: { ...listOptions(lists.roles), permission: text("--permission <permission>", "only those that give it") },
  examples: [["berth roles list", "what each role may do"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listRoles({ query: { ...query, permission: options.permission } }, { signal: ctx.signal }),
      [
        { title: "ROLE", of: (role) => role.name, style: ctx.out.paint.bold },
        { title: "PERMISSIONS", of: (role) => role.permissions.join(", "), shrink: 1 },
      ],
      "roles",
    );
  },
});
