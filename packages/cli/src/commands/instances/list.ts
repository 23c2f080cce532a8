// `berth instances list`
import { lists } from "@berth/contract/lists.ts";
import type { InstanceView } from "@berth/contract/resources/components.ts";
import type { Context } from "../../context.ts";
import { defineCommand, optional, text } from "../../command.ts";
import { ago } from "../../output/time.ts";
import { labelOf } from "../../follow/model.ts";
import { stateStyle } from "../../view/states.ts";
import { findOptions } from "../lists.ts";

export const command = defineCommand({
  path: ["instances", "list"],
  scope: "component",
  summary: "List what runs of a component, or of the whole stack",
  arguments: { component: optional("the component, instead of -c; none = all of the stack", "component") },
  options: {
    ...findOptions(lists.instances),
    phase: text("--phase <phase>", "only in this phase", ["starting", "running", "stopping", "backoff", "exited"]),
  },
  examples: [
    ["berth instances list web", "every copy of web, with its release and restarts"],
    ["berth instances list -s shop", "everything that the stack runs"],
  ],
  async run(ctx, input) {
    const api = await ctx.api();
    const stack = await ctx.stack();
    const named = input.arguments.component ?? ctx.settings.component;
    const names =
      named === undefined
        ? (await api.listComponents({ params: { stack }, query: { limit: 500 } }, { signal: ctx.signal })).items.map((item) => item.name)
        : [named];
    const pages = await Promise.all(
      names.map(async (component) => ({
        component,
        page: {
          items: await every(
            ctx,
            { stack, component },
            { search: input.options.search, sort: input.options.sort, phase: input.options.phase },
          ),
        },
      })),
    );
    const only = pages[0];
    if (ctx.out.json)
      return ctx.out.object(pages.length === 1 && only !== undefined ? only.page : { items: pages.flatMap(({ page }) => page.items) });
    const rows = pages.flatMap(({ component, page }) => page.items.map((instance) => ({ component, ...instance })));
    if (rows.length === 0) return ctx.out.note(ctx.say("nothing", { what: "instances" }));
    ctx.out.table(
      [
        { title: "INSTANCE", of: (row) => row.id, shrink: 1, style: ctx.out.paint.bold },
        { title: "COMPONENT", of: labelOf, shrink: 1 },
        { title: "PHASE", of: (row) => row.phase, style: stateStyle(ctx.out.paint) },
        {
          title: "READY",
          of: (row) => (row.ready ? "yes" : "no"),
          style: (text, row) => (row.ready ? ctx.out.paint.good(text) : ctx.out.paint.bad(text)),
        },
        { title: "RELEASE", of: (row) => `v${row.release}`, align: "right", drop: 1 },
        { title: "RESTARTS", of: (row) => String(row.restarts), align: "right", drop: 2 },
        { title: "STARTED", of: (row) => ago(row.startedAt, ctx.now()), drop: 3 },
        { title: "PID", of: (row) => (row.pid === undefined ? "-" : String(row.pid)), align: "right", drop: 5 },
        { title: "ADDRESS", of: (row) => row.address ?? "-", shrink: 1, drop: 4 },
      ],
      rows,
    );
    const failing = rows.filter((row) => row.cause !== undefined);
    if (failing.length === 0) return;
    const { causeLines } = await import("../../view/cause.ts");
    for (const row of failing)
      if (row.cause !== undefined)
        ctx.out.lines(["", ctx.out.paint.bold(row.id), ...causeLines(row.cause, ctx.out.paint).map((line) => `  ${line}`)]);
  },
});

/** All of them, however many pages they take. */
async function every(
  ctx: Context,
  params: { readonly stack: string; readonly component: string },
  query: { readonly search: string | undefined; readonly sort: string | undefined; readonly phase: string | undefined },
): Promise<InstanceView[]> {
  const api = await ctx.api();
  const items: InstanceView[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await api.listInstances({ params, query: { ...query, limit: 500, cursor } }, { signal: ctx.signal });
    items.push(...page.items);
    if (page.cursor === undefined) return items;
    cursor = page.cursor;
  }
}
