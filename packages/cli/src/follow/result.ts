// The end of followed work: what is live now, where it answers, and what to try next.
import type { Context } from "../context.ts";
import { duration } from "../output/time.ts";
import { stateStyle } from "../view/states.ts";
import type { Followed, Model, Outcome } from "./model.ts";
import { readyText } from "../view/autoscale.ts";

/** With --no-wait: what was accepted, and how to watch it. */
export function showAccepted(ctx: Context, work: Followed): void {
  if (ctx.out.json) return;
  for (const { number, components } of work.builds) ctx.out.line(`build #${number} for ${components.join(", ")} was accepted`);
  for (const { component, number } of work.rollouts) ctx.out.line(`rollout #${number} of ${component} was accepted`);
  if (work.rollouts.length + work.builds.length === 0) ctx.out.line("nothing to do");
  else ctx.out.note(`Watch it with \`berth rollouts watch -s ${work.stack}\`.`);
}

/** A table of the components that were released (and of those that needed nothing); with --json nothing, the outcome was printed as an object. */
export async function showResult(ctx: Context, model: Model, outcome: Outcome, unchanged: readonly string[]): Promise<void> {
  if (ctx.out.json) return;
  const { items } = await (
    await ctx.api()
  ).listComponents({ params: { stack: model.stack }, query: { limit: 500 } }, { signal: ctx.signal });
  const released = new Set([...model.rollouts.values()].map(({ component }) => component));
  const shown = items.filter((component) => released.has(component.name) || unchanged.includes(component.name));
  const { paint } = ctx.out;
  ctx.out.table(
    [
      { title: "COMPONENT", of: (component) => component.name, style: paint.bold, shrink: 1 },
      {
        title: "RESULT",
        of: (component) => (released.has(component.name) ? outcome : "unchanged"),
        style: (text) => (text.trim() === "unchanged" ? paint.dim(text) : paint.good(text)),
      },
      { title: "STATE", of: (component) => component.state, style: stateStyle(paint) },
      { title: "READY", of: readyText, align: "right" },
      {
        title: "RELEASE",
        of: (component) => (component.release === undefined ? "-" : `v${component.release.number}`),
        align: "right",
        drop: 2,
      },
      { title: "TOOK", of: (component) => tookOf(model, component.name), align: "right", drop: 1 },
    ],
    shown,
  );
  const verified = [...model.rollouts.values()].flatMap((rollout) => rollout.verified ?? []);
  if (verified.length > 0) ctx.out.line();
  for (const check of verified) ctx.out.line(`${paint.link(check.url)} answered ${check.status} in ${duration(check.took)}`);
  const quiet = shown
    .flatMap((component) => (unchanged.includes(component.name) ? component.urls : []))
    .filter((url) => !verified.some((check) => check.url === url));
  for (const url of quiet) ctx.out.line(`${paint.link(url)}`);
}

function tookOf(model: Model, component: string): string {
  const rollouts = [...model.rollouts.values()].filter((rollout) => rollout.component === component);
  const ends = rollouts.flatMap(({ endedAt }) => (endedAt === undefined ? [] : [Date.parse(endedAt)]));
  const [first] = rollouts;
  return first === undefined || ends.length < rollouts.length ? "-" : duration(Math.max(...ends) - Date.parse(first.createdAt));
}
