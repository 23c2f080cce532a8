// `berth backup`: passed on to the server's own program, which has the database and the keys.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["backup"],
  scope: "none",
  raw: true,
  summary: "Write everything that Berth knows into one file, on the server's machine",
  description:
    "While everything runs on. The file is read back before it gets its name. Secrets are in it sealed; the keys that open them only with --with-keys, under a passphrase. What applications keep in volumes is not in it.",
  arguments: { rest: rest("file or folder, --with-keys, --passphrase-file <file>, --rows-only, --json") },
  examples: [
    ["berth backup /mnt/backups", "a new file in that folder"],
    ["berth backup --with-keys berth.tar", "fit to be restored on another machine"],
  ],
  async run(_ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    return delegate(["backup", ...input.arguments.rest]);
  },
});
