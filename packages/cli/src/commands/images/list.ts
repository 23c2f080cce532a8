// `berth images list`: passed on to the server's own program, which knows the catalogue and what runs on it.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["images", "list"],
  scope: "none",
  raw: true,
  summary: "List the base images that builds use, on the server's machine",
  description:
    "Where each comes from (config.json, made here, its makers), and which components run on an older version of one that was made here.",
  arguments: { rest: rest("--json") },
  examples: [["berth images list", "what builds would use now"]],
  async run(_ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    return delegate(["images", "list", ...input.arguments.rest]);
  },
});
