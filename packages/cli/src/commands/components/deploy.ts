// `berth deploy`
import { resolve } from "node:path";
import { defineCommand, flag, optional, text } from "../../command.ts";

export const command = defineCommand({
  path: ["components", "deploy"],
  daily: "deploy",
  scope: "component",
  waits: true,
  summary: "Build and release one component, and follow it",
  description:
    "From a folder (default: the component's build context in this one), a git repository, an uploaded source, or with --again from its newest artifact with the config of now.",
  arguments: { folder: optional("the folder to build; default: the component's context", "folder") },
  options: {
    again: flag("--again", "release its newest artifact again"),
    source: text("--source <digest>", "a source that was uploaded or fetched; `berth sources list`"),
    git: text("--git <url>", "fetch this git repository"),
    ref: text("--ref <ref>", "with --git: branch, tag or commit"),
    credential: text("--credential <name>", "with --git: for a private repository"),
    context: text("--context <folder>", "with --git or --source: the folder inside the source that is built"),
  },
  examples: [
    ["berth deploy -c web", "from this folder"],
    ["berth deploy ./api -c api -s shop", "from another one"],
    ["berth deploy -c web --git https://git.example.com/shop.git --ref v2", "from git"],
    ["berth deploy -c web --again", "the same code with changed config"],
  ],
  async run(ctx, { arguments: { folder }, options }) {
    const { deploy } = await import("../../deploy/deploy.ts");
    return deploy(ctx, folder === undefined ? undefined : resolve(ctx.cwd, folder), options);
  },
});
