// Where a cluster decides by itself how many instances a component has: between releases that number is the cluster's, and the row follows it. While anything else changes
// it is the row's, which begins with what the cluster decided last, so that a release never takes a component back to its least (docs/decisions/0048).
import { within, wantedUse } from "../../core/autoscale.ts";
import { canonicalJson } from "../../core/canonical.ts";
import type { Autoscaling, Engine, Observed, Ref } from "../../engines/engine.ts";
import { updateComponent } from "../../resources/components/store.ts";
import { stackEvent } from "../../resources/intent.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import type { PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";

/** What the cluster is to decide by for this release; undefined: nobody asked it to, or nothing of it is to run. */
export function autoscalingOf({ component }: Loaded, release: ReleaseRow | undefined): Autoscaling | undefined {
  const limits = component.spec.autoscale;
  if (limits === undefined || release === undefined || component.stopped) return undefined;
  const use = wantedUse(limits, release.spec.resources);
  // A release of before may lack the limit that a percentage is of.
  if (use.cpu === undefined && use.memory === undefined) return undefined;
  return { revision: { releaseHash: release.hash, restart: component.restart }, min: limits.min, max: limits.max, ...use };
}

/**
 * How many instances are wanted now. Where the cluster decides, its number is written down, and it decides no longer unless `how` says that it is to: the row has its last word
 * before anything else touches what runs. `given`: what the row says; none is none, whatever the cluster wants.
 */
export async function wantedNow(
  engine: Engine,
  loaded: Loaded,
  {
    ref,
    given,
    how,
    observed,
  }: { readonly ref: Ref; readonly given: number; readonly how: Autoscaling | undefined; readonly observed: Observed | undefined },
  context: PassContext,
): Promise<number> {
  const decided = observed?.autoscaled;
  if (decided === undefined) return given;
  const limits = loaded.component.spec.autoscale;
  if (limits !== undefined && decided.replicas !== loaded.component.replicas) await follow(loaded, decided.replicas, context);
  const wanted = limits === undefined || given === 0 ? given : decided.replicas;
  if (how !== undefined && sameRelease(how, decided.how)) {
    // One that the cluster has made and not yet counted, or does not count any more and has not told to end, is none too many.
    const there = (observed?.instances ?? []).filter(
      ({ phase, revision }) =>
        phase !== "stopping" &&
        phase !== "exited" &&
        revision.releaseHash === how.revision.releaseHash &&
        revision.restart === how.revision.restart,
    ).length;
    return Math.max(wanted, there);
  }
  await engine.autoscale?.(ref, undefined, context.fence, context.signal);
  return within(wanted, given === 0 ? undefined : limits);
}

/** Leaves the number to the cluster, by what is asked for now, once as many are there as it is to begin with. */
export async function leaveToCluster(
  engine: Engine,
  {
    ref,
    how,
    observed,
    isWhole,
  }: { readonly ref: Ref; readonly how: Autoscaling; readonly observed: Observed | undefined; readonly isWhole: boolean },
  context: PassContext,
): Promise<void> {
  const decided = observed?.autoscaled?.how;
  if (decided === undefined ? isWhole : canonicalJson(decided) !== canonicalJson(how))
    await engine.autoscale?.(ref, how, context.fence, context.signal);
}

const sameRelease = (one: Autoscaling, other: Autoscaling): boolean => canonicalJson(one.revision) === canonicalJson(other.revision);

async function follow({ component, stack }: Loaded, replicas: number, context: PassContext): Promise<void> {
  await context.commit(async (trx) => {
    await updateComponent(trx, component.id, { replicas });
    await stackEvent(
      trx,
      { name: stack.name, teamId: stack.team_id },
      { code: "component_autoscaled", component: component.name, params: { from: component.replicas, to: replicas } },
    );
  });
}
