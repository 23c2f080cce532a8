// Following accepted work until it has ended, and saying how: exit code 0 only when every rollout reached its goal (promise 1),
// 4 with the cause of each that did not (promise 6). Interrupting it changes nothing in the server.
import type { Client } from "@berth/contract/client.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import type { Rollout } from "@berth/contract/resources/rollouts.ts";
import type { Context } from "../context.ts";
import { createDisplay, type Display } from "./display.ts";
import { GaveUp, Interrupted } from "../failure.ts";
import { failureOf, toldFailures, type ToldFailure } from "./failed.ts";
import { hints } from "./hints.ts";
import { isEnded, rolloutKey, type Followed, type Model, type Outcome } from "./model.ts";
import { showAccepted, showResult } from "./result.ts";

/** Resolves with exit code 0; fails with a Failure of exit code 4. With --no-wait it says what was accepted and leaves. */
export async function follow(ctx: Context, work: Followed, outcome: Outcome, unchanged: readonly string[] = []): Promise<number> {
  if (!ctx.settings.wait) {
    showAccepted(ctx, work);
    return 0;
  }
  ctx.watch = `Watch it with \`berth rollouts watch -s ${work.stack}\`.`;
  const model = await untilEnded(ctx, work).catch((error: unknown) => {
    // It goes on in the server.
    outcomeObject(ctx, work, { outcome: unfinished(ctx.signal.reason), rollouts: [], builds: [], failures: [] });
    throw error;
  });
  const rollouts = [...model.rollouts.values()];
  const bad = rollouts.filter((rollout) => rollout.phase !== (outcome === "aborted" ? "aborted" : "succeeded"));
  const badBuilds = work.rollouts.length > 0 ? [] : [...model.builds.values()].filter((build) => build.phase !== "succeeded");
  const failed = bad.length > 0 || badBuilds.length > 0;
  outcomeObject(ctx, work, {
    outcome: failed ? "failed" : outcome,
    rollouts,
    builds: [...model.builds.values()],
    failures: failed ? toldFailures(bad, badBuilds, model.stack) : [],
  });
  if (failed) throw failureOf(bad, badBuilds, rollouts.length, model.stack, ctx);
  await showResult(ctx, model, outcome, unchanged);
  return 0;
}

/** With --json, the last object on stdout: how it ended, and of all that did not come up the cause, its evidence and the next step. */
function outcomeObject(
  ctx: Context,
  work: Followed,
  end: {
    readonly outcome: Outcome | "failed" | "gave up" | "interrupted" | "unknown";
    readonly rollouts: readonly Rollout[];
    readonly builds: readonly Build[];
    readonly failures: readonly ToldFailure[];
  },
): void {
  if (ctx.out.json) ctx.out.object({ stack: work.stack, ...end });
}

function unfinished(reason: unknown): "gave up" | "interrupted" | "unknown" {
  if (reason instanceof GaveUp) return "gave up";
  return reason instanceof Interrupted ? "interrupted" : "unknown";
}

async function untilEnded(ctx: Context, work: Followed): Promise<Model> {
  const api = await ctx.api();
  const display = createDisplay(ctx.out, ctx.now, () => ctx.out.errRows);
  const topics = [
    ...work.rollouts.map(({ component, number }) => `rollout:${work.stack}/${component}/${number}`),
    ...work.builds.map(({ number }) => `build:${work.stack}/${number}`),
  ].join(",");
  const { next, stop } = hints(ctx, api, topics.length > 8000 ? `stack:${work.stack}` : topics);
  const logs = followLogs(ctx, api, work.stack, display);
  const rollouts = new Map<string, Rollout>();
  const builds = new Map<number, Build>();
  const model: Model = { stack: work.stack, rollouts, builds, lastLines: logs.lastLines };
  try {
    for (;;) {
      const open = { signal: ctx.signal };
      const pendingBuilds = work.builds.filter(({ number }) => !isBuildEnded(builds.get(number)));
      await Promise.all([
        ...work.rollouts
          .filter((one) => !ended(rollouts.get(rolloutKey(one))))
          .map(async ({ component, number }) => {
            rollouts.set(
              rolloutKey({ component, number }),
              await api.showRollout({ params: { stack: work.stack, component, rollout: number } }, open),
            );
          }),
        ...pendingBuilds.map(async ({ number }) => {
          builds.set(number, await api.showBuild({ params: { stack: work.stack, build: number } }, open));
        }),
      ]);
      // The map keeps the order of acceptance whatever answered first.
      for (const one of work.rollouts) moveLast(rollouts, rolloutKey(one));
      for (const { number } of pendingBuilds) if (builds.get(number)?.phase !== "queued") logs.start(number);
      display.update(model);
      if (
        work.rollouts.every((one) => ended(rollouts.get(rolloutKey(one)))) &&
        (work.rollouts.length > 0 || work.builds.every(({ number }) => isBuildEnded(builds.get(number))))
      )
        break;
      await next();
    }
    await logs.finish(1000);
    display.update(model);
    return model;
  } finally {
    display.stop();
    await stop();
    await logs.finish(0);
  }
}

function ended(rollout: Rollout | undefined): boolean {
  return rollout !== undefined && isEnded(rollout);
}

function isBuildEnded(build: Build | undefined): boolean {
  return build !== undefined && build.phase !== "queued" && build.phase !== "running";
}

function moveLast<K, V>(map: Map<K, V>, key: K): void {
  const value = map.get(key);
  if (value === undefined) return;
  map.delete(key);
  map.set(key, value);
}

/** One reader per build that runs. */
function followLogs(ctx: Context, api: Client, stack: string, display: Display) {
  const lastLines = new Map<number, string>();
  const ended = new AbortController();
  const signal = AbortSignal.any([ctx.signal, ended.signal]);
  const readers = new Map<number, Promise<void>>();
  const read = async (build: number): Promise<void> => {
    try {
      for await (const { data } of api.readBuildLogs({ params: { stack, build }, query: { follow: true } }, { signal })) {
        if (data.text.trim() !== "") lastLines.set(build, data.text);
        display.buildLine(build, data.text);
      }
    } catch (error) {
      // The log is company on the way; whether the build succeeded is asked elsewhere.
      if (!signal.aborted)
        ctx.out.note(`The log of build ${build} cannot be followed: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  return {
    lastLines,
    start(build: number): void {
      if (!readers.has(build)) readers.set(build, read(build));
    },
    /** Lets readers end by themselves for up to `ms`: the last lines of a failed build matter most. */
    async finish(ms: number): Promise<void> {
      const all = Promise.all(readers.values());
      if (ms > 0)
        await Promise.race([
          all,
          new Promise((resolve) => {
            setTimeout(resolve, ms).unref();
          }),
        ]);
      ended.abort();
      await all;
    },
  };
}
