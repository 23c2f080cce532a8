// `berth stacks delete`
import { defineCommand, flag, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["stacks", "delete"],
  scope: "none",
  asks: true,
  waits: true,
  summary: "Remove a stack and everything that it runs",
  description: "Volumes stay, and a new stack of the same name finds them again, unless --volumes asks for their end too.",
  arguments: { stack: required("the stack", "stack") },
  options: { volumes: flag("--volumes", "delete its volumes and what is in them, for good") },
  examples: [
    ["berth stacks delete shop-staging", "stops and removes it; its name is asked for first"],
    ["berth stacks delete shop-staging --volumes --yes", "with its data, without asking"],
  ],
  async run(ctx, { arguments: { stack }, options: { volumes } }) {
    const api = await ctx.api();
    const found = await api.showStack({ params: { stack } }, { signal: ctx.signal });
    await ctx.confirmByName(
      `Deleting stack ${stack}`,
      `Remove stack ${stack} with its ${found.components} components${volumes ? " and ALL ITS VOLUMES" : "; its volumes stay"}?`,
      stack,
    );
    const answer = await api.deleteStack({ params: { stack }, query: { volumes } }, { signal: ctx.signal });
    if (ctx.settings.wait) {
      ctx.watch = `\`berth stacks show ${stack}\` shows it until it is gone.`;
      const { untilGone } = await import("../../follow/gone.ts");
      await untilGone(ctx, `stack:${stack}`, () => api.showStack({ params: { stack } }, { signal: ctx.signal }));
    }
    done(ctx, answer, ctx.settings.wait ? `Stack ${stack} was removed.` : `Stack ${stack} is being removed.`);
  },
});
