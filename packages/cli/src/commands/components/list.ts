// `berth components list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { stateStyle, stateText } from "../../view/states.ts";
import { listOptions, showList } from "../lists.ts";
import { readyText } from "../../view/autoscale.ts";

export const command = defineCommand({
  path: ["components", "list"],
  scope: "stack",
  summary: "List a stack's components",
  options: {
    ...listOptions(lists.components),
    kind: choice("--kind <kind>", "only of this kind", ["web", "worker", "stateful", "cron", "addon"]),
    state: choice("--state <state>", "only in this state", [
      "new",
      "healthy",
      "progressing",
      "degraded",
      "failed",
      "stopped",
      "scheduled",
      "deleting",
      "unknown",
    ]),
  },
  examples: [
    ["berth components list -s shop", "what the stack consists of"],
    ["berth components list --state failed", "the ones in trouble"],
  ],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listComponents({ params, query: { ...query, kind: options.kind, state: options.state } }, { signal: ctx.signal }),
      [
        { title: "COMPONENT", of: (component) => component.name, shrink: 1, style: ctx.out.paint.bold },
        { title: "KIND", of: (component) => component.kind, drop: 2 },
        { title: "STATE", of: (component) => stateText(component, ctx.now()), style: stateStyle(ctx.out.paint) },
        { title: "READY", of: readyText, align: "right" },
        {
          title: "RELEASE",
          of: (component) => (component.release === undefined ? "-" : `v${component.release.number}`),
          align: "right",
          drop: 3,
        },
        { title: "CHANGED", of: (component) => ago(component.updatedAt, ctx.now()), drop: 4 },
        { title: "URL", of: (component) => component.urls[0] ?? "", shrink: 3, least: 28, drop: 5, style: ctx.out.paint.link },
      ],
      "components",
    );
  },
});
