// One pass over a component: take its open rollout a step further, or keep what should run as it should be, or remove it.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { deadlineCause, defaultProgressDeadline, definiteFailure, furthest, type JudgedInstance } from "../../core/rollout/outcome.ts";
import { emptyMemory, type Memory, type Progress } from "../../core/rollout/plan.ts";
import { transaction } from "../../db/transaction.ts";
import { EngineFailure, type Instance } from "../../engines/engine.ts";
import { deleteComponent } from "../../resources/components/store.ts";
import { stackEvent } from "../../resources/intent.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import * as rollouts from "../../resources/rollouts/store.ts";
import * as tasks from "../../resources/tasks/store.ts";
import { enqueue } from "../queue.ts";
import type { ComponentLoopDeps, Next, PassContext } from "./deps.ts";
import { loadComponent, type Loaded } from "./load.ts";
import { recordObservation } from "./observation.ts";
import { beforeRolling, endRollout, enterPhase, failRollout, rolloutTopic, succeed } from "./rollout.ts";
import { instancesDigest, stepTrack, type Target, type TrackStep } from "./track.ts";
import { verifyThroughRouter } from "./verify.ts";

/** ms between looks while something is on its way; hints make it shorter. */
const soon = 100;

export async function passComponent(deps: ComponentLoopDeps, componentId: string, context: PassContext): Promise<{ readonly next: Next; readonly loaded: Loaded | undefined }> {
  const loaded = await loadComponent(deps.db, componentId);
  if (loaded === undefined) return { next: undefined, loaded };
  return { next: await pass(deps, loaded, context), loaded };
}

async function pass(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  if (loaded.component.delete_requested_at !== null) return removeComponent(deps, loaded, context);
  const rollout = loaded.rollout;
  if (rollout === undefined) return keep(deps, loaded, context);
  try {
    switch (rollout.phase) {
      case "building": case "waiting": case "preparing": {
        const next = await beforeRolling(deps, loaded, rollout, context);
        // What serves meanwhile is kept as it should be, so that a long build does not leave a crash unseen.
        if (next === undefined && loaded.stable !== undefined) await keep(deps, loaded, context);
        else if (next === undefined) await recordIdle(deps, loaded);
        return next;
      }
      case "rolling": return await roll(deps, loaded, rollout, context);
      case "verifying": return await verify(deps, loaded, rollout, context);
      case "reverting": return await revert(deps, loaded, rollout, context);
      default: return undefined;
    }
  } catch (error) {
    if (error instanceof EngineFailure && !error.retryable) return failRollout(deps, loaded, rollout, error.failure);
    throw error;
  }
}

const memoryOf = (loaded: Loaded): Memory => ({ ...emptyMemory, ...loaded.component.memory });

function wantedReplicas(loaded: Loaded, release: ReleaseRow | undefined): number {
  if (release === undefined || loaded.component.stopped || release.spec.kind === "cron") return 0;
  return loaded.component.replicas;
}

async function step(deps: ComponentLoopDeps, loaded: Loaded, release: ReleaseRow | undefined, context: PassContext): Promise<{ target: Target; done: TrackStep }> {
  const replicas = wantedReplicas(loaded, release);
  // Nothing wanted is told to the planner as "no revision", so that instances of any revision leave.
  const target: Target = { release: replicas === 0 ? undefined : release, replicas };
  return { target, done: await stepTrack(deps, loaded, target, memoryOf(loaded), context) };
}

async function record(deps: ComponentLoopDeps, loaded: Loaded, done: TrackStep, wanted: number, rollout: { open: boolean; failed?: boolean }): Promise<void> {
  const seen = loaded.component.observed.instances;
  const changed = instancesDigest(done.instances) !== digestOfViews(seen, done) || canonicalJson(loaded.component.memory) !== canonicalJson(done.memory) || loaded.component.ready !== done.progress.available;
  const state = { rolloutOpen: rollout.open, lastRolloutFailed: rollout.failed === true || loaded.component.state === "failed" || (loaded.component.state === "progressing" && loaded.stable === undefined && !rollout.open) };
  if (!changed && !stateDiffers(loaded, done.progress, wanted, state)) return;
  await transaction(deps.db, (trx) => recordObservation(trx, loaded, { instances: done.instances, progress: done.progress, memory: done.memory, wanted, at: deps.clock(), released: loaded.stable !== undefined, ...state }));
}

function digestOfViews(seen: Loaded["component"]["observed"]["instances"], done: TrackStep): string {
  const known = new Map(seen.map((view) => [view.id, view]));
  const same = seen.length === done.instances.length && done.instances.every((instance) => {
    const view = known.get(instance.id);
    return view !== undefined && view.phase === instance.phase && view.ready === instance.ready && view.restarts === instance.restarts && view.cause?.code === instance.cause?.code;
  });
  return same ? instancesDigest(done.instances) : "";
}

