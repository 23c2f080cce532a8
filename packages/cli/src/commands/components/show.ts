// `berth components show`
import { defineCommand, optional } from "../../command.ts";
import { ago, when } from "../../output/time.ts";
import { autoscaleText } from "../../view/autoscale.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["components", "show"],
  scope: "component",
  summary: "Show a component",
  arguments: { component: optional("the component, instead of -c", "component") },
  examples: [["berth components show web", "what it should be, what runs, and what may be done with it"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const component = await api.showComponent({ params: await ctx.inComponent(input.arguments.component) }, { signal: ctx.signal });
    const { causeLines } = await import("../../view/cause.ts");
    const { allowedText } = await import("../../view/allowed.ts");
    const { stateStyle, stateText } = await import("../../view/states.ts");
    const { specFacts } = await import("../../view/spec.ts");
    showObject(ctx, component, [
      ["component", ctx.out.paint.bold(component.name)],
      ["stack", component.stack],
      ["kind", component.kind],
      ["state", stateStyle(ctx.out.paint)(stateText(component, ctx.now()))],
      [
        "ready",
        component.kind === "cron" ? undefined : `${component.ready} of ${component.replicas}${component.stopped ? " (stopped)" : ""}`,
      ],
      ["autoscaler", autoscaleText(component)],
      [
        "clusters",
        component.clusters
          ?.map(
            (part) =>
              `${part.name}: ${stateText(part, ctx.now())}, ${part.ready} of ${part.replicas}${part.release === undefined ? "" : `, v${part.release}`}${part.urls.length === 0 ? "" : `, ${part.urls.join(" ")}`}`,
          )
          .join("\n"),
      ],
      [
        "release",
        component.release === undefined ? "none yet" : `v${component.release.number}, ${ago(component.release.createdAt, ctx.now())}`,
      ],
      ["rollout", component.rollout === undefined ? undefined : `#${component.rollout.number} ${component.rollout.phase}`],
      ["next run", component.nextRunAt === undefined ? undefined : `${when(component.nextRunAt)} (${ago(component.nextRunAt, ctx.now())})`],
      ["tag asked", component.looked === undefined ? undefined : ago(component.looked.at, ctx.now())],
      ["not answered", component.looked?.cause === undefined ? undefined : causeLines(component.looked.cause, ctx.out.paint).join("\n")],
      ["URLs", component.urls.length === 0 ? undefined : component.urls.map(ctx.out.paint.link).join("\n")],
      [
        "for siblings",
        Object.keys(component.internal).length === 0
          ? undefined
          : Object.entries(component.internal)
              .map(([port, address]) => `${port}: ${address}`)
              .join("\n"),
      ],
      ...specFacts(component.spec),
      ["possible", allowedText(component.allowed)],
      ["cause", component.cause === undefined ? undefined : causeLines(component.cause, ctx.out.paint).join("\n")],
    ]);
  },
});
