// What of a stack's objects is otherwise in its cluster, as the loops of its components saw it last.
import type { Drift } from "@berth/contract/resources/drift.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import { allComponents } from "../components/store.ts";
import type { ResourceDeps } from "../deps.ts";
import { unknownSince } from "../unknown.ts";
import type { StackService } from "../stacks/service.ts";

export type DriftService = ReturnType<typeof createDriftService>;

export function createDriftService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  return {
    /** Asks no cluster. */
    async show(call: Call, stackName: string, component: string | undefined): Promise<Drift> {
      const stack = await stacks.find(call, stackName);
      const rows =
        component === undefined ? await allComponents(deps.db, stack.id) : [(await components.find(call, stackName, component)).component];
      return {
        stack: stack.name,
        cluster: stack.cluster,
        drift: stack.drift,
        ...unknownSince(deps.addedClusters, stack.cluster),
        differences: rows.flatMap(({ name, drift }) => drift.map((one) => ({ component: name, ...one }))),
      };
    },
  };
}
