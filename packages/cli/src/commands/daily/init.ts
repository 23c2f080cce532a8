// `berth init`
import { resolve } from "node:path";
import { defineCommand, flag, optional, text } from "../../command.ts";

export const command = defineCommand({
  path: ["init"],
  scope: "component",
  summary: "Write Dockerfile, .dockerignore and compose.yaml into a folder, for people who want to own them",
  description:
    "What Berth would do by itself, written down from the project's own files: a Dockerfile in three layers, what its context leaves out, and a service for each process. Run again, it changes nothing. A file that is there and differs is replaced only after a question, or with --force. A Dockerfile or Compose file under another name counts as there.",
  arguments: { folder: optional("the folder; default: this one", "folder") },
  options: {
    root: text("--root <folder>", "the subfolder that is built, for monorepos"),
    force: flag("--force", "replace files that differ, without asking"),
    dryRun: flag("--dry-run", "print the files instead of writing them"),
  },
  examples: [
    ["berth init", "the folder that you are in"],
    ["berth init --dry-run", "only show them"],
    ["berth init . --root apps/api", "one project of a monorepo"],
  ],
  async run(ctx, { arguments: { folder }, options }) {
    const { initFolder } = await import("../../deploy/init.ts");
    return initFolder(ctx, resolve(ctx.cwd, folder ?? "."), options);
  },
});
