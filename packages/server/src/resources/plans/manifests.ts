// What a stack's releases are in the place where they run: the objects as they are applied there, without the values of secrets.
import type { Manifests } from "@berth/contract/resources/stacks.ts";
import { BerthError } from "../../core/errors.ts";
import type { Rendered, TrackTarget } from "../../engines/engine.ts";
import { loadComponent } from "../../reconcile/component/load.ts";
import { workloadOf } from "../../reconcile/component/workload.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import { inCluster } from "../components/runtime-parts.ts";
import { otherParts, type Part } from "../components/parts.ts";
import { allComponents, type ComponentRow } from "../components/store.ts";
import type { ResourceDeps } from "../deps.ts";
import type { StackHandle, StackService } from "../stacks/service.ts";

export type ManifestService = ReturnType<typeof createManifestService>;

export function createManifestService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  /** undefined: nothing of it was released yet. */
  async function targetOf({ id, kind, stopped, replicas, restart }: ComponentRow): Promise<TrackTarget | undefined> {
    const loaded = await loadComponent(deps.db, id);
    const release = loaded?.stable ?? loaded?.next;
    if (loaded === undefined || release === undefined) return undefined;
    const workload = await workloadOf(deps.db, deps.secretBox, loaded, release);
    // What a schedule runs are runs, of which none is there to be shown.
    return { ref: workload.ref, track: "stable", workload, restart, replicas: stopped || kind === "cron" ? 0 : replicas };
  }

  async function objectsOf(call: Call, { cluster }: Pick<StackHandle, "cluster">, target: TrackTarget): Promise<Rendered[]> {
    const [engine, traffic] = [deps.places.engine(cluster), deps.places.traffic(cluster)];
    return [
      ...((await engine.manifests?.(target, call.signal)) ?? engine.render(target.workload)),
      ...((await traffic.manifests?.(target.ref, call.signal)) ?? []),
    ];
  }

  /** A component in each of its clusters; what is on its way out is left out. */
  async function partsOf(stack: StackHandle, row: ComponentRow): Promise<Part[]> {
    const others = (await otherParts(deps.db, stack, row.id)).filter((part) => part.row.delete_requested_at === null);
    return [{ row, at: stack }, ...others];
  }

  return {
    /**
     * Of the release that serves, or else of the one that is on its way; in each cluster, or in the one that is named. Errors: `wrong_state` for a component of which nothing was
     * released; `not_found` for a cluster that nothing of it is placed in; those of the engine.
     */
    async show(call: Call, stackName: string, component: string | undefined, cluster: string | undefined): Promise<Manifests> {
      const stack = await stacks.find(call, stackName);
      const rows =
        component === undefined
          ? (await allComponents(deps.db, stack.id)).filter((row) => row.delete_requested_at === null)
          : [(await components.find(call, stackName, component)).component];
      const placed = await Promise.all(rows.map((row) => partsOf(stack, row)));
      inCluster([stack, ...placed.flat().map(({ at }) => at)], cluster, component ?? `stack ${stackName}`);
      const objects = new Map<string, Manifests["objects"][number]>();
      let isReleased = false;
      for (const parts of placed)
        for (const { row, at } of parts) {
          if (cluster !== undefined && at.cluster !== cluster) continue;
          const target = await targetOf(row);
          if (target === undefined) continue;
          isReleased = true;
          const where = parts.length > 1 ? { cluster: at.cluster } : {};
          // What surrounds them is the same for all, and volumes may be shared.
          for (const { name, body, hidden = [] } of await objectsOf(call, at, target)) {
            const key = `${at.cluster} ${name}`;
            if (!objects.has(key)) objects.set(key, { component: row.name, ...where, name, body, hidden: [...hidden] });
          }
        }
      if (!isReleased && component !== undefined)
        throw new BerthError("wrong_state", {
          verb: "Showing its manifests",
          reason: `nothing was released ${cluster === undefined ? "" : `in cluster ${cluster} `}yet`,
          hint: "`berth up` or `berth deploy` releases it.",
        });
      const where = cluster ?? stack.cluster;
      return { stack: stack.name, cluster: where, engine: deps.places.engine(where).kind, objects: [...objects.values()] };
    },
  };
}
