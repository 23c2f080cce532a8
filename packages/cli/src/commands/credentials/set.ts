// `berth credentials set`
import { readFile } from "node:fs/promises";
import { defineCommand, flag, required, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { secretValue } from "../secretvalue.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["credentials", "set"],
  scope: "stack",
  summary: "Set a git credential: a deploy key or a token",
  description: "A token is asked for, or read from stdin; it is never given on the command line, where others could see it.",
  arguments: { credential: required("its name") },
  options: {
    key: text("--key <file>", "an ssh private key without passphrase, `-` for stdin", "file"),
    token: flag("--access-token", "an access token over http(s)"),
    username: text("--username <name>", "the name that goes with the token, where the host wants one"),
  },
  examples: [
    ["berth credentials set github --key ~/.ssh/deploy_shop", "a deploy key"],
    ["berth credentials set gitlab --access-token < token.txt", "a token from a file"],
  ],
  async run(ctx, { arguments: { credential }, options: { key, token, username } }) {
    if ((key !== undefined) === token) throw new UsageError("Which kind of credential?", "Name --key <file> or --access-token.");
    const params = { stack: await ctx.stack(), credential };
    const body =
      key === undefined
        ? { kind: "token" as const, token: await secretValue(ctx, "Token: "), ...(username === undefined ? {} : { username }) }
        : { kind: "deploy-key" as const, privateKey: key === "-" ? `${await ctx.prompt.readAll()}\n` : await readFile(key, "utf8") };
    done(ctx, await (await ctx.api()).setCredential({ params, body }, { signal: ctx.signal }), `Credential ${credential} was set.`);
  },
});
