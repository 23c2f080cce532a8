// `berth certificates renew`
import { defineCommand, required } from "../../command.ts";
import { done } from "../shown.ts";

export const command = defineCommand({
  path: ["certificates", "renew"],
  scope: "none",
  summary: "Ask the authority for a host's certificate now, instead of when it is due",
  description:
    "For hosts whose certificates Berth gets by itself: after you mended what kept the authority from giving one. What is served goes on meanwhile.",
  arguments: { host: required("the host's name") },
  examples: [["berth certificates renew shop.example.com", "`berth certificates show shop.example.com` tells how it went"]],
  async run(ctx, { arguments: { host } }) {
    const state = await (await ctx.api()).renewCertificate({ params: { host } }, { signal: ctx.signal });
    done(ctx, state, `A certificate for ${host} is being asked for.`);
  },
});
