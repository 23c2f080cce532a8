// `berth webhooks add`
import { defineCommand, required, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";

export const command = defineCommand({
  path: ["webhooks", "add"],
  scope: "none",
  summary: "Make a webhook that a registry calls when an image was pushed; its secret is shown this once",
  description:
    "Components that follow their image's tag (`x-berth: { follow: true }`, or `berth up --image NAME --follow`) get a rollout when it was moved. Berth asks the registry itself; what the webhook brings says only where to look.",
  arguments: { name: required("what it is to be called") },
  options: {
    registry: text(
      "--registry <host>",
      "the registry's host as it begins the names of images, with its port; `default` for names that begin with none",
    ),
  },
  examples: [
    ["berth webhooks add ci --registry registry.example:5000", "prints where it is called, and its secret"],
    ["berth webhooks add hub --registry default", "for names such as `nginx:1`"],
  ],
  async run(ctx, { arguments: { name }, options: { registry } }) {
    if (registry === undefined) throw new UsageError("Which registry?", "Name its host: --registry registry.example:5000.");
    const api = await ctx.api();
    const made = await api.createWebhook({ body: { name, registry: registry.toLowerCase() } }, { signal: ctx.signal });
    if (ctx.out.json) return ctx.out.object(made);
    ctx.out.note(
      `It is called by POST at ${made.path} of this server, as \`Authorization: Bearer SECRET\`, with \`?secret=SECRET\`, or signed (GitHub).`,
    );
    ctx.out.note("Keep the secret now; it is not shown again.");
    ctx.out.line(made.secret);
  },
});
