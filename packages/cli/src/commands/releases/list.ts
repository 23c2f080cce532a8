// `berth releases list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand, integer, optional } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["releases", "list"],
  scope: "component",
  summary: "List a component's releases, newest first",
  arguments: { component: optional("the component, instead of -c", "component") },
  options: { ...listOptions(lists.releases), build: integer("--build <n>", "only those of this build", 1) },
  examples: [["berth releases list web", "what `berth rollback web --to` may name"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const params = await ctx.inComponent(input.arguments.component);
    await showList(
      ctx,
      input.options,
      (query) => api.listReleases({ params, query: { ...query, build: input.options.build } }, { signal: ctx.signal }),
      [
        { title: "RELEASE", of: (release) => `v${release.number}`, align: "right", style: ctx.out.paint.bold },
        { title: "", of: (release) => (release.current ? "live" : ""), style: ctx.out.paint.good },
        { title: "MADE", of: (release) => ago(release.createdAt, ctx.now()) },
        { title: "REVISION", of: (release) => release.revision?.slice(0, 10) ?? "-", drop: 2 },
        { title: "MESSAGE", of: (release) => release.message?.split("\n")[0] ?? "", shrink: 3, drop: 3 },
        { title: "REASON", of: (release) => release.reason, shrink: 1 },
        { title: "BY", of: (release) => release.createdBy, shrink: 1, drop: 1 },
      ],
      "releases",
    );
  },
});
