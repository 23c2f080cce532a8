// `berth known-hosts add`
import { defineCommand, optional } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["known-hosts", "add"],
  scope: "none",
  summary: "Trust an ssh host key",
  description: "Compare its fingerprint with what the host publishes first: `ssh-keygen -lf` shows it.",
  arguments: { line: optional("`host type key`, as ssh-keyscan prints it; default: the lines on stdin") },
  examples: [
    ["berth known-hosts add 'git.example.com ssh-ed25519 AAAA...'", "one key"],
    ["ssh-keyscan git.example.com | berth known-hosts add", "all keys that a host offers"],
  ],
  async run(ctx, { arguments: { line } }) {
    if (line === undefined && ctx.prompt.possible)
      throw new UsageError("Which host key?", "Give the line, or pipe ssh-keyscan's output in.");
    const lines = (line ?? (await ctx.prompt.readAll()))
      .split("\n")
      .map((text) => text.trim())
      .filter((text) => text !== "" && !text.startsWith("#"));
    const api = await ctx.api();
    for (const text of lines)
      done(
        ctx,
        await api.addKnownHost({ body: { line: text } }, { signal: ctx.signal }),
        `${text.split(" ").slice(0, 2).join(" ")} is trusted now.`,
      );
  },
});
