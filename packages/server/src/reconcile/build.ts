// Builds: a scheduler that admits queued ones fairly, and the run of one. A build that a crashed process left behind is run again from its row (promise 2).
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import { detectOptions } from "../resources/plans/builds.ts";
import { areStepsDone, chooseNextBuilds } from "../core/buildqueue.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Attestations, Builder, BuildEvent, BuildLine, BuildOutcome, BuildRequest } from "../builders/builder.ts";
import type { SourceTree } from "../core/buildplan/source.ts";
import { detectBuildPlan } from "../core/buildplan/detect.ts";
import { duration } from "../core/words.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";
import type { SecretBox } from "../db/secretbox.ts";
import type { BuildLogs } from "../resources/builds/log.ts";
import * as store from "../resources/builds/store.ts";
import { stackEvent, wakeComponent } from "../resources/intent.ts";
import { waitingForBuild } from "../resources/rollouts/store.ts";
import { openNewest } from "../resources/secrets/store.ts";
import { findOrigin } from "../resources/sources/store.ts";
import { findCluster, findStackById, type StackRow } from "../resources/stacks/store.ts";
import type { BuildPlaces } from "./build-places.ts";
import { watchForCancel } from "./cancel-watch.ts";
import { secretCause } from "./component/workload.ts";
import type { HandlerContext } from "./loop.ts";
import { recordPushed } from "../resources/registries/pushed.ts";
import { enqueue, type Commit } from "./queue.ts";

export interface BuildLoopDeps {
  readonly db: Db;
  readonly log: Log;
  /** What builds for a cluster's stacks. */
  readonly builderFor: (cluster: string) => Builder;
  readonly secretBox: SecretBox;
  readonly logs: BuildLogs;
  readonly readSourceTree: (digest: string, signal: AbortSignal) => Promise<SourceTree>;
  readonly clock: () => Date;
  readonly limits: { readonly total: number; readonly perStack: number };
  readonly places: BuildPlaces;
  /** Where a build's image is pushed to; absent, or undefined: it stays where it is built. */
  readonly destination?: (of: {
    readonly cluster: string;
    readonly team: string;
    readonly stack: string;
    readonly context: string;
  }) => string | undefined;
  /** ms a build may take unless its options say otherwise. */
  readonly deadline: number;
}

type Under = Pick<HandlerContext, "signal" | "commit">;

/** The build loop's handler. */
export async function reconcileBuilds(
  deps: BuildLoopDeps,
  row: { readonly kind: string; readonly key: string },
  context: Under,
): Promise<void> {
  await (row.kind === "build" ? runBuild(deps, row.key, context) : scheduleBuilds(deps, row.key, context.commit));
}

/**
 * Gives the next queued builds their turn; woken by each new build and by each that has done its steps. The place of one that only keeps what came out of them is
 * free: that takes a disk, and no processor. As many as have a place may be doing so, lest a slow disk let them pile up.
 */
export async function scheduleBuilds(deps: Pick<BuildLoopDeps, "clock" | "limits">, clusterName: string, commit: Commit): Promise<void> {
  await commit(async (trx) => {
    const cluster = await findCluster(trx, clusterName);
    if (cluster === undefined) return;
    const open = await store.openBuilds(trx, cluster.id);
    const item = (build: (typeof open)[number]) => ({ id: build.id, stackId: build.stack_id, queuedAt: build.queued_at.getTime() });
    const queued = open.filter((build) => build.phase === "queued").map(item);
    const starts = await store.lastStarts(
      trx,
      queued.map((build) => build.stackId),
    );
    const running = open.filter((build) => build.phase === "running");
    const keeping = new Set(running.filter((build) => areStepsDone(build.steps, build.planned ?? 0)).slice(0, deps.limits.total));
    const chosen = chooseNextBuilds(
      queued,
      running.filter((build) => !keeping.has(build)).map(item),
      deps.limits,
      new Map([...starts].map(([stack, at]) => [stack, at.getTime()])),
    );
    for (const build of chosen) {
      await store.updateBuild(trx, build.id, { phase: "running", startedAt: deps.clock() });
      await enqueue(trx, { kind: "build", key: build.id, cluster: clusterName });
    }
  });
}

