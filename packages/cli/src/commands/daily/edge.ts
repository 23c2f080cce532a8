// `berth edge`: passed on to the server's own program.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["edge"],
  scope: "none",
  raw: true,
  summary: "The router and supervisor of this machine: status, start, stop, reload, upgrade",
  description:
    "The server starts the edge by itself, and stopping the server leaves it running. `status` says where the router answers, `start` starts it without a server, `stop` stops it (after `berth server stop`; what it led to goes on running), `reload` replaces every router without losing a connection, `upgrade` all of it by the version of this command; a newer server does that by itself when it starts.",
  arguments: { rest: rest("status [--json], start, stop, reload or upgrade") },
  examples: [
    ["berth edge status", "whether the router runs, and where it answers"],
    ["berth edge reload", "new router processes, without losing a connection"],
  ],
  async run(_ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    return delegate(["edge", ...input.arguments.rest]);
  },
});
