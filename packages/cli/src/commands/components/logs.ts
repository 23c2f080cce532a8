// `berth logs`
import { defineCommand, flag, instant, integer, rest, text } from "../../command.ts";

export const command = defineCommand({
  path: ["components", "logs"],
  daily: "logs",
  scope: "component",
  summary: "Read or follow what components print",
  description: "Of the whole stack, of one component or of several. Without --tail and --since the last 200 lines.",
  arguments: { components: rest("the components, instead of -c; none of them = all of the stack", "component") },
  options: {
    follow: flag("-f, --follow", "go on until Ctrl-C"),
    tail: integer("-n, --tail <n>", "the last lines (10000 at most)"),
    since: instant("--since <time>", "only what is newer: 10m, 2h or an instant"),
    instance: text("-i, --instance <id>", "only of this instance"),
    cluster: text("--cluster <cluster>", "only from this cluster"),
    timestamps: flag("-t, --timestamps", "with the time of each line"),
  },
  examples: [
    ["berth logs -f", "everything that the stack of this folder prints"],
    ["berth logs web --since 10m", "the last ten minutes of web"],
    ["berth logs web worker -f --timestamps", "two components, with times"],
  ],
  async run(ctx, { arguments: { components }, options }) {
    const { showLogs } = await import("../../view/streams.ts");
    return showLogs(ctx, components, options);
  },
});
