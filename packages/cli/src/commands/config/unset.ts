// `berth config unset`
import { defineCommand, flag, rest } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { changeConfig } from "../configs.ts";

export const command = defineCommand({
  path: ["config", "unset"],
  scope: "component",
  summary: "Remove config of a stack, or with -c of one component",
  arguments: { names: rest("names of variables") },
  options: { deploy: flag("--deploy", "release the components that it concerns at once") },
  examples: [["berth config unset LOG_LEVEL -c web", "back to what the Compose file or the stack says"]],
  async run(ctx, { arguments: { names }, options: { deploy } }) {
    if (names.length === 0) throw new UsageError("Which variables?", "For example `berth config unset LOG_LEVEL`.");
    return changeConfig(ctx, Object.fromEntries(names.map((name) => [name, null])), deploy);
  },
});
