// What of a stack's objects is otherwise in its clusters, as the loops of its components saw it last.
import type { Drift } from "@berth/contract/resources/drift.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import { otherParts } from "../components/parts.ts";
import { allComponents, type ComponentRow } from "../components/store.ts";
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
      const others = (await Promise.all(rows.map((row) => otherParts(deps.db, stack, row.id)))).flat();
      const clusters = [...new Set(others.map(({ at }) => at.cluster))].toSorted();
      const isPlaced = (id: string): boolean => others.some(({ row }) => row.part_of === id);
      const differencesOf = ({ name, drift }: ComponentRow, cluster: string | undefined): Drift["differences"] =>
        drift.map((one) => ({ component: name, ...(cluster === undefined ? {} : { cluster }), ...one }));
      return {
        stack: stack.name,
        cluster: stack.cluster,
        drift: stack.drift,
        ...unknownSince(deps.addedClusters, stack.cluster),
        ...(clusters.length === 0 ? {} : { others: clusters.map((name) => ({ name, ...unknownSince(deps.addedClusters, name) })) }),
        differences: rows.flatMap((row) => [
          ...differencesOf(row, isPlaced(row.id) ? stack.cluster : undefined),
          ...others.filter((part) => part.row.part_of === row.id).flatMap((part) => differencesOf(part.row, part.at.cluster)),
        ]),
      };
    },
  };
}
