// `berth secrets list`
import { lists } from "@berth/contract/lists.ts";
import type { Secret } from "@berth/contract/resources/config.ts";
import { defineCommand, text } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

/** Whether those who use it have its newest value. */
function state({ cause, pendingIn, usedBy }: Secret): string {
  if (cause !== undefined) return "cannot be opened: set it again";
  if (pendingIn.length > 0) return `not yet in ${pendingIn.join(", ")}`;
  return usedBy.length === 0 ? "not used" : "in use";
}

export const command = defineCommand({
  path: ["secrets", "list"],
  scope: "stack",
  summary: "List secrets, never their values",
  options: { ...listOptions(lists.secrets), usedBy: text("--used-by <component>", "only those that this component uses", "component") },
  description:
    "STATE says which components run with an older value, until they are deployed again, and which values cannot be opened any more.",
  examples: [["berth secrets list -s shop", "names, versions, and who uses them"]],
  async run(ctx, { options }) {
    const params = { stack: await ctx.stack() };
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listSecrets({ params, query: { ...query, usedBy: options.usedBy } }, { signal: ctx.signal }),
      [
        { title: "SECRET", of: (secret) => secret.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "VERSION", of: (secret) => String(secret.version), align: "right", drop: 2 },
        { title: "USED BY", of: (secret) => secret.usedBy.join(", ") || "-", shrink: 2 },
        { title: "STATE", of: state, shrink: 3 },
        { title: "CHANGED", of: (secret) => ago(secret.updatedAt, ctx.now()) },
        { title: "BY", of: (secret) => secret.updatedBy, shrink: 1, drop: 1 },
      ],
      "secrets",
    );
  },
});
