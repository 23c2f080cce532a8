// One step of bringing the component's track to a revision: observe, plan, act, remember. Used by rollouts, reverts, scaling, stopping, removal and repair alike.
import { contentHash } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import { plan, type Action, type Desired, type Memory, type PlannedEndpoint, type Progress } from "../../core/rollout/plan.ts";
import { trafficEntry, type Entry, type EntryParts } from "../../core/traffic-entry.ts";
import type { Engine, Instance, Ref } from "../../engines/engine.ts";
import type { Traffic } from "../../engines/traffic.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { workloadOf } from "./workload.ts";

export interface TrackStep {
  readonly instances: readonly Instance[]; readonly progress: Progress; readonly memory: Memory; readonly actions: readonly Action[];
  /** The edge has forgotten the entry that was in force, or fell back to an older one. */
  readonly routesLost: boolean;
}

/** Which release, with how many instances; undefined = nothing should run. */
export interface Target { readonly release: ReleaseRow | undefined; readonly replicas: number }

export async function stepTrack(deps: ComponentLoopDeps, loaded: Loaded, target: Target, memory: Memory, context: PassContext): Promise<TrackStep> {
  const { component, stack } = loaded;
  const ref: Ref = { stack: stack.name, component: component.name };
  const engine = deps.places.engine(stack.cluster);
  const traffic = deps.places.traffic(stack.cluster);
  const spec = target.release?.spec ?? loaded.stable?.spec ?? component.spec;
  const hasTraffic = spec.ports.length > 0;
  const parts: EntryParts = { stack: stack.name, component: component.name, stopped: component.stopped, spec, routes: loaded.routes, internalPorts: loaded.internalPorts };
  const desired: Desired = { revision: target.release === undefined ? undefined : { releaseHash: target.release.hash, restart: component.restart }, replicas: target.replicas, strategy: spec.strategy, hasTraffic, drainTimeout: spec.drainTimeout };

  const observed = await engine.observe(ref, context.signal);
  const instances = observed?.instances ?? [];
  const applied = hasTraffic ? await traffic.applied(ref, context.signal) : undefined;
  const entryOf = (endpoints: readonly PlannedEndpoint[]): Entry => entryWith(parts, instances, endpoints);
  // What is in force is compared as a whole, so that a lost answer, a new address, another host or an edge that lost its entry all lead to the same repair.
  const routed = applied === undefined ? undefined : { ...applied, carries: (endpoints: readonly PlannedEndpoint[]) => contentHash(entryOf(endpoints)) === applied.digest };
  const decided = plan(desired, { instances, traffic: routed }, memory, deps.clock().getTime());
  const inForce = applied === undefined ? memory.entry : { generation: applied.generation };
  const entry = await act(deps, { loaded, engine, traffic, ref, parts, entryOf, release: target.release }, decided.actions, inForce, context);
  const routesLost = applied !== undefined && applied.generation < (memory.entry?.generation ?? 0);
  return { instances, routesLost, progress: decided.progress, actions: decided.actions, memory: { draining: decided.draining, ...(entry === undefined ? {} : { entry }) } };
}

function entryWith(parts: EntryParts, instances: readonly Instance[], endpoints: readonly PlannedEndpoint[]): Entry {
  const byId = new Map(instances.map((instance) => [instance.id, instance]));
  return trafficEntry(parts, endpoints.flatMap(({ instance: id, state }) => {
    const instance = byId.get(id);
    return instance === undefined ? [] : [{ instance: id, state, releaseHash: instance.revision.releaseHash, addresses: instance.addresses }];
  }));
}

interface Scene { readonly loaded: Loaded; readonly engine: Engine; readonly traffic: Traffic; readonly ref: Ref; readonly parts: EntryParts; readonly entryOf: (endpoints: readonly PlannedEndpoint[]) => Entry; readonly release: ReleaseRow | undefined }

async function act(deps: ComponentLoopDeps, scene: Scene, actions: readonly Action[], before: Memory["entry"], context: PassContext): Promise<Memory["entry"]> {
  let entry = before;
  for (const action of actions) {
    switch (action.type) {
      case "setRoutes": {
        await scene.traffic.apply(scene.entryOf(action.endpoints), context.fence, context.signal);
        entry = { generation: context.fence.generation };
        break;
      }
      case "ensure": {
        if (scene.release === undefined) throw new BerthError("internal", {}, { cause: new Error("ensure without a release") });
        const workload = await workloadOf(deps.db, deps.secretBox, scene.loaded, scene.release);
        await scene.engine.prepare(workload, context.fence, context.signal);
        await scene.engine.ensure({ ref: scene.ref, track: "stable", workload, restart: scene.loaded.component.restart, replicas: action.replicas, leaving: action.leaving }, context.fence, context.signal);
        break;
      }
      case "stop":
        await scene.engine.stop(scene.ref, action.instances, scene.parts.spec.gracePeriod, context.fence, context.signal);
        break;
      default: {
        const never: never = action;
        throw new Error(`unknown action ${JSON.stringify(never)}`);
      }
    }
  }
  return entry;
}

/** Changes when anything that people see of the instances does. */
export function instancesDigest(instances: readonly Instance[]): string {
  return contentHash(instances.map(({ id, phase, ready, restarts, revision, cause }) => [id, phase, ready, restarts, revision, cause?.code]));
}
