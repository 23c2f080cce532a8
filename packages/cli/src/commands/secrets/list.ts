// `berth secrets list`
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["secrets", "list"], scope: "stack", summary: "List secrets, never their values", options: listOptions,
  examples: [["berth secrets list -s shop", "names, versions, and who uses them"]],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(ctx, options, (query) => api.listSecrets({ params, query }, { signal: ctx.signal }), [
      { title: "SECRET", of: (secret) => secret.name, style: ctx.out.paint.bold, shrink: 1 }, { title: "VERSION", of: (secret) => String(secret.version), align: "right", drop: 2 },
      { title: "USED BY", of: (secret) => secret.usedBy.join(", ") || "-", shrink: 2 }, { title: "CHANGED", of: (secret) => ago(secret.updatedAt, ctx.now()) }, { title: "BY", of: (secret) => secret.updatedBy, shrink: 1, drop: 1 },
    ], "secrets");
  },
});
