// `berth rollouts watch`
import type { Client } from "@berth/contract/client.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import { defineCommand, optional, readOrdinal } from "../../command.ts";
import type { Context } from "../../context.ts";
import { Failure, exitCodes } from "../../failure.ts";

export const command = defineCommand({
  path: ["rollouts", "watch"],
  scope: "component",
  waits: true,
  summary: "Follow rollouts until they end",
  arguments: { rollout: optional("a rollout's number, with -c; default: everything that is under way in the stack") },
  examples: [
    ["berth rollouts watch -s shop", "everything under way, else the newest; the exit code says how it ended"],
    ["berth rollouts watch 7 -c web", "one of them"],
  ],
  async run(ctx, input) {
    const api = await ctx.api();
    const { follow } = await import("../../follow/follow.ts");
    if (input.arguments.rollout !== undefined) {
      const { stack, component } = await ctx.inComponent();
      return follow(
        ctx,
        { stack, rollouts: [{ component, number: readOrdinal(input.arguments.rollout, "<rollout>") }], builds: [] },
        "released",
      );
    }
    const stack = await ctx.stack();
    const { items } = await api.listStackRollouts({ params: { stack }, query: { limit: 200 } }, { signal: ctx.signal });
    const open = items.filter(
      (rollout) => rollout.endedAt === undefined && (ctx.settings.component === undefined || rollout.component === ctx.settings.component),
    );
    // What ended a moment ago is told as it ended, so that a script that asks late gets the same exit code.
    if (open.length === 0) open.push(...(await newestVersion(ctx, stack, api)));
    if (open.length === 0)
      throw new Failure(exitCodes.notAllowed, `${stack} has no rollouts yet.`, { next: "`berth up` makes the first." });
    const builds = [
      ...new Set(open.flatMap((rollout) => (rollout.build === undefined || rollout.phase !== "building" ? [] : [rollout.build]))),
    ];
    return follow(
      ctx,
      {
        stack,
        rollouts: open.map(({ component, number }) => ({ component, number })),
        builds: builds.map((number) => ({
          number,
          components: open.filter((rollout) => rollout.build === number).map((rollout) => rollout.component),
        })),
      },
      "released",
    );
  },
});

async function newestVersion(ctx: Context, stack: string, api: Client): Promise<readonly Rollout[]> {
  const { version } = await api.showStack({ params: { stack } }, { signal: ctx.signal });
  const { items } = await api.listStackRollouts({ params: { stack }, query: { limit: 200, version } }, { signal: ctx.signal });
  return items.filter((rollout) => ctx.settings.component === undefined || rollout.component === ctx.settings.component);
}
