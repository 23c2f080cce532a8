// `berth restore`: passed on to the server's own program, which has the database and the keys.
import { defineCommand, rest } from "../../command.ts";

export const command = defineCommand({
  path: ["restore"],
  scope: "none",
  raw: true,
  summary: "Put a backup in the place of what the database holds",
  description:
    "Without --yes it checks the file and says what it would do. The server has to be stopped meanwhile; what runs goes on, and is taken over when the server starts again. What the database holds now is kept as a backup of its own.",
  arguments: {
    rest: rest(
      "file, --yes, --passphrase-file <file>, --ask-passphrase, --without-secrets, --new-database, --without-safety-copy, --empty, --database-as-it-is",
    ),
  },
  examples: [
    ["berth restore berth.tar", "check it, and see what would happen"],
    ["berth server stop && berth restore berth.tar --yes && berth server start", "do it"],
  ],
  async run(_ctx, input) {
    const { delegate } = await import("../../localserver.ts");
    return delegate(["restore", ...input.arguments.rest]);
  },
});
