// `berth login`
import { defineCommand, flag } from "../../command.ts";

export const command = defineCommand({
  path: ["login"],
  scope: "none",
  summary: "Sign in to a server and remember it",
  description:
    "Takes the one-time administrator token that `berth server token` prints, or an API token (--token, or typed, or piped in). On the server's own machine, and as the user that the server runs as, no token is needed.",
  options: { ask: flag("--ask", "ask for a token, even on the server's own machine") },
  examples: [
    ["berth login", "on the server's own machine"],
    ["berth login --server https://berth.example.com", "asks for a token"],
    ["echo $TOKEN | berth login --server https://berth.example.com", "in a script"],
  ],
  async run(ctx, { options: { ask } }) {
    const { login } = await import("../../signin.ts");
    return login(ctx, ask);
  },
});
