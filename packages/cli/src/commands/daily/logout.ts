// `berth logout`
import { ApiError, ConnectionError } from "@berth/contract/client-errors.ts";
import { defineCommand } from "../../command.ts";
import { forgetCredential } from "../../credentials.ts";

export const command = defineCommand({
  path: ["logout"],
  scope: "none",
  summary: "Revoke the remembered token and forget it",
  examples: [
    ["berth logout", "of the server that is in use"],
    ["berth logout --server https://berth.example.com", "of another one"],
  ],
  async run(ctx) {
    const { serverUrl, token, tokenGiven } = ctx.settings;
    if (token !== undefined && !tokenGiven) {
      await (await ctx.api()).logout({}, { signal: ctx.signal }).catch((error: unknown) => {
        // A token that is void already, or a server that is gone, must not keep one signed in here.
        if (error instanceof ConnectionError)
          ctx.out.note(`The server could not be told (${error.reason}); its token stays valid until it expires.`);
        else if (!(error instanceof ApiError) || error.status !== 401) throw error;
      });
    }
    const known = await forgetCredential(ctx.surroundings.configDir, serverUrl);
    ctx.out.line(known ? `Signed out of ${serverUrl}.` : `You were not signed in to ${serverUrl}.`);
  },
});
