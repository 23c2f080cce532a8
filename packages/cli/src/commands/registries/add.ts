// `berth registries add`
import { defineCommand, flag, required, text } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { secretValue } from "../secretvalue.ts";

export const command = defineCommand({
  path: ["registries", "add"],
  scope: "none",
  summary: "Set the credentials with which images are pulled from a registry, and pushed to it",
  description:
    "Every stack of the installation may use them. The password is asked for, or read from stdin; it is kept encrypted and is never shown.",
  arguments: { registry: required("its host as it begins the names of images, with its port; `default` for names that begin with none") },
  options: {
    username: text("--username <name>", "as whom Berth asks it"),
    passwordStdin: flag("--password-stdin", "read the password from stdin, also where it could be asked for"),
    plainHttp: flag("--plain-http", "ask it without TLS; one on this machine's loopback is asked so anyway"),
  },
  examples: [
    ["berth registries add registry.example --username berth", "asks for the password"],
    ["berth registries add registry.example:5000 --username berth --password-stdin < password.txt", "reads it from a file"],
  ],
  async run(ctx, { arguments: { registry }, options: { username, passwordStdin, plainHttp } }) {
    if (username === undefined) throw new UsageError("As whom?", "Name the user: --username <name>.");
    const password = passwordStdin ? await ctx.prompt.readAll() : await secretValue(ctx, "Password: ");
    if (password === "") throw new UsageError("There was no password to set.", "Pipe it in: `--password-stdin < password.txt`.");
    const body = { username, password, ...(plainHttp ? { plainHttp } : {}) };
    const made = await (await ctx.api()).setRegistry({ params: { registry: registry.toLowerCase() }, body }, { signal: ctx.signal });
    if (ctx.out.json) ctx.out.object(made);
    else ctx.out.line(`${made.host} is asked as ${made.username} now.`);
  },
});