function stateDiffers(loaded: Loaded, progress: Progress, wanted: number, rollout: { rolloutOpen: boolean; lastRolloutFailed: boolean }): boolean {
  const { component } = loaded;
  if (rollout.rolloutOpen) return component.state !== "progressing";
  if (loaded.stable === undefined) return component.state !== (rollout.lastRolloutFailed ? "failed" : "new");
  if (component.stopped) return component.state !== "stopped";
  if (component.kind === "cron") return component.state !== "scheduled";
  return component.state !== (progress.available >= wanted ? "healthy" : "degraded");
}

async function recordIdle(deps: ComponentLoopDeps, loaded: Loaded): Promise<void> {
  if (loaded.component.state === "progressing") return;
  await transaction(deps.db, async (trx) => {
    await trx.updateTable("components").set({ state: "progressing" }).where("id", "=", loaded.component.id).execute();
    await stackEvent(trx, { name: loaded.stack.name, teamId: loaded.stack.team_id }, { code: "component_state", component: loaded.component.name, params: { state: "progressing" } });
  });
}

/** Without a rollout in the way: the stable release, so many times. */
async function keep(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  const wasHealthy = loaded.component.state === "healthy" && loaded.component.ready === loaded.component.replicas;
  const { target, done } = await step(deps, loaded, loaded.stable, context);
  const missing = done.actions.find((action) => action.type === "ensure");
  if (wasHealthy && missing !== undefined && loaded.rollout === undefined) await noteRepair(deps, loaded, "instances", "missing instances were started");
  if (done.routesLost && loaded.rollout === undefined) await noteRepair(deps, loaded, "routes", "the router had lost its routes and got them again");
  await record(deps, loaded, done, target.replicas, { open: loaded.rollout !== undefined });
  // An instance that is on its way up is told by hints; a slow look is enough should one be lost.
  return done.progress.settled ? undefined : done.actions.length > 0 || done.progress.old > 0 ? soon : 1000;
}

async function noteRepair(deps: ComponentLoopDeps, loaded: Loaded, what: "instances" | "routes", told: string): Promise<void> {
  deps.countRepair(loaded.stack.name, loaded.component.name, what);
  await transaction(deps.db, (trx) => stackEvent(trx, { name: loaded.stack.name, teamId: loaded.stack.team_id }, { code: "component_repaired", component: loaded.component.name, params: { what: told } }));
}

function judged(instances: readonly Instance[], release: ReleaseRow, restart: number): JudgedInstance[] {
  return instances.map((instance) => ({ current: instance.revision.releaseHash === release.hash && instance.revision.restart === restart, restarts: instance.restarts, phase: instance.phase, ready: instance.ready, ...(instance.cause === undefined ? {} : { cause: instance.cause }) }));
}

async function roll(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, context: PassContext): Promise<Next> {
  const release = loaded.next;
  if (release === undefined) return failRollout(deps, loaded, rollout, cause("internal", { reason: "the release's row is gone" }));
  if (rollout.abort_requested_by !== null) return failRollout(deps, loaded, rollout, cause("aborted", { by: rollout.abort_requested_by }), "aborted");
  const { target, done } = await step(deps, loaded, release, context);
  await record(deps, loaded, done, target.replicas, { open: true });
  const moved = await noteProgress(deps, loaded, rollout, done.progress, target.replicas);
  if (done.progress.settled) {
    await transaction(deps.db, (trx) => enterPhase(trx, loaded, rollout, "verifying"));
    return 0;
  }
  const seen = judged(done.instances, release, loaded.component.restart);
  const hopeless = definiteFailure(seen) ?? pastDeadline(deps, release, seen, done.progress, target.replicas, moved);
  return hopeless === undefined ? soon : failRollout(deps, loaded, rollout, hopeless);
}

function pastDeadline(deps: ComponentLoopDeps, release: ReleaseRow, seen: readonly JudgedInstance[], progress: Progress, wanted: number, movedAt: number): Cause | undefined {
  const waited = deps.clock().getTime() - movedAt;
  // Draining takes as long as its own time-out allows and is not a lack of progress.
  const allowed = (release.spec.strategy.progressDeadline ?? defaultProgressDeadline) + (progress.available >= wanted ? release.spec.drainTimeout + release.spec.gracePeriod : 0);
  return waited > allowed ? deadlineCause(seen, { waited, ready: progress.available, wanted }) : undefined;
}

