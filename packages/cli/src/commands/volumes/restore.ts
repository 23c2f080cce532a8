// `berth volumes restore`
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { defineCommand, required, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["volumes", "restore"],
  scope: "stack",
  summary: "Fill a volume from a tar archive",
  description:
    "The volume is made when it is not there; one that has anything in it, or that runs in an instance, is refused. It has all of the archive afterwards or nothing.",
  arguments: { volume: required("its name") },
  options: { input: text("-i, --input <file>", "the archive, not compressed", "file") },
  examples: [["berth volumes restore uploads -s shop-test --input uploads.tar", "into a volume of another stack"]],
  async run(ctx, { arguments: { volume }, options: { input } }) {
    if (input === undefined) throw new UsageError("From which file?", "Name the archive: --input <file>.");
    const { counted, restored } = await import("../../archive.ts");
    const file = resolve(ctx.cwd, input);
    const { size } = await stat(file);
    const params = { stack: await ctx.stack(), volume };
    const made = await restored(ctx, await ctx.api(), params, () => counted(ctx, createReadStream(file), size));
    done(ctx, made, `Volume ${volume} of ${params.stack} has what is in ${input}.`);
  },
});
