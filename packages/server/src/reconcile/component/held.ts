// A component that runs a release which this database does not know, since it was made after the backup that was restored. Nothing of it is
// started, stopped or routed anew until somebody decides (design: nothing is removed because it is unknown); what is seen of it is shown.
import { cause } from "@berth/contract/causes.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { saveObservation } from "../../resources/components/store.ts";
import { stackEvent } from "../../resources/intent.ts";
import type { ComponentLoopDeps, Next, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { instanceView } from "./observation.ts";
import { refOf } from "../../engines/engine.ts";

export async function leaveAlone(deps: ComponentLoopDeps, loaded: Loaded, context: PassContext): Promise<Next> {
  const { component, stack } = loaded;
  const seen = (await deps.places.engine(stack.cluster).observe(refOf(stack, component.name), context.signal))?.instances ?? [];
  const instances = seen.map(instanceView);
  const ready = seen.filter((instance) => instance.ready).length;
  const same =
    component.state === "unknown" && component.ready === ready && canonicalJson(instances) === canonicalJson(component.observed.instances);
  if (same) return undefined;
  const release = Math.max(0, ...seen.map((instance) => instance.releaseNumber));
  await context.commit(async (trx) => {
    await saveObservation(trx, component.id, {
      state: "unknown",
      ready,
      cause: cause("unknown_release", { release }),
      observed: { instances },
      memory: { draining: {} },
      at: deps.clock(),
    });
    if (component.state !== "unknown")
      await stackEvent(
        trx,
        { name: stack.name, teamId: stack.team_id },
        { code: "component_state", component: component.name, params: { state: "unknown" } },
      );
  });
  return undefined;
}
