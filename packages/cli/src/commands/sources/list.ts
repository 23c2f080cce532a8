// `berth sources list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand } from "../../command.ts";
import { ago, bytes } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["sources", "list"],
  scope: "stack",
  summary: "List a stack's sources, newest first",
  options: { ...listOptions(lists.sources), kind: choice("--kind <kind>", "only of this kind", ["upload", "git"]) },
  examples: [["berth sources list -s shop", "what was uploaded or fetched, at which revision"]],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listSources({ params, query: { ...query, kind: options.kind } }, { signal: ctx.signal }),
      [
        { title: "DIGEST", of: (source) => source.digest.slice(7, 19), style: ctx.out.paint.bold },
        { title: "KIND", of: (source) => source.kind, drop: 3 },
        { title: "CREATED", of: (source) => ago(source.createdAt, ctx.now()) },
        { title: "REVISION", of: (source) => `${source.revision?.slice(0, 10) ?? "-"}${source.dirty === true ? "+" : ""}` },
        { title: "AUTHOR", of: (source) => source.author ?? "", shrink: 1, drop: 2 },
        { title: "MESSAGE", of: (source) => source.message?.split("\n")[0] ?? source.url ?? "", shrink: 3, drop: 1 },
        { title: "FILES", of: (source) => String(source.files), align: "right", drop: 5 },
        { title: "SIZE", of: (source) => bytes(source.size), align: "right", drop: 4 },
      ],
      "sources",
    );
  },
});
