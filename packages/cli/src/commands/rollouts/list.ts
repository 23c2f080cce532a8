// `berth rollouts list`
import { lists } from "@berth/contract/lists.ts";
import { choice, defineCommand, integer, optional } from "../../command.ts";
import { ago, took } from "../../output/time.ts";
import { labelOf } from "../../follow/model.ts";
import { stateStyle } from "../../view/states.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["rollouts", "list"],
  scope: "component",
  summary: "List rollouts of a component or of the whole stack, newest first",
  arguments: { component: optional("the component, instead of -c; none = all of the stack", "component") },
  options: {
    ...listOptions(lists.stackRollouts),
    version: integer("--version <n>", "only those of this stack version", 1),
    phase: choice("--phase <phase>", "only in this phase", [
      "building",
      "waiting",
      "releasing",
      "preparing",
      "rolling",
      "verifying",
      "reverting",
      "succeeded",
      "failed",
      "aborted",
      "superseded",
    ]),
  },
  examples: [
    ["berth rollouts list web", "how the releases of web went"],
    ["berth rollouts list -s shop --phase failed", "what failed in the stack"],
  ],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const component = input.arguments.component ?? ctx.settings.component;
    const { phase, version } = input.options;
    await showList(
      ctx,
      input.options,
      (query) =>
        component === undefined
          ? api.listStackRollouts({ params: { stack }, query: { ...query, phase, version } }, { signal: ctx.signal })
          : api.listRollouts({ params: { stack, component }, query: { ...query, phase } }, { signal: ctx.signal }),
      [
        { title: "ROLLOUT", of: (rollout) => `#${rollout.number}`, align: "right", style: ctx.out.paint.bold },
        { title: "COMPONENT", of: labelOf, shrink: 1 },
        { title: "PHASE", of: (rollout) => rollout.phase, style: stateStyle(ctx.out.paint) },
        { title: "RELEASE", of: (rollout) => (rollout.release === undefined ? "-" : `v${rollout.release}`), align: "right" },
        { title: "READY", of: (rollout) => `${rollout.ready}/${rollout.wanted}`, align: "right", drop: 2 },
        { title: "STARTED", of: (rollout) => ago(rollout.createdAt, ctx.now()) },
        { title: "TOOK", of: (rollout) => took(rollout.createdAt, rollout.endedAt), align: "right", drop: 3 },
        { title: "REASON", of: (rollout) => rollout.reason, shrink: 2, drop: 4 },
        { title: "BY", of: (rollout) => rollout.createdBy, shrink: 1, drop: 1 },
      ],
      "rollouts",
    );
  },
});
