// `berth config show`
import { defineCommand, flag } from "../../command.ts";
import { showConfig } from "../configs.ts";

export const command = defineCommand({
  path: ["config", "show"],
  scope: "component",
  summary: "Show the config of a stack, or with -c of one component",
  options: { shell: flag("--shell", "as lines for a shell or an .env file") },
  examples: [
    ["berth config show -s shop", "what every component gets"],
    ["berth config show -c web --shell > .env", "of one component, as a file"],
  ],
  async run(ctx, { options: { shell } }) {
    await showConfig(ctx, shell);
  },
});
