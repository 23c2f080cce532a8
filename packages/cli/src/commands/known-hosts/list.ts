// `berth known-hosts list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["known-hosts", "list"],
  scope: "none",
  summary: "List the ssh host keys that git may trust",
  options: listOptions(lists.knownHosts),
  examples: [["berth known-hosts list", "one line each, as in ~/.ssh/known_hosts"]],
  async run(ctx, { options }) {
    const api = await ctx.api();
    await showList(
      ctx,
      options,
      (query) => api.listKnownHosts({ query }, { signal: ctx.signal }),
      [
        { title: "KEY", of: (host) => host.line, shrink: 1 },
        { title: "TRUSTED", of: (host) => ago(host.createdAt, ctx.now()) },
      ],
      "known hosts",
    );
  },
});
