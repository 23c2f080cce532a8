// `berth registries list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["registries", "list"],
  scope: "none",
  summary: "List the registries that there are credentials for, never their passwords",
  options: listOptions(lists.registries),
  examples: [["berth registries list", "hosts, and as whom Berth asks them"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listRegistries({ query }, { signal: ctx.signal }),
      [
        { title: "REGISTRY", of: (item) => item.host, style: ctx.out.paint.bold, shrink: 1 },
        { title: "USER", of: (item) => item.username, shrink: 1 },
        { title: "TLS", of: (item) => (item.plainHttp ? "no" : "yes") },
        { title: "CHANGED", of: (item) => ago(item.updatedAt, ctx.now()) },
      ],
      "registries",
    );
  },
});
