// `berth plan`
import { resolve } from "node:path";
import { defineCommand, flag, optional, text, texts } from "../../command.ts";

export const command = defineCommand({
  path: ["plan"],
  scope: "component",
  summary: "Explain what a folder is and what `berth up` would do; changes nothing",
  description:
    "With a Compose file: what would be created, changed and removed, and how each build context would be built. Config and secrets that were set since the last release are named, never shown. Without a Compose file and without a stack of that name, or with --source: what kind of project the folder is, why, and how it would be built and started. With --json the API's object: a StackPlan, or the answer of POST /build-plans.",
  arguments: { folder: optional("the folder; default: this one", "folder") },
  options: {
    source: flag("--source", "explain the folder itself, even if it has a Compose file"),
    root: text("--root <folder>", "with --source: the subfolder that is built, for monorepos"),
    image: flag("--image", "with --source: prefer the repository's Dockerfile"),
    file: texts("-f, --file <file>", "a Compose file; repeatable", "file"),
    profile: texts("--profile <name>", "a profile of the Compose file; repeatable"),
    prune: flag("--prune", "plan the removal of components that the file no longer has"),
    cluster: text("--cluster <cluster>", "where a new stack runs; one that is there stays where it is"),
    team: text("--team <team>", "whose a new stack is"),
  },
  examples: [
    ["berth plan", "the folder that you are in"],
    ["berth plan api --source", "how ./api would be built, and why"],
    ["berth plan --json", "for a program"],
  ],
  async run(ctx, { arguments: { folder }, options }) {
    const { showPlan } = await import("../../deploy/explain.ts");
    return showPlan(ctx, resolve(ctx.cwd, folder ?? "."), options);
  },
});
