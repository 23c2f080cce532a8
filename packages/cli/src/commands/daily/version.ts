// `berth version`
import { ConnectionError } from "@berth/contract/client-errors.ts";
import { defineCommand } from "../../command.ts";
import { version } from "../../version.ts";

export const command = defineCommand({
  path: ["version"],
  scope: "none",
  summary: "The version of the command line and of the server",
  examples: [
    ["berth version", "both"],
    ["berth --version", "of the command line alone, without asking the server"],
  ],
  async run(ctx) {
    try {
      const installation = await (await ctx.api()).showInstallation({}, { signal: ctx.signal });
      if (ctx.out.json) return ctx.out.object(installation);
      ctx.out.lines([
        `berth ${version}`,
        `server ${installation.version} at ${ctx.settings.serverUrl}, router at ${installation.routerUrl}`,
      ]);
    } catch (error) {
      if (!(error instanceof ConnectionError) || ctx.out.json) throw error;
      ctx.out.lines([`berth ${version}`, `server: none answers at ${ctx.settings.serverUrl}`]);
    }
  },
});
