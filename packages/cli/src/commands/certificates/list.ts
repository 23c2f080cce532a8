// `berth certificates list`
import { lists } from "@berth/contract/lists.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { defineCommand } from "../../command.ts";
import { listOptions, showList } from "../lists.ts";
import { hostColumns } from "../../view/certificates.ts";

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
    if (ctx.out.json || options.cursor !== undefined) return;
    // Those that are served with none, or with one that could not be renewed: nobody looks for a reason where nothing is shown.
    const { items } = await api.listAutomaticCertificates({ query: { search: options.search, limit: 500 } }, { signal: ctx.signal });
    const waiting = items.filter((item) => item.phase !== "issued");
    if (waiting.length === 0) return;
    ctx.out.line("");
    ctx.out.table(hostColumns(ctx), waiting);
  },
});
