// `berth secrets delete`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["secrets", "delete"],
  scope: "stack",
  asks: true,
  summary: "Delete a secret that no component uses",
  arguments: { secret: required("its name") },
  examples: [["berth secrets delete old-key -s shop", "asks first"]],
  async run(ctx, { arguments: { secret } }) {
    const params = { stack: await ctx.stack(), secret };
    await ctx.confirm(`Deleting secret ${secret}`, `Delete secret ${secret} of stack ${params.stack}?`);
    done(ctx, await (await ctx.api()).deleteSecret({ params }, { signal: ctx.signal }), `Secret ${secret} was deleted.`);
  },
});
