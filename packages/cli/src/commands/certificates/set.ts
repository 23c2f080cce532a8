// `berth certificates set`
import { readFile } from "node:fs/promises";
import { renderNote } from "@berth/contract/notes.ts";
import { defineCommand, flag, required, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";

export const command = defineCommand({
  path: ["certificates", "set"],
  scope: "none",
  summary: "Add a certificate, or put a new one in its place",
  description:
    "It is served at once to everybody who asks for one of its hosts; open connections go on. The key is kept encrypted and is never shown.",
  arguments: { certificate: required("a name of your choice") },
  options: {
    chain: text("--chain <file>", "the certificates in PEM, the host's own first", "file"),
    key: text("--key <file>", "the key in PEM, without passphrase; `-` for stdin", "file"),
    default: flag("--default", "show it to clients that ask for no host, or for one that nothing covers"),
  },
  examples: [
    ["berth certificates set shop --chain fullchain.pem --key privkey.pem", "as certbot writes them"],
    ["berth certificates set fallback --chain chain.pem --key key.pem --default", "for unknown hosts too"],
  ],
  async run(ctx, { arguments: { certificate }, options }) {
    if (options.chain === undefined || options.key === undefined)
      throw new UsageError("Which certificate?", "Name its files: --chain <file> and --key <file>.");
    const body = {
      chain: await readFile(options.chain, "utf8"),
      key: options.key === "-" ? `${await ctx.prompt.readAll()}\n` : await readFile(options.key, "utf8"),
      ...(options.default ? { isDefault: true } : {}),
    };
    const made = await (await ctx.api()).setCertificate({ params: { certificate }, body }, { signal: ctx.signal });
    if (ctx.out.json) {
      ctx.out.object(made);
      return;
    }
    ctx.out.line(`Certificate ${made.name} covers ${made.hosts.join(", ")} until ${made.notAfter.slice(0, 10)}.`);
    for (const warning of made.warnings) ctx.out.note(renderNote(warning));
  },
});
