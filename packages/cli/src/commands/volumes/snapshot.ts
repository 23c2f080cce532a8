// `berth volumes snapshot`
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { defineCommand, required, text } from "../../command.ts";
import { bytes } from "../../output/time.ts";

export const command = defineCommand({
  path: ["volumes", "snapshot"],
  scope: "stack",
  summary: "Write what is in a volume into a tar archive",
  description:
    "With owners, modes, links and extended attributes. A volume that is in use is read as it is, each file at its moment. The file has its name once it is whole.",
  arguments: { volume: required("its name") },
  options: { output: text("-o, --output <file>", "the file to write; `-` for stdout; default: STACK-VOLUME.tar", "file") },
  examples: [
    ["berth volumes snapshot uploads -s shop --output uploads.tar", "into a file"],
    ["berth volumes snapshot uploads -s shop -o - | zstd > uploads.tar.zst", "compressed"],
  ],
  async run(ctx, { arguments: { volume }, options: { output } }) {
    const { snapshotOf, warnInUse } = await import("../../archive.ts");
    const api = await ctx.api();
    const params = { stack: await ctx.stack(), volume };
    await warnInUse(ctx, api, params);
    if (output === "-") return pipeline(snapshotOf(ctx, api, params), process.stdout, { end: false });
    const file = resolve(ctx.cwd, output ?? `${params.stack}-${volume}.tar`);
    const draft = `${file}.part`;
    let size = 0;
    try {
      const target = createWriteStream(draft, { mode: 0o600, flush: true });
      await pipeline(snapshotOf(ctx, api, params), target);
      size = target.bytesWritten;
      await rename(draft, file);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
    if (ctx.out.json) ctx.out.object({ file, bytes: size });
    else ctx.out.line(`${file} has ${bytes(size)}.`);
  },
});
