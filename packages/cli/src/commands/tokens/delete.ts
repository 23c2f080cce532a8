// `berth tokens delete`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["tokens", "delete"],
  scope: "none",
  asks: true,
  summary: "Revoke a token",
  arguments: { token: required("its id; `berth tokens list` shows it") },
  examples: [["berth tokens delete 4f1c --yes", "from now on it opens nothing"]],
  async run(ctx, { arguments: { token } }) {
    await ctx.confirm(`Revoking token ${token}`, `Revoke token ${token}?`);
    done(ctx, await (await ctx.api()).deleteToken({ params: { token } }, { signal: ctx.signal }), `Token ${token} was revoked.`);
  },
});
