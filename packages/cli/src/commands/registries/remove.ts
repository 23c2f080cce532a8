// `berth registries remove`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["registries", "remove"],
  scope: "none",
  asks: true,
  summary: "Forget the credentials of a registry",
  description: "Images that it gives to nobody else cannot be pulled any more by hosts that do not have them.",
  arguments: { registry: required("its host, as `berth registries list` shows it") },
  examples: [["berth registries remove registry.example", "asks first"]],
  async run(ctx, { arguments: { registry } }) {
    await ctx.confirm(`Forgetting the credentials of ${registry}`, `Forget the credentials of ${registry}?`);
    done(
      ctx,
      await (await ctx.api()).deleteRegistry({ params: { registry } }, { signal: ctx.signal }),
      `The credentials of ${registry} were forgotten.`,
    );
  },
});
