// `berth webhooks list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["webhooks", "list"],
  scope: "none",
  summary: "List the webhooks that registries may call, never their secrets",
  options: listOptions(lists.webhooks),
  examples: [["berth webhooks list", "of which registries, and when they were called last"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listWebhooks({ query }, { signal: ctx.signal }),
      [
        { title: "WEBHOOK", of: (item) => item.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "REGISTRY", of: (item) => item.registry, shrink: 1 },
        { title: "CALLED", of: (item) => (item.notifiedAt === undefined ? "never" : ago(item.notifiedAt, ctx.now())) },
        { title: "CREATED", of: (item) => ago(item.createdAt, ctx.now()) },
      ],
      "webhooks",
    );
  },
});
