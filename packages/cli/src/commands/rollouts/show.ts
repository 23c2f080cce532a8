// `berth rollouts show`
import { stepText } from "@berth/contract/rolloutstep.ts";
import { defineCommand, ordinal } from "../../command.ts";
import { duration, when } from "../../output/time.ts";
import { stateStyle } from "../../view/states.ts";
import { showObject } from "../shown.ts";

export const command = defineCommand({
  path: ["rollouts", "show"],
  scope: "component",
  summary: "Show a rollout, and why it failed if it did",
  arguments: { rollout: ordinal("its number") },
  examples: [["berth rollouts show 7 -c web", "phase, progress, what was verified, and the cause of a failure"]],
  async run(ctx, { arguments: { rollout: number } }) {
    const rollout = await (
      await ctx.api()
    ).showRollout({ params: { ...(await ctx.inComponent()), rollout: number } }, { signal: ctx.signal });
    const { causeLines } = await import("../../view/cause.ts");
    const { allowedText } = await import("../../view/allowed.ts");
    showObject(ctx, rollout, [
      ["rollout", ctx.out.paint.bold(`#${rollout.number}`)],
      ["component", rollout.component],
      ["cluster", rollout.cluster],
      ["stack", rollout.stack],
      ["phase", stateStyle(ctx.out.paint)(rollout.phase)],
      ["strategy", rollout.strategy],
      ["reason", rollout.reason],
      [
        "release",
        rollout.release === undefined ? undefined : `v${rollout.release}${rollout.from === undefined ? "" : ` (before: v${rollout.from})`}`,
      ],
      ["build", rollout.build === undefined ? undefined : `#${rollout.build}`],
      ["instances", `${rollout.ready} ready, ${rollout.updated} of the new release, ${rollout.wanted} wanted`],
      ["waits for", rollout.waitsFor.length === 0 ? undefined : rollout.waitsFor.join(", ")],
      ["step", rollout.step === undefined || rollout.endedAt !== undefined ? undefined : stepText(rollout.step)],
      ["accepted", `${when(rollout.createdAt)} by ${rollout.createdBy}`],
      ["took", rollout.endedAt === undefined ? undefined : duration(Date.parse(rollout.endedAt) - Date.parse(rollout.createdAt))],
      ["verified", rollout.verified?.map((check) => `${check.url} answered ${check.status} in ${duration(check.took)}`).join("\n")],
      ["possible", allowedText(rollout.allowed)],
      ["cause", rollout.cause === undefined ? undefined : causeLines(rollout.cause, ctx.out.paint).join("\n")],
    ]);
  },
});
