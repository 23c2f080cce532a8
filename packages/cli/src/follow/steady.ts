// Waiting after scale, stop and start until what runs is what is wanted.
import type { Component } from "@berth/contract/resources/components.ts";
import type { Context } from "../context.ts";
import { Failure, exitCodes } from "../failure.ts";
import { causeLines } from "../view/cause.ts";
import { hints } from "./hints.ts";

/** The components as they are in the end. Fails with exit code 4 when one of them fails. */
export async function untilSteady(ctx: Context, stack: string, components: readonly Component[]): Promise<readonly Component[]> {
  const api = await ctx.api();
  const names = components.map((component) => component.name);
  ctx.watch = `\`berth status -s ${stack} --watch\` follows it.`;
  const { next, stop } = hints(ctx, api, names.map((name) => `component:${stack}/${name}`).join(","));
  let said = "";
  try {
    for (;;) {
      const now = await Promise.all(names.map((component) => api.showComponent({ params: { stack, component } }, { signal: ctx.signal })));
      const failed = now.find((component) => component.state === "failed");
      if (failed !== undefined)
        throw new Failure(exitCodes.rolloutFailed, `${failed.name} failed.`, {
          lines: failed.cause === undefined ? [] : causeLines(failed.cause, ctx.out.errPaint),
        });
      if (now.every(isSteady)) return now;
      const progress = now.map((component) => `${component.name}: ${component.ready} of ${wanted(component)} ready`).join(", ");
      if (progress !== said) ctx.out.progress(progress);
      said = progress;
      await next();
    }
  } finally {
    await stop();
  }
}

function wanted(component: Component): number {
  return component.stopped ? 0 : component.replicas;
}

function isSteady(component: Component): boolean {
  if (component.stopped) return component.state === "stopped";
  // A component that was never released has nothing to run yet.
  if (component.release === undefined) return true;
  return component.kind === "cron" || (component.ready === component.replicas && component.state !== "progressing");
}
