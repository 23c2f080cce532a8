// `berth clusters list`
import { defineCommand } from "../../command.ts";
import { showPage } from "../lists.ts";

export const command = defineCommand({
  path: ["clusters", "list"], scope: "none", summary: "List clusters",
  examples: [["berth clusters list", "where stacks can run, and whether each answers"]],
  async run(ctx) {
    const page = await (await ctx.api()).listClusters({}, { signal: ctx.signal });
    showPage(ctx, page, [
      { title: "CLUSTER", of: (cluster) => cluster.name, style: ctx.out.paint.bold, shrink: 1 }, { title: "ENGINE", of: (cluster) => cluster.engine },
      { title: "ANSWERS", of: (cluster) => (cluster.reachable ? "yes" : "no"), style: (text, cluster) => (cluster.reachable ? ctx.out.paint.good(text) : ctx.out.paint.bad(text)) },
      { title: "VERSION", of: (cluster) => cluster.version, shrink: 1, drop: 1 }, { title: "STACKS", of: (cluster) => String(cluster.stacks), align: "right" },
    ], "clusters");
  },
});
