// `berth exec`
import { defineCommand, flag, rest, text } from "../../command.ts";

export const command = defineCommand({
  path: ["instances", "exec"],
  daily: "exec",
  scope: "component",
  passesThrough: true,
  summary: "Run a command in a running instance, with a terminal where there is one",
  description: "Ends with the command's own exit code. What is piped in reaches the command. Without a command: sh.",
  arguments: { command: rest("the command and its arguments") },
  options: {
    instance: text("-i, --instance <id>", "in this instance; default: any"),
    cluster: text("--cluster <cluster>", "in this cluster; default: any"),
    tty: flag("-t, --tty", "with a terminal even if input or output is none"),
    noTty: flag("-T, --no-tty", "without a terminal"),
  },
  examples: [
    ["berth exec -c web -- sh", "a shell beside the running program"],
    ["berth exec -c web -- env", "its environment"],
    ["berth exec -c web --cluster west -- sh", "in an instance of one of its clusters"],
    ["cat fix.sql | berth exec -c db -- psql", "a file into a program"],
  ],
  async run(ctx, { arguments: { command: words }, options }) {
    const { execute } = await import("../../terminal/session.ts");
    const terminal = options.tty || (!options.noTty && ctx.stdin.isTTY === true && ctx.out.outIsTerminal);
    return execute(ctx, words.length === 0 ? ["sh"] : words, { instance: options.instance, cluster: options.cluster, terminal });
  },
});
