// A stack at a glance: a line per component, and beneath the table the cause of each that fails.
import { renderNote } from "@berth/contract/notes.ts";
import type { Component } from "@berth/contract/resources/components.ts";
import type { Context } from "../context.ts";
import { hints } from "../follow/hints.ts";
import { table } from "../output/table.ts";
import { ago } from "../output/time.ts";
import { cut } from "../output/width.ts";
import { causeLines } from "./cause.ts";
import { stateStyle, stateText } from "./states.ts";
import { readyText } from "./autoscale.ts";

interface Page {
  readonly items: Component[];
  readonly cursor?: string;
}

export async function showStatus(ctx: Context, stack: string): Promise<void> {
  const page = await read(ctx, stack);
  if (ctx.out.json) ctx.out.object(page);
  else ctx.out.lines(statusLines(ctx, stack, page.items));
}

/** Shows it again whenever something happened; on a terminal in place, in a pipe one after the other when it differs. */
export async function watchStatus(ctx: Context, stack: string): Promise<void> {
  const { next, stop } = hints(ctx, await ctx.api(), `stack:${stack},component:${stack}/*`);
  let drawn = 0;
  let said = "";
  try {
    for (;;) {
      const page = await read(ctx, stack);
      const lines = ctx.out.json ? [JSON.stringify(page)] : statusLines(ctx, stack, page.items);
      const text = lines.join("\n");
      if (ctx.out.outIsLive && !ctx.out.json) {
        // A line that wraps would count as two.
        const width = (ctx.out.width ?? 80) - 1;
        await ctx.out.write(`${drawn > 0 ? `\x1b[${drawn}A\x1b[J` : ""}${lines.map((line) => cut(line, width)).join("\n")}\n`);
        drawn = lines.length;
      } else if (withoutAges(page) !== said) {
        said = withoutAges(page);
        await ctx.out.write(`${text}\n${ctx.out.json ? "" : "\n"}`);
      }
      await next();
    }
  } finally {
    await stop();
  }
}

async function read(ctx: Context, stack: string): Promise<Page> {
  const api = await ctx.api();
  const page = await api.listComponents({ params: { stack }, query: { limit: 500 } }, { signal: ctx.signal });
  const { component } = ctx.settings;
  return component === undefined ? page : { items: page.items.filter((item) => item.name === component) };
}

export function statusLines(ctx: Pick<Context, "out" | "now">, stack: string, components: readonly Component[]): string[] {
  const { paint, width } = ctx.out;
  if (components.length === 0) return [`${paint.bold(stack)}: no components yet; \`berth up\` in a folder with code makes some.`];
  const lines = table(
    [
      { title: "COMPONENT", of: (component) => component.name, style: paint.bold, shrink: 1 },
      { title: "STATE", of: (component) => stateText(component, ctx.now()), style: stateStyle(paint) },
      { title: "READY", of: readyText, align: "right" },
      {
        title: "RELEASE",
        of: (component) => (component.release === undefined ? "-" : `v${component.release.number}`),
        align: "right",
        drop: 3,
      },
      { title: "RELEASED", of: (component) => ago(component.release?.createdAt, ctx.now()), drop: 4 },
      { title: "NOW", of: now, shrink: 1, drop: 2 },
      { title: "URL", of: (component) => component.urls[0] ?? "", shrink: 2, least: 28, style: paint.link, drop: 1 },
    ],
    components,
    { width, head: paint.dim },
  );
  const parts = components.flatMap((component) => (component.clusters ?? []).map((part) => ({ component, part })));
  const byCluster =
    parts.length === 0
      ? []
      : table(
          [
            { title: "COMPONENT", of: ({ component }) => component.name, style: paint.bold, shrink: 1 },
            { title: "CLUSTER", of: ({ part }) => part.name, shrink: 1 },
            { title: "STATE", of: ({ part }) => stateText(part, ctx.now()), style: stateStyle(paint) },
            { title: "READY", of: ({ part }) => `${part.ready}/${part.replicas}`, align: "right" },
            { title: "RELEASE", of: ({ part }) => (part.release === undefined ? "-" : `v${part.release}`), align: "right" },
            { title: "NOW", of: ({ part }) => rolloutText(part.rollout), shrink: 1, drop: 2 },
            { title: "URL", of: ({ part }) => part.urls[0] ?? "", shrink: 2, least: 28, style: paint.link, drop: 1 },
          ],
          parts,
          { width, head: paint.dim },
        );
  const more = components.flatMap((component) =>
    component.urls.slice(1).map((url) => `${component.name} also answers at ${paint.link(url)}`),
  );
  const failing = components.flatMap((component) =>
    component.cause === undefined ? [] : ["", paint.bold(component.name), ...causeLines(component.cause, paint).map((line) => `  ${line}`)],
  );
  const warned = components.flatMap(({ name, warnings }) =>
    (warnings ?? []).map((note) => `${paint.bold(name)}: ${(note.code === "https_expired" ? paint.bad : paint.warn)(renderNote(note))}`),
  );
  // What serves is well, and the newest change did not come to serve: that must not look like a success.
  const behind = components.flatMap(({ name, rollout, release, cause }) =>
    rollout?.phase === "failed" && cause === undefined && release !== undefined
      ? [
          `${paint.bold(name)}: ${paint.bad(`rollout #${rollout.number} failed`)} and v${release.number} serves on; why: berth rollouts show ${rollout.number} -s ${stack} -c ${name}`,
        ]
      : [],
  );
  return [
    `${paint.dim("stack")} ${paint.bold(stack)}`,
    "",
    ...lines,
    ...(byCluster.length === 0 ? [] : ["", ...byCluster]),
    ...(more.length === 0 ? [] : ["", ...more]),
    ...(warned.length === 0 ? [] : ["", ...warned]),
    ...(behind.length === 0 ? [] : ["", ...behind]),
    ...failing,
  ];

  function now(component: Component): string {
    if (component.nextRunAt !== undefined) return `next run ${ago(component.nextRunAt, ctx.now())}`;
    return rolloutText(component.rollout);
  }
}

function rolloutText(rollout: Component["rollout"]): string {
  return rollout === undefined || ["succeeded", "superseded"].includes(rollout.phase) ? "" : `rollout #${rollout.number} ${rollout.phase}`;
}

/** What makes two looks different for a reader: not that a moment has passed. */
function withoutAges(page: Page): string {
  return JSON.stringify(
    page.items.map(({ name, state, unknownSince, ready, replicas, release, rollout, clusters, cause, warnings }) => ({
      name,
      state,
      unknownSince,
      ready,
      replicas,
      release,
      rollout,
      clusters,
      cause,
      warnings,
    })),
  );
}
