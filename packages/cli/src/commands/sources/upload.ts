// `berth sources upload`
import { resolve } from "node:path";
import { defineCommand, optional } from "../../command.ts";

export const command = defineCommand({
  path: ["sources", "upload"],
  scope: "stack",
  summary: "Upload a folder without releasing it",
  description: "Respects .gitignore and .berthignore, and leaves out .git and node_modules.",
  arguments: { folder: optional("the folder; default: this one", "folder") },
  examples: [["berth sources upload ./api -s shop", "prints the digest that `berth deploy --source` takes"]],
  async run(ctx, { arguments: { folder } }) {
    const { uploadFolder } = await import("../../pack/upload.ts");
    const source = await uploadFolder(ctx, await ctx.stack(), resolve(ctx.cwd, folder ?? "."));
    if (ctx.out.json) ctx.out.object(source);
    else ctx.out.line(source.digest);
  },
});
