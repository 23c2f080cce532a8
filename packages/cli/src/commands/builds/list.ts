// `berth builds list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand } from "../../command.ts";
import { ago, bytes, took } from "../../output/time.ts";
import { stateStyle } from "../../view/states.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["builds", "list"],
  scope: "stack",
  summary: "List a stack's builds, newest first",
  options: {
    ...listOptions(lists.builds),
    phase: choice("--phase <phase>", "only in this phase", ["queued", "running", "succeeded", "failed", "cancelled"]),
  },
  examples: [["berth builds list -s shop", "what was built, from what, and how long it took"]],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listBuilds({ params, query: { ...query, phase: options.phase } }, { signal: ctx.signal }),
      [
        { title: "BUILD", of: (build) => `#${build.number}`, align: "right", style: ctx.out.paint.bold },
        { title: "PHASE", of: (build) => build.phase, style: stateStyle(ctx.out.paint) },
        { title: "CONTEXT", of: (build) => build.context, shrink: 1 },
        { title: "REVISION", of: (build) => build.revision?.slice(0, 10) ?? "-", drop: 2 },
        { title: "MESSAGE", of: (build) => build.message?.split("\n")[0] ?? "", shrink: 3, drop: 4 },
        { title: "QUEUED", of: (build) => ago(build.queuedAt, ctx.now()) },
        { title: "TOOK", of: (build) => took(build.startedAt, build.endedAt), align: "right", drop: 1 },
        { title: "SIZE", of: (build) => bytes(build.artifactSize), align: "right", drop: 3 },
      ],
      "builds",
    );
  },
});
