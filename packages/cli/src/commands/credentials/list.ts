// `berth credentials list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["credentials", "list"],
  scope: "stack",
  summary: "List git credentials, never their values",
  options: listOptions(lists.credentials),
  examples: [["berth credentials list -s shop", "names that `--credential` may take"]],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listCredentials({ params, query }, { signal: ctx.signal }),
      [
        { title: "CREDENTIAL", of: (item) => item.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "KIND", of: (item) => item.kind },
        { title: "CHANGED", of: (item) => ago(item.updatedAt, ctx.now()) },
      ],
      "credentials",
    );
  },
});
