// `berth roles list`
import { defineCommand } from "../../command.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["roles", "list"], scope: "none", summary: "List roles and their permissions", options: listOptions,
  examples: [["berth roles list", "what each role may do"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(ctx, options, (query) => api.listRoles({ query }, { signal: ctx.signal }), [
      { title: "ROLE", of: (role) => role.name, style: ctx.out.paint.bold }, { title: "PERMISSIONS", of: (role) => role.permissions.join(", "), shrink: 1 },
    ], "roles");
  },
});
