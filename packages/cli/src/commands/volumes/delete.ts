// `berth volumes delete`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["volumes", "delete"],
  scope: "stack",
  asks: true,
  summary: "Delete a volume and what is in it, for good",
  arguments: { volume: required("its name") },
  examples: [["berth volumes delete uploads -s shop-old", "its name is asked for first"]],
  async run(ctx, { arguments: { volume } }) {
    const params = { stack: await ctx.stack(), volume };
    await ctx.confirmByName(`Deleting volume ${volume}`, `Delete volume ${volume} of stack ${params.stack} and EVERYTHING IN IT?`, volume);
    done(ctx, await (await ctx.api()).deleteVolume({ params }, { signal: ctx.signal }), `Volume ${volume} is being deleted.`);
  },
});
