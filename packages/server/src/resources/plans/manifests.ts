// What a stack's releases are in the place where they run: the objects as they are applied there, without the values of secrets.
import type { Manifests } from "@berth/contract/resources/stacks.ts";
import { BerthError } from "../../core/errors.ts";
import type { Rendered, TrackTarget } from "../../engines/engine.ts";
import { loadComponent } from "../../reconcile/component/load.ts";
import { workloadOf } from "../../reconcile/component/workload.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
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

  async function objectsOf(call: Call, { cluster }: StackHandle, target: TrackTarget): Promise<Rendered[]> {
    const [engine, traffic] = [deps.places.engine(cluster), deps.places.traffic(cluster)];
    return [
      ...((await engine.manifests?.(target, call.signal)) ?? engine.render(target.workload)),
      ...((await traffic.manifests?.(target.ref, call.signal)) ?? []),
    ];
  }

  return {
    /** Of the release that serves, or else of the one that is on its way. Errors: `wrong_state` for a component of which nothing was released; those of the engine. */
    async show(call: Call, stackName: string, component: string | undefined): Promise<Manifests> {
      const stack = await stacks.find(call, stackName);
      const rows =
        component === undefined
          ? (await allComponents(deps.db, stack.id)).filter((row) => row.delete_requested_at === null)
          : [(await components.find(call, stackName, component)).component];
      const objects = new Map<string, Manifests["objects"][number]>();
      for (const row of rows) {
        const target = await targetOf(row);
        if (target === undefined && component !== undefined)
          throw new BerthError("wrong_state", {
            verb: "Showing its manifests",
            reason: "nothing was released yet",
            hint: "`berth up` or `berth deploy` releases it.",
          });
        // What surrounds them is the same for all, and volumes may be shared.
        for (const one of target === undefined ? [] : await objectsOf(call, stack, target))
          if (!objects.has(one.name))
            objects.set(one.name, { component: row.name, name: one.name, body: one.body, hidden: [...(one.hidden ?? [])] });
      }
      return { stack: stack.name, cluster: stack.cluster, engine: deps.places.engine(stack.cluster).kind, objects: [...objects.values()] };
    },
  };
}