/** Notes numbers that changed; answers when one last went further than ever before. */
async function noteProgress(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, progress: Progress, wanted: number): Promise<number> {
  const before = rollout.progress;
  const now = deps.clock().getTime();
  if (before.updated === progress.updated && before.available === progress.available && before.old === progress.old) return before.movedAt ?? now;
  const { best, advanced } = furthest(before.best, { updated: progress.updated, available: progress.available, old: progress.old });
  const movedAt = advanced ? now : (before.movedAt ?? now);
  await transaction(deps.db, async (trx) => {
    if (!(await rollouts.updateRollout(trx, rollout.id, { progress: { ...before, updated: progress.updated, available: progress.available, old: progress.old, best, movedAt } }))) return;
    await stackEvent(trx, { name: loaded.stack.name, teamId: loaded.stack.team_id }, { code: "rollout_progress", component: loaded.component.name, params: { rollout: rollout.number, updated: progress.updated, ready: progress.available, old: progress.old, wanted }, topics: [rolloutTopic(loaded, rollout)] });
  });
  return movedAt;
}

async function verify(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, context: PassContext): Promise<Next> {
  const release = loaded.next;
  if (release === undefined) return failRollout(deps, loaded, rollout, cause("internal", { reason: "the release's row is gone" }));
  if (rollout.abort_requested_by !== null) return failRollout(deps, loaded, rollout, cause("aborted", { by: rollout.abort_requested_by }), "aborted");
  const { target, done } = await step(deps, loaded, release, context);
  await record(deps, loaded, done, target.replicas, { open: true });
  if (!done.progress.settled) {
    await transaction(deps.db, (trx) => enterPhase(trx, loaded, rollout, "rolling"));
    return soon;
  }
  const verdict = target.replicas === 0 ? ({ ok: true, verified: [] } as const) : await verifyThroughRouter(deps, loaded, release, done.instances, context);
  if (verdict.ok) return succeed(deps, loaded, rollout, [...verdict.verified]);
  const failures = (rollout.progress.verifyFailures ?? 0) + 1;
  if (failures >= verdict.attempts) return failRollout(deps, loaded, rollout, verdict.cause);
  await rollouts.updateRollout(deps.db, rollout.id, { progress: { ...rollout.progress, verifyFailures: failures } });
  return failures < 5 ? soon : 5 * soon;
}

/** Back to what served before; the rollout ends when that is whole again, or cannot become so in time. */
async function revert(deps: ComponentLoopDeps, loaded: Loaded, rollout: rollouts.RolloutRow, context: PassContext): Promise<Next> {
  const { target, done } = await step(deps, loaded, loaded.stable, context);
  await record(deps, loaded, done, target.replicas, { open: true });
  const waited = deps.clock().getTime() - (rollout.progress.movedAt ?? deps.clock().getTime());
  if (!done.progress.settled && waited < defaultProgressDeadline) return soon;
  await transaction(deps.db, async (trx) => {
    await endRollout(deps, trx, loaded, rollout, rollout.ends_as ?? "failed");
    if (loaded.stable === undefined) await trx.updateTable("components").set({ state: "failed" }).where("id", "=", loaded.component.id).execute();
  });
  return 0;
}

/** A run must not go on without anyone who could see or end it; answers whether there are still some. */
async function cancelTasks(deps: ComponentLoopDeps, { component, stack }: Loaded): Promise<boolean> {
  const open = await tasks.openTasks(deps.db, component.id);
  for (const task of open) {
    if (task.cancel_requested_by !== null) continue;
    await transaction(deps.db, async (trx) => {
      await tasks.updateTask(trx, task.id, { cancelRequestedBy: "the removal of its component" });
      await enqueue(trx, { kind: "task", key: task.id, cluster: stack.cluster });
    });
  }
  return open.length > 0;
}

async function removeComponent(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  const { component, stack } = loaded;
  if (await cancelTasks(deps, loaded)) return soon;
  const done = await stepTrack(deps, loaded, { release: undefined, replicas: 0 }, memoryOf(loaded), context);
  await record(deps, loaded, done, 0, { open: false });
  if (!done.progress.settled) return soon;
  const ref = { stack: stack.name, component: component.name };
  await deps.places.traffic(stack.cluster).remove(ref, context.fence, context.signal);
  await deps.places.engine(stack.cluster).remove(ref, context.fence, context.signal);
  await transaction(deps.db, async (trx) => {
    const open = await rollouts.openRollout(trx, component.id);
    if (open !== undefined) for (const waiting of await rollouts.waitingFor(trx, open.id)) await enqueue(trx, { kind: "component", key: waiting.component_id, cluster: waiting.cluster });
    await deleteComponent(trx, component.id);
    await stackEvent(trx, { name: stack.name, teamId: stack.team_id }, { code: "component_deleted", component: component.name });
    if (stack.delete_requested_at !== null) await enqueue(trx, { kind: "stack", key: stack.id, cluster: stack.cluster });
  });
  return undefined;
}
