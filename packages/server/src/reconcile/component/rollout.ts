// The rollout's state machine: building -> waiting -> preparing -> rolling -> verifying -> succeeded, or reverting -> failed | aborted.
// Each transition is one transaction on the rollout's row, and each phase can be taken up by another process from that row alone (promise 2).
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { RolloutPhase } from "@berth/contract/resources/rollouts.ts";
import { chooseCommand, releaseHash, type ReleaseContent } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import { nextNumber, updateComponent } from "../../resources/components/store.ts";
import { findBuildById } from "../../resources/builds/store.ts";
import { stackEvent, wakeComponent } from "../../resources/intent.ts";
import { findRelease, insertRelease } from "../../resources/releases/store.ts";
import * as rollouts from "../../resources/rollouts/store.ts";
import { enqueue } from "../queue.ts";
import type { ComponentLoopDeps, Next, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { workloadOf } from "./workload.ts";

type Open = rollouts.RolloutRow;

export function rolloutTopic(loaded: Loaded, rollout: Open): string {
  return `rollout:${loaded.stack.name}/${loaded.component.name}/${rollout.number}`;
}

/** Changes the phase with its event; nothing happens when the rollout ended meanwhile. */
export async function enterPhase(trx: Db, loaded: Loaded, rollout: Open, phase: RolloutPhase, change: rollouts.RolloutChange = {}): Promise<boolean> {
  if (!(await rollouts.updateRollout(trx, rollout.id, { ...change, phase }))) return false;
  await stackEvent(trx, { name: loaded.stack.name, teamId: loaded.stack.team_id }, { code: "rollout_phase", component: loaded.component.name, params: { rollout: rollout.number, phase }, topics: [rolloutTopic(loaded, rollout)], ...(change.cause === undefined ? {} : { cause: change.cause }) });
  return true;
}

const endEvents = { succeeded: "rollout_succeeded", failed: "rollout_failed", aborted: "rollout_aborted" } as const;

/** Ends the rollout and wakes those that waited for it. */
export async function endRollout(deps: ComponentLoopDeps, trx: Db, loaded: Loaded, rollout: Open, phase: keyof typeof endEvents, change: rollouts.RolloutChange = {}): Promise<void> {
  if (!(await rollouts.updateRollout(trx, rollout.id, { ...change, phase, step: null, endedAt: deps.clock() }))) return;
  const because = change.cause ?? rollout.cause ?? undefined;
  await stackEvent(trx, { name: loaded.stack.name, teamId: loaded.stack.team_id }, {
    code: endEvents[phase], component: loaded.component.name, topics: [rolloutTopic(loaded, rollout)],
    params: { rollout: rollout.number, release: loaded.next?.number ?? 0, by: rollout.abort_requested_by ?? "" }, ...(phase === "succeeded" || because === undefined ? {} : { cause: because }),
  });
  if (phase !== "succeeded" && because !== undefined && loaded.stable === undefined) await trx.updateTable("components").set({ cause: JSON.stringify(because) }).where("id", "=", loaded.component.id).execute();
  for (const waiting of await rollouts.waitingFor(trx, rollout.id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
}

/** Fails a rollout: at once when nothing of it runs yet, by way of `reverting` otherwise, so that what served before serves whole again. */
export async function failRollout(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, why: Cause, endsAs: "failed" | "aborted" = "failed"): Promise<Next> {
  const running = rollout.phase === "rolling" || rollout.phase === "verifying";
  await transaction(deps.db, async (trx) => {
    if (running) await enterPhase(trx, loaded, rollout, "reverting", { cause: why, endsAs, progress: { movedAt: deps.clock().getTime() } });
    else await endRollout(deps, trx, loaded, rollout, endsAs, { cause: why });
  });
  return 0;
}

/** The phases before anything of the new release runs. */
export async function beforeRolling(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  if (rollout.abort_requested_by !== null) return failRollout(deps, loaded, rollout, cause("aborted", { by: rollout.abort_requested_by }), "aborted");
  switch (rollout.phase) {
    case "building": return awaitBuild(deps, loaded, rollout);
    case "waiting": return awaitDependencies(deps, loaded, rollout);
    case "preparing": return prepare(deps, loaded, rollout, context);
    default: return 0;
  }
}

async function awaitBuild(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open): Promise<Next> {
  const build = rollout.build_id === null ? undefined : await findBuildById(deps.db, rollout.build_id);
  if (build === undefined) return failRollout(deps, loaded, rollout, cause("internal", { reason: "the build's row is gone" }));
  if (build.phase === "queued" || build.phase === "running") return undefined;
  if (build.phase !== "succeeded" || build.artifact_digest === null || build.plan === null) return failRollout(deps, loaded, rollout, build.cause ?? cause("internal", { reason: "the build ended without an artifact" }));
  const chosen = chooseCommand(loaded.component.name, rollout.spec, build.plan);
  if (!chosen.ok) return failRollout(deps, loaded, rollout, chosen.cause);
  const content: ReleaseContent = { artifactDigest: build.artifact_digest, config: rollout.config, secretRefs: rollout.secret_refs, spec: rollout.spec, runtime: chosen.runtime };
  await transaction(deps.db, async (trx) => {
    const releaseId = await releaseFor(trx, loaded, rollout, content, build.id);
    await enterPhase(trx, loaded, rollout, "waiting", { releaseId });
  });
  return 0;
}

/** The stable release itself when nothing differs, else a new one. */
async function releaseFor(trx: Db, loaded: Loaded, rollout: Open, content: ReleaseContent, buildId: string): Promise<string> {
  const hash = releaseHash(content);
  if (loaded.stable?.hash === hash) return loaded.stable.id;
  const number = await nextNumber(trx, loaded.component.id, "last_release");
  const id = await insertRelease(trx, { componentId: loaded.component.id, number, hash, artifactDigest: content.artifactDigest, buildId, config: content.config, secretRefs: content.secretRefs, spec: content.spec, runtime: content.runtime, reason: rollout.reason, by: rollout.created_by });
  await stackEvent(trx, { name: loaded.stack.name, teamId: loaded.stack.team_id }, { code: "release_created", component: loaded.component.name, params: { release: number, rollout: rollout.number } });
  return id;
}

async function awaitDependencies(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open): Promise<Next> {
  const phases = await rollouts.rolloutPhases(deps.db, rollout.waits_for);
  const replaced: string[] = [];
  for (const dependency of phases) {
    if (dependency.phase === "failed" || dependency.phase === "aborted") return failRollout(deps, loaded, rollout, cause("dependency_failed", { component: dependency.component }, dependency.cause?.evidence.slice(-10)));
    if (dependency.phase === "superseded") {
      const newer = await rollouts.openRollout(deps.db, dependency.component_id);
      if (newer !== undefined) replaced.push(newer.id);
    } else if (dependency.phase !== "succeeded") replaced.push(dependency.id);
  }
  if (replaced.length > 0) {
    if (replaced.toSorted().join() !== rollout.waits_for.toSorted().join()) await rollouts.updateRollout(deps.db, rollout.id, { waitsFor: replaced });
    return undefined;
  }
  await transaction(deps.db, (trx) => enterPhase(trx, loaded, rollout, "preparing", { startedAt: deps.clock() }));
  return 0;
}

async function prepare(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  const release = loaded.next ?? (rollout.release_id === null ? undefined : await findRelease(deps.db, rollout.release_id));
  if (release === undefined) return failRollout(deps, loaded, rollout, cause("internal", { reason: "the release's row is gone" }));
  const workload = await workloadOf(deps.db, deps.secretBox, loaded, release);
  await deps.places.engine(loaded.stack.cluster).prepare(workload, context.fence, context.signal);
  await transaction(deps.db, (trx) => enterPhase(trx, loaded, rollout, "rolling", { progress: { movedAt: deps.clock().getTime() } }));
  return 0;
}

/** The release that the rollout brought is now the one that serves. */
export async function succeed(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, verified: { url: string; status: number; took: number }[]): Promise<Next> {
  const release = loaded.next;
  if (release === undefined) return 0;
  await transaction(deps.db, async (trx) => {
    await updateComponent(trx, loaded.component.id, { stableReleaseId: release.id });
    await endRollout(deps, trx, loaded, rollout, "succeeded", { verified });
    if (release.spec.kind !== "cron") return;
    // The schedule may have changed: the next instant is computed afresh.
    await trx.updateTable("components").set({ next_run_at: null }).where("id", "=", loaded.component.id).execute();
    await enqueue(trx, { kind: "cron", key: loaded.component.id, cluster: loaded.stack.cluster });
  });
  return 0;
}
