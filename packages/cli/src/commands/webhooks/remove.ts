// `berth webhooks remove`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["webhooks", "remove"],
  scope: "none",
  asks: true,
  summary: "Delete a webhook: what comes with its secret is refused from then on",
  arguments: { name: required("its name, as `berth webhooks list` shows it") },
  examples: [["berth webhooks remove ci", "asks first"]],
  async run(ctx, { arguments: { name } }) {
    await ctx.confirm(`Deleting webhook ${name}`, `Delete webhook ${name}?`);
    done(ctx, await (await ctx.api()).deleteWebhook({ params: { webhook: name } }, { signal: ctx.signal }), `Webhook ${name} was deleted.`);
  },
});
