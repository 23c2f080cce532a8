// What is shown of a component whose instances cannot be started, although nobody is rolling anything out: what is left of it, and why.
import type { Cause } from "@berth/contract/causes.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { refOf, EngineFailure } from "../../engines/engine.ts";
import { saveObservation } from "../../resources/components/store.ts";
import { stackEvent } from "../../resources/intent.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { instanceView } from "./observation.ts";

/** Why a cluster does not take what it is told; undefined: it is another error, or the cluster is away and nothing is known. */
export function refusedBy(error: unknown): Cause | undefined {
  return error instanceof EngineFailure && error.failure.code !== "cluster_unreachable" ? error.failure : undefined;
}

/** What keeps instances from being started is shown with the component, which lacks them for that long; the queue tries again. */
export async function tellWhy(
  deps: ComponentLoopDeps,
  { component, stack, rollout }: Loaded,
  context: PassContext,
  why: Cause | undefined,
): Promise<void> {
  if (why === undefined) return;
  const seen = (await deps.places.engine(stack.cluster).observe(refOf(stack, component.name), context.signal))?.instances ?? [];
  const instances = seen.map(instanceView);
  const ready = seen.filter((instance) => instance.ready).length;
  const state = rollout === undefined ? "degraded" : "progressing";
  const isSame =
    state === component.state &&
    ready === component.ready &&
    canonicalJson([why.code, why.params]) === canonicalJson([component.cause?.code ?? "", component.cause?.params ?? {}]) &&
    canonicalJson(instances) === canonicalJson(component.observed.instances);
  if (isSame) return;
  await context.commit(async (trx) => {
    const memory = { draining: {}, ...component.memory };
    await saveObservation(trx, component.id, { state, ready, cause: why, observed: { instances }, memory, at: deps.clock() });
    if (state !== component.state)
      await stackEvent(
        trx,
        { name: stack.name, teamId: stack.team_id },
        { code: "component_state", component: component.name, params: { state }, cause: why },
      );
  });
}
