// `berth certificates hosts`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { listOptions, showList } from "../lists.ts";
import { hostColumns } from "../../view/certificates.ts";

export const command = defineCommand({
  path: ["certificates", "hosts"],
  scope: "none",
  summary: "List the hosts whose certificates Berth gets by itself, and why one has none",
  options: listOptions(lists.automaticCertificates),
  examples: [["berth certificates hosts", "how far each one is, and when it is renewed"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listAutomaticCertificates({ query }, { signal: ctx.signal }),
      hostColumns(ctx),
      "hosts with automatic certificates",
    );
  },
});