export async function runBuild(deps: BuildLoopDeps, buildId: string, { signal, commit }: Under): Promise<void> {
  const build = await store.findBuildById(deps.db, buildId);
  if (build === undefined) return;
  const stack = await findStackById(deps.db, build.stack_id);
  if (stack === undefined) return;
  // The control plane died between the build's end and this.
  if (build.attesting !== null) return attestBuild(deps, stack, build.id, { signal, commit });
  if (build.phase !== "running") return;
  if (build.cancel_requested_by !== null) return end(deps, stack, build, commit, { cancelled: build.cancel_requested_by });
  await deps.logs.reset(build.id);
  let leavePlace = (): void => undefined;
  const journal = createJournal(deps, stack, build, commit, () => {
    leavePlace();
  });
  await journal.begin();
  try {
    const tree = await deps.readSourceTree(build.source_digest, signal);
    const detected = detectBuildPlan(tree, detectOptions(build.options));
    if (!detected.ok) return await end(deps, stack, build, commit, { failed: detected.cause });
    await commit((trx) => store.updateBuild(trx, build.id, { plan: detected.plan }));
    journal.expect(detected.plan.steps.length);
    const builder = deps.builderFor(stack.cluster);
    const lacking = await builder.check(detected.plan, stack.id);
    if (lacking !== undefined) return await end(deps, stack, build, commit, { failed: lacking });
    const opened = await openBuildSecrets(deps, build);
    if ("lacking" in opened) return await end(deps, stack, build, commit, { failed: opened.lacking });
    const request = await requestOf(deps, stack, build, detected.plan, opened.secrets);
    const cancelled = new AbortController();
    const watch = watchForCancel(() => store.cancelledBy(deps.db, build.id), cancelled, signal);
    try {
      const either = AbortSignal.any([signal, cancelled.signal]);
      leavePlace = await deps.places.take(either);
      const startedAt = deps.clock().toISOString();
      const outcome = await builder.build(request, journal.onEvent, either);
      await journal.flush();
      await end(
        deps,
        stack,
        build,
        commit,
        outcome.ok
          ? { succeeded: outcome, startedAt, attested: builder.attest !== undefined, steps: journal.steps() }
          : { failed: outcome.cause, steps: journal.steps() },
      );
    } catch (error) {
      await journal.flush();
      if (!cancelled.signal.aborted) throw error;
      await end(deps, stack, build, commit, { cancelled: String(cancelled.signal.reason), steps: journal.steps() });
    } finally {
      leavePlace();
      cancelled.abort("ended");
      await watch;
    }
    await attestBuild(deps, stack, build.id, { signal, commit });
  } finally {
    await journal.flush();
  }
}

/** Nobody waits for it: the build is told as succeeded already. What cannot be attested is not tried again, and the build stays what it is. */
async function attestBuild(deps: BuildLoopDeps, stack: StackRow, buildId: string, { signal, commit }: Under): Promise<void> {
  const build = await store.findBuildById(deps.db, buildId);
  const builder = deps.builderFor(stack.cluster);
  if (build?.attesting == null || build.plan === null) return;
  let attested: Attestations | undefined;
  try {
    const opened = await openBuildSecrets(deps, build);
    if ("lacking" in opened) throw new Error(`its secrets cannot be opened: ${opened.lacking.code}`);
    attested = await builder.attest?.(await requestOf(deps, stack, build, build.plan, opened.secrets), build.attesting, signal);
  } catch (error) {
    signal.throwIfAborted();
    deps.log.error({ err: error, stack: stack.name, build: build.number }, "a build could not be attested");
  }
  if (attested !== undefined && attested.notes.length > 0)
    deps.log.info({ stack: stack.name, build: build.number, notes: attested.notes }, "a build was attested");
  const { digest } = build.attesting.outcome;
  await commit(async (trx) => {
    for (const beside of attested?.beside ?? []) await recordPushed(trx, beside, digest);
    await store.setAttested(trx, build.id, attested);
  });
}

/** What the builder is asked for. */
async function requestOf(
  deps: BuildLoopDeps,
  stack: StackRow,
  build: store.BuildRow,
  plan: BuildPlan,
  secrets: Readonly<Record<string, string>>,
): Promise<BuildRequest> {
  const origin = await findOrigin(deps.db, build.source_id);
  const repository = deps.destination?.({ cluster: stack.cluster, team: stack.team, stack: stack.name, context: build.context });
  return {
    id: build.id,
    stackId: stack.id,
    stackName: stack.name,
    sourceDigest: build.source_digest,
    plan,
    env: build.options.args ?? {},
    secrets,
    ...(build.options.writable === undefined ? {} : { writable: build.options.writable }),
    ...(origin === undefined ? {} : { origin }),
    ...(repository === undefined ? {} : { destination: { repository, tag: tagOf(build) } }),
    secretValues: [],
    deadline: build.options.deadline ?? deps.deadline,
  };
}

/** The newest values, as they are when the build begins. */
async function openBuildSecrets(
  { db, secretBox }: Pick<BuildLoopDeps, "db" | "secretBox">,
  { stack_id, options }: store.BuildRow,
): Promise<{ readonly secrets: Readonly<Record<string, string>> } | { readonly lacking: Cause }> {
  try {
    return { secrets: await openNewest(db, secretBox, stack_id, options.secrets ?? {}) };
  } catch (error) {
    const lacking = secretCause(error);
    if (lacking === undefined) throw error;
    return { lacking };
  }
}

/** For people. Nobody can guess it: a build of another stack could be built upon it by its name. */
function tagOf({ number, id }: Pick<store.BuildRow, "number" | "id">): string {
  return `build-${String(number)}-${id.replaceAll("-", "").slice(0, 12)}`;
}

type End = (
  | { readonly succeeded: Extract<BuildOutcome, { ok: true }>; /** RFC 3339 */ readonly startedAt: string; readonly attested: boolean }
  | { readonly failed: Cause }
  | { readonly cancelled: string }
) & { readonly steps?: Build["steps"] };

