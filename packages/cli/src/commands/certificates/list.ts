// `berth certificates list`
import { lists } from "@berth/contract/lists.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { defineCommand } from "../../command.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["certificates", "list"],
  scope: "none",
  summary: "List the certificates that HTTPS is served with, never their keys",
  options: listOptions(lists.certificates),
  examples: [
    ["berth certificates list", "names, hosts and when each one ends"],
    ["berth certificates list --sort notAfter", "the one that ends first comes first"],
  ],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listCertificates({ query }, { signal: ctx.signal }),
      [
        { title: "CERTIFICATE", of: (item) => `${item.name}${item.isDefault ? " (default)" : ""}`, style: ctx.out.paint.bold, shrink: 1 },
        { title: "HOSTS", of: (item) => item.hosts.join(" "), shrink: 3 },
        { title: "SUBJECT", of: (item) => item.subject, shrink: 2 },
        { title: "EXPIRES", of: (item) => item.notAfter.slice(0, 10) },
        { title: "WARNINGS", of: (item) => item.warnings.map((note) => renderNote(note)).join(" "), shrink: 4 },
      ],
      "certificates",
    );
  },
});
