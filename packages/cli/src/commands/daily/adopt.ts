// `berth adopt`
import type { Candidate } from "@berth/contract/resources/adoption.ts";
import { renderNote } from "@berth/contract/notes.ts";
import { defineCommand, rest } from "../../command.ts";
import type { Context } from "../../context.ts";
import { exitCodes } from "../../failure.ts";

export const command = defineCommand({
  path: ["adopt"],
  scope: "none",
  asks: true,
  summary: "Take over what runs and the database does not know",
  description:
    "For the time after the database was lost or a backup was restored. Clusters beside this machine are added again first (`berth clusters add`). It shows first what it found, and takes it over, as it runs and without a restart, after you have agreed. Components that do not run leave no trace: for those there is `berth restore`.",
  arguments: { stacks: rest("only these stacks", "stack") },
  examples: [
    ["berth adopt", "see what there is, then agree"],
    ["berth adopt shop --yes", "one stack, without a question"],
  ],
  async run(ctx, { arguments: { stacks } }) {
    const api = await ctx.api();
    const { candidates: items, away } = await api.showAdoption({}, { signal: ctx.signal });
    for (const cluster of away) ctx.out.note(ctx.say("adopt_away", { cluster }));
    const meant = items.filter((item) => stacks.length === 0 || stacks.includes(item.stack));
    const possible = meant.filter((item) => item.possible);
    if (!ctx.out.json || possible.length === 0) {
      if (meant.length === 0) ctx.out.note("Everything that runs here is in the database.");
      else if (!ctx.out.json) show(ctx, meant);
    }
    if (possible.length === 0) {
      if (ctx.out.json) ctx.out.object({ adopted: [], left: meant, away });
      return meant.length === 0 ? exitCodes.done : exitCodes.failed;
    }
    await ctx.confirm(`Adopting ${possible.length} component(s)`, `Take over ${possible.length} component(s) as they run?`);
    const done = await api.adopt({ body: stacks.length === 0 ? {} : { stacks: [...stacks] } }, { signal: ctx.signal });
    if (ctx.out.json) ctx.out.object(done);
    else {
      const at = placeOf(done.adopted);
      for (const item of done.adopted)
        ctx.out.line(`${item.stack}/${item.component} was taken over${at(item)}: release ${item.release}, ${item.instances} instance(s).`);
      if (done.left.length > 0) show(ctx, done.left);
    }
    return done.left.length > 0 ? exitCodes.failed : exitCodes.done;
  },
});

function show(ctx: Context, items: readonly Candidate[]): void {
  const { paint } = ctx.out;
  const at = placeOf(items);
  for (const item of items) {
    ctx.out.line(
      `${paint.bold(`${item.stack}/${item.component}`)}${at(item)}  release ${item.release}, ${item.instances} instance(s)${item.urls[0] === undefined ? "" : `, ${item.urls[0]}`}: ${item.possible ? paint.good(`unknown ${item.unknown}`) : paint.bad("cannot be taken over")}`,
    );
    for (const one of item.notes) ctx.out.line(`  ${renderNote(one)}`);
  }
}

/** ` in east`, where they are in several clusters. */
function placeOf(items: readonly Pick<Candidate, "cluster">[]): (item: Pick<Candidate, "cluster">) => string {
  const isOne = new Set(items.map(({ cluster }) => cluster)).size <= 1;
  return ({ cluster }) => (isOne ? "" : ` in ${cluster}`);
}
