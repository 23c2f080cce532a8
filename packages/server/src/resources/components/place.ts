// Another placement of a component that is there already. What changes by it goes out as a rollout of the release that serves, cluster by cluster.
import type { Deployment } from "@berth/contract/resources/plans.ts";
import type { ComponentSpec, Placement } from "@berth/contract/spec.ts";
import { canonicalJson } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import { numbersOf } from "../../core/placement.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, keepAnswer, stackEvent, wakeComponent } from "../intent.ts";
import { findRelease } from "../releases/store.ts";
import { acceptRollouts, sameAgain } from "../rollouts/accept.ts";
import { openRollout } from "../rollouts/store.ts";
import { withinQuota } from "../stacks/quota.ts";
import type { StackHandle, StackService } from "../stacks/service.ts";
import { defineComponent } from "./definition.ts";
import { checkPlacement, isEverywhere, placedParts } from "./parts.ts";
import { grantPermission, requirePermissions, takesGrant } from "./rights.ts";
import type { ComponentService } from "./service.ts";
import { allComponents, type ComponentRow } from "./store.ts";

export type PlaceService = ReturnType<typeof createPlaceService>;

export function createPlaceService(deps: ResourceDeps, stacks: StackService, components: Pick<ComponentService, "find">) {
  return {
    /** `placement`: undefined has it in its stack's own cluster alone. Errors: `placement_refused`; `wrong_state` while a rollout of it is under way. */
    async place(call: Call, stackName: string, name: string, placement: Placement | undefined): Promise<Deployment> {
      return transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "stacks.write", { trx, lock: true });
        const { component } = await components.find(call, stackName, name, "stacks.write", { trx, lock: true });
        await refuse(trx, stack, component);
        const spec = specOf(component, placement);
        const specs = new Map((await allComponents(trx, stack.id)).map((row): [string, ComponentSpec] => [row.name, row.spec]));
        await checkPlacement(trx, deps.places, stack, name, specs.set(name, spec), call.signal);
        const { component: placed, changed } = await withinQuota(trx, stack, () => defineComponent(trx, call, stack, name, spec));
        await requirePermissions(deps, call, stack, takesGrant(spec, changed) ? [grantPermission] : []);
        if (canonicalJson(component.spec.placement ?? {}) !== canonicalJson(placement ?? {})) await tell(trx, call, stack, placed);
        const stable = placed.stable_release_id === null ? undefined : await findRelease(trx, placed.stable_release_id);
        // Numbers alone are no release: each part's loop sees to them.
        const isNothing = stable === undefined || (await isEverywhere(trx, placed, spec));
        const accepted = isNothing ? undefined : await acceptRollouts(trx, call, stack, [sameAgain(placed, stable)], "placement");
        await wakeComponent(trx, placed.id, stack.cluster);
        return keepAnswer(trx, call, {
          stack: stack.name,
          version: accepted?.version ?? 0,
          rollouts: (accepted?.rollouts ?? []).map(({ component: of, number }) => ({ component: of, number })),
          builds: [],
          unchanged: accepted === undefined ? [name] : [],
          removed: [],
        });
      });
    },
  };
}

async function refuse(trx: Db, stack: StackHandle, component: ComponentRow): Promise<void> {
  if (component.kind !== "web" && component.kind !== "worker")
    throw new BerthError("placement_refused", {
      component: component.name,
      reason: `a component of the kind ${component.kind} runs in one cluster`,
      hint: "Web components and workers can be placed.",
    });
  for (const { row } of await placedParts(trx, stack, component))
    if ((await openRollout(trx, row.id)) !== undefined)
      throw new BerthError("wrong_state", {
        verb: "Placing it",
        reason: "a rollout is under way",
        hint: "Wait for it, or abort it first.",
      });
}

function specOf({ spec }: ComponentRow, placement: Placement | undefined): ComponentSpec {
  const { placement: _before, ...bare } = spec;
  if (placement === undefined) return bare;
  const numbers = numbersOf(placement);
  return { ...bare, placement, ...(numbers === undefined ? {} : { replicas: numbers.reduce((all, number) => all + number, 0) }) };
}

async function tell(trx: Db, call: Call, stack: StackHandle, { name, spec }: ComponentRow): Promise<void> {
  const clusters = (spec.placement?.clusters.map((one) => one.name) ?? [stack.cluster]).join(", ");
  await stackEvent(trx, stack, { code: "component_placed", component: name, params: { clusters } });
  await audit(trx, call, "components.place", `component:${stack.name}/${name}`, { clusters });
}
