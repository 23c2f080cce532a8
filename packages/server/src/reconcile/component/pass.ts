// One pass over a component: take its open rollout a step further, or keep what should run as it should be, or remove it.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { canonicalJson } from "../../core/canonical.ts";
import {
  deadlineCause,
  defaultProgressDeadline,
  definiteFailure,
  furthest,
  portPatience,
  trouble,
  type JudgedInstance,
} from "../../core/rollout/outcome.ts";
import type { Progress } from "../../core/rollout/plan.ts";
import type { RolloutProgress } from "../../db/tables-stacks.ts";
import { EngineFailure, StillPreparing, type Autoscaling } from "../../engines/engine.ts";
import { freeAddresses } from "../../resources/components/addresses.ts";
import { stackEvent } from "../../resources/intent.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import * as rollouts from "../../resources/rollouts/store.ts";
import { autoscalingOf } from "./autoscale.ts";
import type { ComponentLoopDeps, Next, PassContext } from "./deps.ts";
import { leaveAlone } from "./held.ts";
import { seeDrift } from "./drift.ts";
import { loadComponent, type Loaded } from "./load.ts";
import { removeComponent } from "./removal.ts";
import { beforeRolling, endRollout, enterPhase, failRollout, rolloutTopic, succeed } from "./rollout.ts";
import { giveUp } from "./patience.ts";
import { refusedBy, tellWhy } from "./refused.ts";
import { notePull } from "./pulling.ts";
import { stepTrack, type Target, type TrackStep } from "./track.ts";
import { verifyThroughRouter } from "./verify.ts";
import { secretCause } from "./workload.ts";
import { memoryOf, record, write, type Write } from "./writes.ts";

/** ms between looks while something is on its way that nobody hints at, such as a drain; hints make it shorter. */
const soon = 100;
/** ms between looks while instances are on their way up: their hints tell, and a look now and then is enough should one be lost. */
const patient = 500;
/** ms from which on a next pass is a slow look at something that takes its time. */
const idle = 1000;

export async function passComponent(
  deps: ComponentLoopDeps,
  componentId: string,
  context: PassContext,
): Promise<{ readonly next: Next; readonly loaded: Loaded | undefined }> {
  const loaded = await loadComponent(deps.db, componentId);
  if (loaded === undefined) return { next: undefined, loaded };
  try {
    return { next: await pass(deps, loaded, context), loaded };
  } catch (error) {
    // Its turn goes to others meanwhile: what fetches it goes on by itself (promise 4).
    if (error instanceof StillPreparing) return { next: idle, loaded };
    throw error;
  }
}

async function pass(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  if (loaded.component.delete_requested_at !== null) return removeComponent(deps, loaded, context);
  if (loaded.component.held) return leaveAlone(deps, loaded, context);
  const rollout = loaded.rollout;
  if (rollout === undefined) return keep(deps, loaded, context);
  try {
    switch (rollout.phase) {
      case "building":
      case "waiting":
      case "releasing":
      case "preparing": {
        const next = await beforeRolling(deps, loaded, rollout, context).catch(async (error: unknown) => {
          if (!(error instanceof StillPreparing)) throw error;
          if (error.pull !== undefined) await notePull(loaded, rollout, error.pull, context);
          return idle;
        });
        // What serves meanwhile is kept as it should be, so that a long build or pull does not leave a crash unseen.
        const waits = next === undefined || next >= idle;
        if (waits && loaded.stable !== undefined) await keep(deps, loaded, context);
        else if (waits) await recordIdle(loaded, context);
        return next;
      }
      case "rolling":
        return await roll(deps, loaded, rollout, context);
      case "verifying":
        return await verify(deps, loaded, rollout, context);
      case "reverting":
        return await revert(deps, loaded, rollout, context);
      default:
        return undefined;
    }
  } catch (error) {
    const hopeless = error instanceof EngineFailure && !error.retryable ? error.failure : secretCause(error);
    if (hopeless !== undefined) return failRollout(deps, loaded, rollout, context, hopeless);
    const tried = error instanceof EngineFailure ? await giveUp(deps, rollout, error.failure, context) : undefined;
    if (tried !== undefined) return failRollout(deps, loaded, rollout, context, tried);
    throw error;
  }
}

function wantedReplicas(loaded: Loaded, release: ReleaseRow | undefined): number {
  if (release === undefined || loaded.component.stopped || release.spec.kind === "cron") return 0;
  return loaded.component.replicas;
}

async function step(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  release: ReleaseRow | undefined,
  context: PassContext,
  {
    replicas = wantedReplicas(loaded, release),
    autoscaling,
  }: { readonly replicas?: number; readonly autoscaling?: Autoscaling | undefined } = {},
): Promise<{ target: Target; done: TrackStep }> {
  // Nothing wanted is told to the planner as "no revision", so that instances of any revision leave.
  const target: Target = { release: replicas === 0 ? undefined : release, replicas, autoscaling };
  return { target, done: await stepTrack(deps, loaded, target, memoryOf(loaded), context) };
}

