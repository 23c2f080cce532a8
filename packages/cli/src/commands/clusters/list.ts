// `berth clusters list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand } from "../../command.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["clusters", "list"],
  scope: "none",
  summary: "List clusters",
  options: {
    ...listOptions(lists.clusters),
    engine: choice("--engine <engine>", "only those of this kind", ["local", "docker", "kubernetes"]),
  },
  examples: [["berth clusters list", "where stacks can run, and whether each answers"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listClusters({ query: { ...query, engine: options.engine } }, { signal: ctx.signal }),
      [
        { title: "CLUSTER", of: (cluster) => cluster.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "ENGINE", of: (cluster) => cluster.engine },
        {
          title: "ANSWERS",
          of: (cluster) => (cluster.reachable ? "yes" : "no"),
          style: (text, cluster) => (cluster.reachable ? ctx.out.paint.good(text) : ctx.out.paint.bad(text)),
        },
        { title: "VERSION", of: (cluster) => cluster.version, shrink: 1, drop: 1 },
        { title: "STACKS", of: (cluster) => String(cluster.stacks), align: "right" },
      ],
      "clusters",
    );
  },
});