async function end(deps: BuildLoopDeps, stack: StackRow, build: store.BuildRow, commit: Commit, how: End): Promise<void> {
  const logDigest = await deps.logs.keep(build.id);
  const endedAt = deps.clock();
  const scope = { name: stack.name, teamId: stack.team_id };
  const topics = [`build:${stack.name}/${build.number}`];
  const common = { endedAt, ...(logDigest === undefined ? {} : { logDigest }), ...(how.steps === undefined ? {} : { steps: how.steps }) };
  await commit(async (trx) => {
    if ("succeeded" in how) {
      await store.saveArtifact(trx, {
        digest: how.succeeded.digest,
        kind: deps.builderFor(stack.cluster).kind === "image" ? "image" : "bundle",
        size: how.succeeded.size,
      });
      const { digest, reference } = how.succeeded;
      const artifact = {
        artifactDigest: digest,
        ...(reference === undefined ? {} : { artifactReference: reference }),
        ...(how.attested ? { attesting: { outcome: how.succeeded, startedAt: how.startedAt, endedAt: endedAt.toISOString() } } : {}),
      };
      // Also of a build that was cancelled in this moment: what is in the registry is known, and goes when nothing needs it.
      if (reference !== undefined) await recordPushed(trx, reference);
      if (!(await store.updateBuild(trx, build.id, { ...common, phase: "succeeded", ...artifact }))) return;
      await stackEvent(trx, scope, {
        code: "build_succeeded",
        params: {
          build: build.number,
          context: build.context,
          took: duration(endedAt.getTime() - (build.started_at ?? build.queued_at).getTime()),
        },
        topics,
      });
    } else if ("failed" in how) {
      if (!(await store.updateBuild(trx, build.id, { ...common, phase: "failed", cause: how.failed }))) return;
      await stackEvent(trx, scope, {
        code: "build_failed",
        params: { build: build.number, context: build.context },
        cause: how.failed,
        topics,
      });
    } else {
      const why = cause("build_cancelled", { by: how.cancelled });
      if (!(await store.updateBuild(trx, build.id, { ...common, phase: "cancelled", cause: why }))) return;
      await stackEvent(trx, scope, {
        code: "build_cancelled",
        params: { build: build.number, context: build.context, by: how.cancelled },
        cause: why,
        topics,
      });
    }
    for (const waiting of await waitingForBuild(trx, build.id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
    await enqueue(trx, { kind: "build-schedule", key: stack.cluster, cluster: stack.cluster });
  });
}

/** Writes log lines and steps in the order they came, a few at a time, without holding up the build. */
function createJournal(deps: BuildLoopDeps, stack: StackRow, build: store.BuildRow, commit: Commit, onStepsDone: () => void) {
  const steps: Build["steps"] = [];
  const scope = { name: stack.name, teamId: stack.team_id };
  const topics = [`build:${stack.name}/${build.number}`];
  let lines: BuildLine[] = [];
  let writing: Promise<void> = Promise.resolve();
  let failure: Error | undefined;
  let scheduled = false;
  let planned = 0;

  function later(work: () => Promise<void>): void {
    writing = writing.then(work).catch((error: unknown) => {
      failure ??= error instanceof Error ? error : new Error(String(error));
    });
  }
  function writeLines(): void {
    scheduled = false;
    const batch = lines;
    lines = [];
    later(() => deps.logs.append(build.id, batch));
  }

  return {
    steps: () => steps,
    /** So many steps there will be. */
    expect(count: number): void {
      planned = count;
    },
    async begin(): Promise<void> {
      await commit(async (trx) => {
        await store.updateBuild(trx, build.id, { attempt: true, steps: [] });
        await stackEvent(trx, scope, {
          code: "build_started",
          params: { build: build.number, context: build.context, attempt: build.attempts + 1 },
          topics,
        });
      });
    },
    onEvent(event: BuildEvent): void {
      if (event.type === "log") {
        lines.push(event.line);
        if (!scheduled) {
          scheduled = true;
          setTimeout(writeLines, 50).unref();
        }
        return;
      }
      const known = steps.findIndex((step) => step.name === event.name);
      const step = { name: event.name, state: event.state, ...(event.took === undefined ? {} : { took: event.took }) };
      if (known === -1) steps.push(step);
      else steps[known] = step;
      const snapshot = steps.map((item) => ({ ...item }));
      const done = areStepsDone(snapshot, planned);
      if (done) onStepsDone();
      later(() =>
        commit(async (trx) => {
          await store.updateBuild(trx, build.id, { steps: snapshot });
          if (done) await enqueue(trx, { kind: "build-schedule", key: stack.cluster, cluster: stack.cluster });
          await stackEvent(trx, scope, {
            code: "build_step",
            params: { build: build.number, step: event.name, state: event.state },
            topics,
          });
        }),
      );
    },
    async flush(): Promise<void> {
      writeLines();
      await writing;
      if (failure !== undefined) throw failure;
    },
  };
}
