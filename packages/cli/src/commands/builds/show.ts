// `berth builds show`
import { defineCommand, optional } from "../../command.ts";
import { bytes, duration, when } from "../../output/time.ts";
import { stateStyle } from "../../view/states.ts";
import { buildNumber } from "../newest.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["builds", "show"],
  scope: "stack",
  summary: "Show a build: its plan, its steps, and why it failed if it did",
  arguments: { build: optional("its number; default: the newest") },
  examples: [["berth builds show 12 -s shop", "one build"]],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const build = await api.showBuild(
      { params: { stack, build: await buildNumber(ctx, stack, input.arguments.build) } },
      { signal: ctx.signal },
    );
    const { causeLines } = await import("../../view/cause.ts");
    const { allowedText } = await import("../../view/allowed.ts");
    const { planFacts } = await import("../../view/buildplan.ts");
    showObject(ctx, build, [
      ["build", ctx.out.paint.bold(`#${build.number}`)],
      ["stack", build.stack],
      ["phase", stateStyle(ctx.out.paint)(build.phase)],
      ["context", build.context],
      ["source", build.source],
      ["revision", build.revision],
      ["message", build.message],
      ["queued", `${when(build.queuedAt)} by ${build.createdBy}`],
      [
        "took",
        build.startedAt === undefined || build.endedAt === undefined
          ? undefined
          : duration(Date.parse(build.endedAt) - Date.parse(build.startedAt)),
      ],
      ["artifact", build.artifact === undefined ? undefined : `${build.artifact} (${bytes(build.artifactSize)})`],
      ["attested", build.attestations === undefined ? undefined : "see `berth builds sbom` and `berth builds provenance`"],
      ["processes", build.processes?.join(", ")],
      [
        "steps",
        build.steps.length === 0
          ? undefined
          : build.steps
              .map((step) => `${step.name}: ${step.state}${step.took === undefined ? "" : ` in ${duration(step.took)}`}`)
              .join("\n"),
      ],
      ...(build.plan === undefined ? [] : planFacts(build.plan)),
      ["possible", allowedText(build.allowed)],
      ["cause", build.cause === undefined ? undefined : causeLines(build.cause, ctx.out.paint).join("\n")],
    ]);
  },
});
