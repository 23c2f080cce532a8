// `berth secrets set`
import { readFile } from "node:fs/promises";
import { defineCommand, required, text } from "../../command.ts";
import { secretValue } from "../secretvalue.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["secrets", "set"],
  scope: "stack",
  summary: "Set a secret",
  description:
    "The value is asked for, or read from stdin or a file; never given on the command line, where others could see it. Components see it with their next release.",
  arguments: { secret: required("its name: lower-case letters, digits and dashes") },
  options: { file: text("--file <file>", "take the value from a file, as it is", "file") },
  examples: [
    ["berth secrets set db-password", "asks for the value"],
    ["openssl rand -hex 24 | berth secrets set session-key -s shop", "from a pipe"],
  ],
  async run(ctx, { arguments: { secret }, options: { file } }) {
    const params = { stack: await ctx.stack(), secret };
    const value = file === undefined ? await secretValue(ctx, `Value of ${secret}: `) : await readFile(file, "utf8");
    const answer = await (await ctx.api()).setSecret({ params, body: { value } }, { signal: ctx.signal });
    done(
      ctx,
      answer,
      `Secret ${secret} is at version ${answer.version}${answer.usedBy.length === 0 ? "." : `; \`berth deploy\` brings it to ${answer.usedBy.join(", ")}.`}`,
    );
  },
});
