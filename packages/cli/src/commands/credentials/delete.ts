// `berth credentials delete`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["credentials", "delete"],
  scope: "stack",
  asks: true,
  summary: "Delete a git credential",
  arguments: { credential: required("its name") },
  examples: [["berth credentials delete github -s shop", "asks first"]],
  async run(ctx, { arguments: { credential } }) {
    const params = { stack: await ctx.stack(), credential };
    await ctx.confirm(`Deleting credential ${credential}`, `Delete credential ${credential} of stack ${params.stack}?`);
    done(ctx, await (await ctx.api()).deleteCredential({ params }, { signal: ctx.signal }), `Credential ${credential} was deleted.`);
  },
});