/** Whether something changes that nobody hints at. */
const moves = ({ actions, progress }: TrackStep): boolean => actions.length > 0 || progress.old > 0;

async function recordIdle(loaded: Loaded, context: PassContext): Promise<void> {
  if (loaded.component.state === "progressing") return;
  await context.commit(async (trx) => {
    await trx.updateTable("components").set({ state: "progressing" }).where("id", "=", loaded.component.id).execute();
    await stackEvent(
      trx,
      { name: loaded.stack.name, teamId: loaded.stack.team_id },
      { code: "component_state", component: loaded.component.name, params: { state: "progressing" } },
    );
  });
}

/** Without a rollout in the way: the stable release, so many times. */
async function keep(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  // A rollout makes everything as it wants it.
  const drift = loaded.rollout === undefined && loaded.stable !== undefined ? await seeDrift(deps, loaded, context) : undefined;
  if (drift?.waits === true) return loaded.stack.drift === "report" ? idle : soon;
  const wanted = wantedReplicas(loaded, loaded.stable);
  const replicas = wanted === 0 ? 0 : (drift?.replicas ?? wanted);
  const autoscaling = autoscalingOf(loaded, loaded.stable);
  const { done } = await step(deps, loaded, loaded.stable, context, { replicas, autoscaling }).catch(async (error: unknown) => {
    await tellWhy(deps, loaded, context, secretCause(error) ?? refusedBy(error));
    throw error;
  });
  const isTold = drift?.told === true;
  if (done.instancesLost && loaded.rollout === undefined && !isTold)
    await noteRepair(deps, loaded, context, "instances", "missing instances were started");
  if (done.routesLost && loaded.rollout === undefined && !isTold)
    await noteRepair(deps, loaded, context, "routes", "the router had lost its routes and got them again");
  const recorded = record(deps, loaded, done, done.wanted, { open: loaded.rollout !== undefined });
  // The last instance of the release before may have gone just now, and needs its addresses no more.
  const free = recorded !== undefined && done.progress.settled && loaded.rollout === undefined;
  await write(context, [recorded, free ? (trx) => freeAddresses(trx, loaded.stack, loaded.component.id) : undefined]);
  return done.progress.settled ? undefined : moves(done) ? soon : idle;
}

async function noteRepair(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  context: PassContext,
  what: "instances" | "routes",
  told: string,
): Promise<void> {
  deps.countRepair(loaded.stack.name, loaded.component.name, what);
  await context.commit((trx) =>
    stackEvent(
      trx,
      { name: loaded.stack.name, teamId: loaded.stack.team_id },
      { code: "component_repaired", component: loaded.component.name, params: { what: told } },
    ),
  );
}

function judged(
  deps: ComponentLoopDeps,
  done: TrackStep,
  release: ReleaseRow,
  restart: number,
  before: RolloutProgress["restartsBefore"],
): JudgedInstance[] {
  const now = deps.clock().getTime();
  return done.instances.map((instance) => ({
    current:
      instance.revision.releaseHash === release.hash &&
      instance.revision.restart === restart &&
      instance.phase !== "stopping" &&
      done.memory.draining[instance.id] === undefined,
    restarts: Math.max(0, instance.restarts - (before?.[instance.id] ?? 0)),
    runningFor: instance.startedAt === undefined ? 0 : now - deps.from(Date.parse(instance.startedAt)),
    phase: instance.phase,
    ready: instance.ready,
    ...(instance.cause === undefined ? {} : { cause: instance.cause }),
  }));
}

async function roll(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, context: PassContext): Promise<Next> {
  const release = loaded.next;
  if (release === undefined) return failRollout(deps, loaded, rollout, context, cause("internal", { reason: "the release's row is gone" }));
  if (rollout.abort_requested_by !== null)
    return failRollout(deps, loaded, rollout, context, cause("aborted", { by: rollout.abort_requested_by }), "aborted");
  const { done } = await step(deps, loaded, release, context);
  const seen = judged(deps, done, release, loaded.component.restart, rollout.progress.restartsBefore);
  const { movedAt, note } = noteProgress(deps, loaded, rollout, done.progress, done.wanted, trouble(seen));
  await write(context, [
    record(deps, loaded, done, done.wanted, { open: true }),
    note,
    done.progress.serving ? (trx) => enterPhase(trx, loaded, rollout, "verifying") : undefined,
  ]);
  if (done.progress.serving) return 0;
  const hopeless =
    definiteFailure(seen, portPatience(release.spec.probes)) ??
    pastDeadline(deps, release, seen, done, done.wanted, waitedSince(deps, loaded, movedAt));
  if (hopeless !== undefined) return failRollout(deps, loaded, rollout, context, hopeless);
  return moves(done) ? soon : patient;
}

/** ms that something could have moved since it last did: neither a clock that was set nor a cluster that was away counts. */
function waitedSince(deps: ComponentLoopDeps, { stack }: Loaded, movedAt: number): number {
  return deps.clock().getTime() - Math.max(deps.from(movedAt), deps.reachableSince(stack.cluster));
}

