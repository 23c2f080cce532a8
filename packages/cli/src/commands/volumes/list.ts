// `berth volumes list`
import { lists } from "@berth/contract/lists.ts";
import { defineCommand, flag, text } from "../../command.ts";
import { ago, bytes } from "../../output/time.ts";
import { listOptions, showList } from "../lists.ts";

export const command = defineCommand({
  path: ["volumes", "list"],
  scope: "stack",
  summary: "List a stack's volumes, or everyone's",
  options: {
    ...listOptions(lists.allVolumes),
    everywhere: flag("-A, --everywhere", "of every stack, those kept of deleted stacks too"),
    usedBy: text("--used-by <component>", "only those that this component uses", "component"),
    deleted: flag("--deleted", "with -A: only those that deleted stacks left behind"),
  },
  examples: [
    ["berth volumes list -s shop", "size and users of each"],
    ["berth volumes list -A", "also what deleted stacks left behind"],
  ],
  async run(ctx, { options }) {
    const api = await ctx.api();
    const stack = options.everywhere ? undefined : await ctx.stack();
    await showList(
      ctx,
      options,
      (query) =>
        stack === undefined
          ? api.listAllVolumes(
              { query: { ...query, usedBy: options.usedBy, stackDeleted: options.deleted ? true : undefined } },
              { signal: ctx.signal },
            )
          : api.listVolumes({ params: { stack }, query: { ...query, usedBy: options.usedBy } }, { signal: ctx.signal }),
      [
        { title: "STACK", of: (volume) => volume.stack + (volume.stackDeleted ? " (deleted)" : ""), shrink: 1 },
        { title: "VOLUME", of: (volume) => volume.name, style: ctx.out.paint.bold, shrink: 1 },
        { title: "SIZE", of: (volume) => bytes(volume.bytes), align: "right" },
        { title: "USED BY", of: (volume) => volume.usedBy.join(", ") || "-", shrink: 1 },
        { title: "CLUSTER", of: (volume) => volume.cluster, drop: 2, shrink: 1 },
        { title: "CREATED", of: (volume) => ago(volume.createdAt, ctx.now()), drop: 1 },
      ],
      "volumes",
    );
  },
});
