// `berth run`
import { defineCommand, flag, rest, time } from "../../command.ts";

export const command = defineCommand({
  path: ["tasks", "create"],
  daily: "run",
  scope: "component",
  waits: true,
  passesThrough: true,
  summary: "Run a command once in a component's current release, and follow its output",
  description:
    "A new process with the component's code, config and secrets, beside what runs; it ends with the command's own exit code. Without a command a cron component runs now. Ctrl-C leaves the task running.",
  arguments: { command: rest("the command and its arguments; none = run a cron component now") },
  options: {
    shell: flag("--shell", "run the arguments as one line of a shell"),
    deadline: time("--deadline <duration>", "end the task after this long"),
  },
  examples: [
    ["berth run -c web -- node migrate.js", "a migration"],
    ["berth run -c web --shell -- 'ls | wc -l'", "a line of shell"],
    ["berth run -c nightly", "a cron component, now"],
  ],
  async run(ctx, { arguments: { command: words }, options }) {
    const { runTask } = await import("../../follow/task.ts");
    return runTask(ctx, words, options);
  },
});