function pastDeadline(
  deps: ComponentLoopDeps,
  release: ReleaseRow,
  seen: readonly JudgedInstance[],
  { progress, leaveTime }: TrackStep,
  wanted: number,
  waited: number,
): Cause | undefined {
  // Draining takes as long as the release that leaves allows, and is not a lack of progress.
  const allowed = (release.spec.strategy.progressDeadline ?? defaultProgressDeadline) + (progress.available >= wanted ? leaveTime : 0);
  return waited > allowed ? deadlineCause(seen, { waited, ready: progress.available, wanted }) : undefined;
}

/** What a cause says beside how often and how long, which changes with every look. */
function kindOf(why: Cause | undefined): string {
  const { failures: _failures, waited: _waited, after: _after, restarts: _restarts, ...params } = why?.params ?? {};
  return canonicalJson([why?.code ?? "", params]);
}

/** When a number last went further than ever before; and a note of numbers that changed, and of what keeps it waiting. */
function noteProgress(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  rollout: rollouts.RolloutRow,
  progress: Progress,
  wanted: number,
  waitsFor: Cause | undefined,
): { readonly movedAt: number; readonly note: Write | undefined } {
  const before = rollout.progress;
  const now = deps.clock().getTime();
  const sameCause = kindOf(waitsFor) === kindOf(rollout.cause ?? undefined);
  if (before.updated === progress.updated && before.available === progress.available && before.old === progress.old && sameCause)
    return { movedAt: before.movedAt ?? now, note: undefined };
  const { best, advanced } = furthest(before.best, { updated: progress.updated, available: progress.available, old: progress.old });
  const movedAt = advanced ? now : (before.movedAt ?? now);
  const note: Write = async (trx) => {
    if (
      !(await rollouts.updateRollout(trx, rollout.id, {
        cause: waitsFor ?? null,
        progress: { ...before, updated: progress.updated, available: progress.available, old: progress.old, best, movedAt },
      }))
    )
      return;
    await stackEvent(
      trx,
      { name: loaded.stack.name, teamId: loaded.stack.team_id },
      {
        code: "rollout_progress",
        component: loaded.component.name,
        params: { rollout: rollout.number, updated: progress.updated, ready: progress.available, old: progress.old, wanted },
        topics: [rolloutTopic(loaded, rollout)],
        ...(waitsFor === undefined ? {} : { cause: waitsFor }),
      },
    );
  };
  return { movedAt, note };
}

async function verify(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, context: PassContext): Promise<Next> {
  const release = loaded.next;
  if (release === undefined) return failRollout(deps, loaded, rollout, context, cause("internal", { reason: "the release's row is gone" }));
  if (rollout.abort_requested_by !== null)
    return failRollout(deps, loaded, rollout, context, cause("aborted", { by: rollout.abort_requested_by }), "aborted");
  const { done } = await step(deps, loaded, release, context);
  await write(context, [
    record(deps, loaded, done, done.wanted, { open: true }),
    done.progress.serving ? undefined : (trx) => enterPhase(trx, loaded, rollout, "rolling"),
  ]);
  if (!done.progress.serving) return soon;
  const verdict =
    done.wanted === 0 ? ({ ok: true, verified: [] } as const) : await verifyThroughRouter(deps, loaded, release, done.instances, context);
  if (verdict.ok) return succeed(deps, loaded, rollout, context, [...verdict.verified], done.progress.settled);
  const failures = (rollout.progress.verifyFailures ?? 0) + 1;
  if (failures >= verdict.attempts) return failRollout(deps, loaded, rollout, context, verdict.cause);
  // Told while it is still being asked: who watches need not wait for the last answer to know what the first ones were (promise 6).
  const told = failures < 3 || kindOf(verdict.cause) === kindOf(rollout.cause ?? undefined) ? {} : { cause: verdict.cause };
  await context.commit((trx) =>
    rollouts.updateRollout(trx, rollout.id, { progress: { ...rollout.progress, verifyFailures: failures }, ...told }),
  );
  return failures < 5 ? soon : 5 * soon;
}

/** Back to what served before; the rollout ends when that is whole again, or cannot become so in time. */
async function revert(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, context: PassContext): Promise<Next> {
  const { done } = await step(deps, loaded, loaded.stable, context);
  await write(context, [record(deps, loaded, done, done.wanted, { open: true })]);
  const waited = waitedSince(deps, loaded, rollout.progress.movedAt ?? deps.clock().getTime());
  if (!done.progress.settled && waited < defaultProgressDeadline) return soon;
  await context.commit(async (trx) => {
    await endRollout(deps, trx, loaded, rollout, rollout.ends_as ?? "failed");
    if (loaded.stable === undefined)
      await trx.updateTable("components").set({ state: "failed" }).where("id", "=", loaded.component.id).execute();
  });
  return 0;
}
