// `berth config set`
import { readFile } from "node:fs/promises";
import { defineCommand, flag, rest, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { changeConfig, parsePairs } from "../configs.ts";

export const command = defineCommand({
  path: ["config", "set"],
  scope: "component",
  summary: "Set config of a stack, or with -c of one component",
  description:
    "The change takes effect with the next release; --deploy releases what it concerns at once. Passwords and keys belong into `berth secrets set`.",
  arguments: { values: rest("NAME=value") },
  options: {
    file: text("--file <file>", "NAME=value lines, `-` for stdin", "file"),
    deploy: flag("--deploy", "release the components that it concerns at once"),
  },
  examples: [
    ["berth config set LOG_LEVEL=debug -c web --deploy", "for one component, at once"],
    ["berth config set --file .env -s shop", "for all components, from a file"],
  ],
  async run(ctx, { arguments: { values }, options: { file, deploy } }) {
    const lines =
      file === undefined
        ? []
        : (file === "-" ? await ctx.prompt.readAll() : await readFile(file, "utf8"))
            .split(/\r?\n/)
            .filter((line) => line.trim() !== "" && !line.trimStart().startsWith("#"));
    const pairs = parsePairs([...lines, ...values]);
    if (Object.keys(pairs).length === 0)
      throw new UsageError("Nothing to set was named.", "For example `berth config set LOG_LEVEL=debug`.");
    return changeConfig(ctx, pairs, deploy);
  },
});
