// The rollout's state machine: building -> waiting -> releasing -> preparing -> rolling -> verifying -> succeeded, or reverting -> failed | aborted.
// Each transition is one transaction on the rollout's row, and each phase can be taken up by another process from that row alone (promise 2).
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { RolloutPhase } from "@berth/contract/resources/rollouts.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { digestOf, isBelow } from "../../core/image/reference.ts";
import { builtRuntime, chooseCommand, imageRuntime, releaseHash, type ReleaseContent } from "../../core/release/release.ts";
import { componentState } from "../../core/rollout/outcome.ts";
import { emptyMemory } from "../../core/rollout/plan.ts";
import type { Db } from "../../db/pool.ts";
import { leaveClusters, placedParts } from "../../resources/components/parts.ts";
import { findComponentById, nextNumber, saveMemory, updateComponent, type ComponentRow } from "../../resources/components/store.ts";
import { freeAddresses } from "../../resources/components/addresses.ts";
import { findBuildById, saveArtifact } from "../../resources/builds/store.ts";
import { stackEvent, wakeComponent } from "../../resources/intent.ts";
import { findRelease, insertRelease } from "../../resources/releases/store.ts";
import { stackHandle } from "../../resources/stacks/service.ts";
import { findStackById } from "../../resources/stacks/store.ts";
import * as rollouts from "../../resources/rollouts/store.ts";
import { enqueue } from "../queue.ts";
import { contentOf, type Built } from "./content.ts";
import type { ComponentLoopDeps, Next, PassContext } from "./deps.ts";
import { nextCluster } from "./next-cluster.ts";
import { beginPostdeploy, cancelReleaseCommand, releaseCommand, stepReleaseCommand } from "./hooks.ts";
import type { Loaded } from "./load.ts";
import { workloadOf } from "./workload.ts";

type Open = rollouts.RolloutRow;

export function rolloutTopic(loaded: Loaded, rollout: Open): string {
  return `rollout:${loaded.stack.name}/${loaded.component.name}/${rollout.number}`;
}

/** Changes the phase with its event; nothing happens when the rollout ended meanwhile. */
export async function enterPhase(
  trx: Db,
  loaded: Loaded,
  rollout: Open,
  phase: RolloutPhase,
  change: rollouts.RolloutChange = {},
): Promise<boolean> {
  if (!(await rollouts.updateRollout(trx, rollout.id, { ...change, phase }))) return false;
  await stackEvent(
    trx,
    { name: loaded.stack.name, teamId: loaded.stack.team_id },
    {
      code: "rollout_phase",
      component: loaded.component.name,
      params: { rollout: rollout.number, phase },
      topics: [rolloutTopic(loaded, rollout)],
      ...(change.cause == null ? {} : { cause: change.cause }),
    },
  );
  return true;
}

const endEvents = { succeeded: "rollout_succeeded", failed: "rollout_failed", aborted: "rollout_aborted" } as const;

/**
 * Ends the rollout: its release becomes the stable one if it succeeded, addresses that nobody needs any more are given back, and those that waited are woken; false, and nothing is done, when it had ended already.
 * `settled`: nothing of another release is left. While something is, it keeps its addresses: the router still leads there what it had begun.
 */
