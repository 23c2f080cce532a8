// `berth sources fetch`
import { defineCommand, required, text } from "../../command.ts";

export const command = defineCommand({
  path: ["sources", "fetch"],
  scope: "stack",
  summary: "Fetch a git repository at a ref, without releasing it",
  arguments: { url: required("http(s), ssh or file URL") },
  options: {
    ref: text("--ref <ref>", "branch, tag or commit; default: the repository's HEAD"),
    credential: text("--credential <name>", "for a private repository; `berth credentials set` makes one"),
  },
  examples: [["berth sources fetch https://git.example.com/shop.git --ref v2", "prints the digest that `berth deploy --source` takes"]],
  async run(ctx, { arguments: { url }, options: { ref, credential } }) {
    const params = { stack: await ctx.stack() };
    ctx.out.progress(`Fetching ${url} ...`);
    const source = await (
      await ctx.api()
    ).fetchSource(
      { params, body: { url, ...(ref === undefined ? {} : { ref }), ...(credential === undefined ? {} : { credential }) } },
      { signal: ctx.signal },
    );
    if (ctx.out.json) ctx.out.object(source);
    else ctx.out.line(source.digest);
  },
});
