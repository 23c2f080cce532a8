// `berth certificates delete`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["certificates", "delete"],
  scope: "none",
  asks: true,
  summary: "Delete a certificate",
  description: "Hosts that no other certificate covers are not served over HTTPS any more.",
  arguments: { certificate: required("its name") },
  examples: [["berth certificates delete shop", "asks first"]],
  async run(ctx, { arguments: { certificate } }) {
    await ctx.confirm(`Deleting certificate ${certificate}`, `Delete certificate ${certificate}?`);
    done(
      ctx,
      await (await ctx.api()).deleteCertificate({ params: { certificate } }, { signal: ctx.signal }),
      `Certificate ${certificate} was deleted.`,
    );
  },
});
