// `berth forward`
import { defineCommand, rest, text } from "../../command.ts";

export const command = defineCommand({
  path: ["instances", "forward"],
  daily: "forward",
  scope: "component",
  summary: "Reach a port of a running instance from this machine",
  description:
    "Listens on 127.0.0.1 and carries each connection to an instance, through the API: no port is opened for anybody else. A port is named or numbered; without one it is the component's first. Ends with Ctrl-C.",
  arguments: { ports: rest("PORT or LOCAL:PORT") },
  options: {
    instance: text("-i, --instance <id>", "to this instance; default: any"),
    cluster: text("--cluster <cluster>", "to an instance in this cluster; default: any"),
  },
  examples: [
    ["berth forward -c db 15432:5432", "the database of the stack, at 127.0.0.1:15432"],
    ["berth forward -c web", "its first port, at a free port of this machine"],
    ["berth forward -c web :http :metrics", "two of its ports by name"],
  ],
  async run(ctx, { arguments: { ports }, options }) {
    const { forward, readForwarding } = await import("../../terminal/forward.ts");
    await forward(ctx, ports.length === 0 ? [{ port: undefined, local: 0 }] : ports.map(readForwarding), options);
  },
});
