// `berth volumes copy`
import { defineCommand, required } from "../../command.ts";
import { UsageError } from "../../failure.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["volumes", "copy"],
  scope: "none",
  summary: "Copy what is in a volume into another one, of the same stack or another",
  description:
    "The other volume is made when it is not there; one that has anything in it, or that runs in an instance, is refused. It has all of it afterwards or nothing. The bytes pass through this machine.",
  arguments: { from: required("the volume, as STACK/VOLUME"), to: required("the other one, as STACK/VOLUME") },
  examples: [["berth volumes copy shop/uploads shop-test/uploads", "for a test with real data"]],
  async run(ctx, { arguments: { from, to } }) {
    const { restored, snapshotOf, warnInUse } = await import("../../archive.ts");
    const [source, target] = [nameOf(from), nameOf(to)];
    const api = await ctx.api();
    await warnInUse(ctx, api, source);
    const made = await restored(ctx, api, target, () => snapshotOf(ctx, api, source));
    done(ctx, made, `Volume ${to} has what is in ${from}.`);
  },
});

function nameOf(text: string): { readonly stack: string; readonly volume: string } {
  const [stack = "", volume = "", ...more] = text.split("/");
  if (stack === "" || volume === "" || more.length > 0) throw new UsageError(`\`${text}\` does not name a volume.`, "Write STACK/VOLUME.");
  return { stack, volume };
}