export async function endRollout(
  deps: ComponentLoopDeps,
  trx: Db,
  loaded: Loaded,
  rollout: Open,
  phase: keyof typeof endEvents,
  change: rollouts.RolloutChange = {},
  settled = true,
): Promise<boolean> {
  // Before the rollout's row, as whoever accepts a newer one: from here on nobody changes where it is placed.
  const owner = phase === "succeeded" ? await findComponentById(trx, loaded.ownerId, { lock: true }) : undefined;
  if (
    !(await rollouts.updateRollout(trx, rollout.id, {
      ...(phase === "succeeded" ? { cause: null } : {}),
      ...change,
      phase,
      step: null,
      endedAt: deps.clock(),
    }))
  )
    return false;
  const because = change.cause ?? rollout.cause ?? undefined;
  await stackEvent(
    trx,
    { name: loaded.stack.name, teamId: loaded.stack.team_id },
    {
      code: endEvents[phase],
      component: loaded.component.name,
      topics: [rolloutTopic(loaded, rollout)],
      params: {
        rollout: rollout.number,
        release: loaded.next?.number ?? 0,
        by: rollout.abort_requested_by ?? "",
        ...(rollout.follows === null && loaded.component.spec.placement === undefined ? {} : { cluster: loaded.stack.cluster }),
      },
      ...(phase === "succeeded" || because === undefined ? {} : { cause: because }),
    },
  );
  if (phase !== "succeeded" && because !== undefined && loaded.stable === undefined)
    await trx
      .updateTable("components")
      .set({ cause: JSON.stringify(because) })
      .where("id", "=", loaded.component.id)
      .execute();
  for (const waiting of await rollouts.waitingFor(trx, rollout.id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
  if (phase === "succeeded" && loaded.next !== undefined)
    await updateComponent(trx, loaded.component.id, { stableReleaseId: loaded.next.id });
  if (owner !== undefined && (await rollouts.isLast(trx, owner.id, rollout))) await leaveOthers(trx, loaded, owner);
  if (settled) await freeAddresses(trx, loaded.stack, loaded.component.id);
  await settleState(trx, loaded, phase);
  return true;
}

/** Once it has this release everywhere, what runs where it is not placed any more is needed no longer. A definition may have placed it anew since, in clusters that have nothing of it yet. */
async function leaveOthers(trx: Db, { stack, component, next }: Loaded, owner: ComponentRow): Promise<void> {
  const row = await findStackById(trx, stack.id);
  if (row === undefined) return;
  const at = stackHandle(row);
  const isEverywhere = (await placedParts(trx, at, owner)).every(
    (part) => part.row.id === component.id || part.row.stable_release_id === next?.id,
  );
  if (isEverywhere) await leaveClusters(trx, at, owner);
}

/** Whoever hears that the rollout ended finds the component no longer progressing: its state is told in the same commit, not a look later. */
async function settleState(trx: Db, loaded: Loaded, ended: keyof typeof endEvents): Promise<void> {
  const { id, name, kind, replicas, delete_requested_at: deleting } = loaded.component;
  const now = await trx.selectFrom("components").select(["state", "ready", "stopped"]).where("id", "=", id).executeTakeFirstOrThrow();
  const released = ended === "succeeded" || loaded.stable !== undefined;
  const state = componentState({
    kind,
    deleting: deleting !== null,
    stopped: now.stopped,
    released,
    rolloutOpen: false,
    lastRolloutFailed: ended !== "succeeded",
    wanted: replicas,
    available: now.ready,
  });
  if (state === now.state) return;
  await trx
    .updateTable("components")
    .set({ state, ...(state === "healthy" ? { cause: null } : {}) })
    .where("id", "=", id)
    .execute();
  await stackEvent(
    trx,
    { name: loaded.stack.name, teamId: loaded.stack.team_id },
    { code: "component_state", component: name, params: { state } },
  );
}

/** Fails a rollout: at once when nothing of it runs yet, by way of `reverting` otherwise, so that what served before serves whole again. */
export async function failRollout(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  rollout: Open,
  context: PassContext,
  why: Cause,
  endsAs: "failed" | "aborted" = "failed",
): Promise<Next> {
  const running = rollout.phase === "rolling" || rollout.phase === "verifying";
  await context.commit(async (trx) => {
    if (running) await enterPhase(trx, loaded, rollout, "reverting", { cause: why, endsAs, progress: { movedAt: deps.clock().getTime() } });
    else await endRollout(deps, trx, loaded, rollout, endsAs, { cause: why });
  });
  return 0;
}

/** The phases before anything of the new release runs. */
export async function beforeRolling(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  if (rollout.abort_requested_by !== null) {
    if (rollout.phase === "releasing") await cancelReleaseCommand(deps, loaded, rollout, context, rollout.abort_requested_by);
    return failRollout(deps, loaded, rollout, context, cause("aborted", { by: rollout.abort_requested_by }), "aborted");
  }
  switch (rollout.phase) {
    case "building":
      return awaitBuild(deps, loaded, rollout, context);
    case "waiting":
      return awaitDependencies(deps, loaded, rollout, context);
    case "releasing":
      return release(deps, loaded, rollout, context);
    case "preparing":
      return prepare(deps, loaded, rollout, context);
    default:
      return 0;
  }
}

/** An image from outside: what its name stands for is asked once, and recorded in the release. */
async function resolveImage(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, image: string, context: PassContext): Promise<Next> {
  // With the credentials of the whole installation, everybody could run what was built for others.
  if (deps.registry !== undefined && isBelow(deps.registry, image))
    return failRollout(deps, loaded, rollout, context, cause("image_of_others", { component: loaded.component.name, image }));
  const found =
    rollout.image_reference === null
      ? await deps.places.engine(loaded.stack.cluster).resolveImage?.(image, context.signal)
      : { reference: rollout.image_reference, digest: digestOf(rollout.image_reference) ?? "", size: 0 };
  if (found === undefined)
    return failRollout(deps, loaded, rollout, context, cause("image_needs_container_engine", { component: loaded.component.name, image }));
  const built = { artifactDigest: found.digest, plan: undefined, runtime: imageRuntime(rollout.spec, found.reference) };
  return releaseBuilt(deps, loaded, rollout, built, null, context, (trx) =>
    saveArtifact(trx, { digest: found.digest, kind: "image", size: found.size }),
  );
}

async function awaitBuild(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  if (rollout.build_id === null && rollout.spec.image !== undefined)
    return resolveImage(deps, loaded, rollout, rollout.spec.image, context);
  const build = rollout.build_id === null ? undefined : await findBuildById(deps.db, rollout.build_id);
  if (build === undefined) return failRollout(deps, loaded, rollout, context, cause("internal", { reason: "the build's row is gone" }));
  if (build.phase === "queued" || build.phase === "running") return undefined;
  if (build.phase !== "succeeded" || build.artifact_digest === null || build.plan === null)
    return failRollout(deps, loaded, rollout, context, build.cause ?? cause("internal", { reason: "the build ended without an artifact" }));
  const chosen = chooseCommand(loaded.component.name, rollout.spec, build.plan);
  if (!chosen.ok) return failRollout(deps, loaded, rollout, context, chosen.cause);
  const runtime = builtRuntime(chosen.runtime, build.artifact_reference);
  const built = { artifactDigest: build.artifact_digest, plan: build.plan, runtime };
  return releaseBuilt(deps, loaded, rollout, built, build.id, context);
}

/** Makes the release of what was built or found. */
async function releaseBuilt(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  rollout: Open,
  built: Built,
  buildId: string | null,
  context: PassContext,
  before: (trx: Db) => Promise<void> = () => Promise.resolve(),
): Promise<Next> {
  const lacking = await context.commit(async (trx) => {
    await before(trx);
    const content = await contentOf(trx, deps.secretBox, loaded, rollout, built);
    if ("lacking" in content) return content.lacking;
    const releaseId = await releaseFor(trx, loaded, rollout, content, buildId);
    await enterPhase(trx, loaded, rollout, "waiting", { releaseId, step: null });
    return undefined;
  });
  return lacking === undefined ? 0 : failRollout(deps, loaded, rollout, context, lacking);
}

/** The stable release itself when nothing differs, else a new one. */
async function releaseFor(trx: Db, loaded: Loaded, rollout: Open, content: ReleaseContent, buildId: string | null): Promise<string> {
  const hash = releaseHash(content);
  if (loaded.stable?.hash === hash) return loaded.stable.id;
  const number = await nextNumber(trx, loaded.ownerId, "last_release");
  const id = await insertRelease(trx, {
    componentId: loaded.ownerId,
    number,
    hash,
    artifactDigest: content.artifactDigest,
    buildId,
    config: content.config,
    secretRefs: content.secretRefs,
    spec: content.spec,
    runtime: content.runtime,
    reason: rollout.reason,
    by: rollout.created_by,
  });
  await stackEvent(
    trx,
    { name: loaded.stack.name, teamId: loaded.stack.team_id },
    { code: "release_created", component: loaded.component.name, params: { release: number, rollout: rollout.number } },
  );
  return id;
}

async function awaitDependencies(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  // What the cluster before has to say is asked where it is this one's turn.
  const others = rollout.waits_for.filter((id) => id !== rollout.follows);
  const phases = await rollouts.rolloutPhases(deps.db, others);
  const replaced: string[] = [];
  for (const dependency of phases) {
    if (dependency.phase === "failed" || dependency.phase === "aborted")
      return failRollout(
        deps,
        loaded,
        rollout,
        context,
        cause("dependency_failed", { component: dependency.component }, dependency.cause?.evidence.slice(-10)),
      );
    if (dependency.phase === "superseded") {
      const newer = await rollouts.openRollout(deps.db, dependency.component_id);
      if (newer !== undefined) replaced.push(newer.id);
    } else if (dependency.phase !== "succeeded") replaced.push(dependency.id);
  }
  if (replaced.length > 0) {
    if (replaced.toSorted().join() === others.toSorted().join()) return undefined;
    // Whoever ends one of these wakes those that are noted to wait for it: an end that comes before the note is for the next look to see.
    await context.commit(async (trx) => {
      await rollouts.awaitChanges(trx, replaced);
      await rollouts.updateRollout(trx, rollout.id, { waitsFor: rollout.follows === null ? replaced : [...replaced, rollout.follows] });
    });
    return 0;
  }
  if (rollout.follows !== null) return goOn(deps, loaded, rollout, context);
  const hooked = loaded.next !== undefined && releaseCommand(loaded.next, rollout) !== undefined;
  await context.commit((trx) => enterPhase(trx, loaded, rollout, hooked ? "releasing" : "preparing", { startedAt: deps.clock() }));
  return 0;
}

/** The release that the cluster before has, once it is this one's turn. */
async function goOn(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  const next = await nextCluster(deps, loaded, rollout);
  switch (next.is) {
    case "stopped":
      return failRollout(deps, loaded, rollout, context, next.why);
    case "waiting":
      if (canonicalJson(next.step) !== canonicalJson(rollout.step ?? {}))
        await context.commit((trx) => rollouts.updateRollout(trx, rollout.id, { step: next.step }));
      return next.again;
    case "open":
      await context.commit((trx) =>
        enterPhase(trx, loaded, rollout, "preparing", { releaseId: next.releaseId, step: null, startedAt: deps.clock() }),
      );
      return 0;
    default:
      return next satisfies never;
  }
}

/** The release command, which has to succeed before anything of the release runs. The end of its task wakes this; a slow look is enough should that be lost. */
async function release(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  if (loaded.next === undefined)
    return failRollout(deps, loaded, rollout, context, cause("internal", { reason: "the release's row is gone" }));
  const end = await stepReleaseCommand(deps, loaded, rollout, loaded.next, context);
  if (end === "waiting") return 1000;
  if (end !== "done") return failRollout(deps, loaded, rollout, context, end);
  await context.commit((trx) => enterPhase(trx, loaded, rollout, "preparing", { step: null }));
  return 0;
}

async function prepare(deps: ComponentLoopDeps, loaded: Loaded, rollout: Open, context: PassContext): Promise<Next> {
  const release = loaded.next ?? (rollout.release_id === null ? undefined : await findRelease(deps.db, rollout.release_id));
  if (release === undefined) return failRollout(deps, loaded, rollout, context, cause("internal", { reason: "the release's row is gone" }));
  const workload = await workloadOf(deps.db, deps.secretBox, loaded, release);
  const engine = deps.places.engine(loaded.stack.cluster);
  await engine.prepare(workload, context.fence, context.signal);
  const running =
    (await engine.observe(workload.ref, context.signal))?.instances.filter(
      ({ revision }) => revision.releaseHash === release.hash && revision.restart === loaded.component.restart,
    ) ?? [];
  // A release that is put live again begins afresh: what of it keeps crashing or has ended is replaced, and no end from before counts against it.
  const broken = running.filter(
    (instance) => !instance.ready && (instance.restarts > 0 || instance.phase === "backoff" || instance.phase === "exited"),
  );
  const restartsBefore = Object.fromEntries(running.map((instance) => [instance.id, instance.restarts]));
  await context.commit(async (trx) => {
    if (!(await enterPhase(trx, loaded, rollout, "rolling", { step: null, progress: { movedAt: deps.clock().getTime(), restartsBefore } })))
      return;
    const { memory } = loaded.component;
    if (broken.length > 0)
      await saveMemory(trx, loaded.component.id, {
        ...emptyMemory,
        ...memory,
        draining: { ...Object.fromEntries(broken.map(({ id }) => [id, {}])), ...memory.draining },
      });
  });
  return 0;
}

/** The release that the rollout brought is now the one that serves. `settled` as of `endRollout`. */
export async function succeed(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  rollout: Open,
  context: PassContext,
  verified: { url: string; status: number; took: number }[],
  settled: boolean,
): Promise<Next> {
  const release = loaded.next;
  if (release === undefined) return 0;
  await context.commit(async (trx) => {
    // A newer rollout may have taken over in this moment: then this release never became the stable one.
    if (!(await endRollout(deps, trx, loaded, rollout, "succeeded", { verified }, settled))) return;
    if (rollout.follows === null) await beginPostdeploy(trx, loaded, rollout, release);
    if (release.spec.kind !== "cron") return;
    // The schedule may have changed: the next instant is computed afresh.
    await trx.updateTable("components").set({ next_run_at: null }).where("id", "=", loaded.component.id).execute();
    await enqueue(trx, { kind: "cron", key: loaded.component.id, cluster: loaded.stack.cluster });
  });
  return 0;
}
