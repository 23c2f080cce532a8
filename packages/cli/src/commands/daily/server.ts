// `berth server`: passed on to the server's own program.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["server"],
  scope: "none",
  raw: true,
  summary:
    "Run the server on this machine: run, start, stop, status, doctor, token, logs, key [--add FILE | --accept-loss], claim, install",
  description:
    "`berth server` runs it in the foreground. `start` runs it in the background and returns when it answers; the first time it signs you in, too. `stop` leaves running what was deployed, `stop --all` stops that too. `status` says where it answers, `doctor` says what is wrong with its home folder, `token` prints a new one-time administrator token, `logs` prints its log. `claim` is for a database that several servers share: it takes the cluster of one that is gone for good. `install` writes systemd units, so that everything comes back after a reboot; `uninstall` takes them away.",
  arguments: {
    rest: rest(
      "run, start, stop [--all], status [--json], doctor [--json], token, logs, key [--add FILE | --accept-loss], claim, install [--print], uninstall or upgrade-database",
    ),
  },
  examples: [
    ["berth server start", "in the background"],
    ["berth server", "in the foreground, until Ctrl-C"],
    ["berth server stop --all", "with everything that it runs"],
    ["berth server install --print", "the systemd units, without writing them"],
  ],
  async run(ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    const words = input.arguments.rest;
    const verb = words.find((word) => !word.startsWith("-")) ?? (words.includes("--help") || words.includes("-h") ? "--help" : "run");
    const exitCode = await delegate(["server", verb, ...words.filter((word) => word !== verb)]);
    if (verb !== "start" || exitCode !== 0) return exitCode;
    const { signInAfterStart } = await import("../../afterstart.ts");
    await signInAfterStart(ctx);
    return exitCode;
  },
});
