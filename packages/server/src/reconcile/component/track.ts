// One step of bringing the component's track to a revision: observe, plan, act, remember. Used by rollouts, reverts, scaling, stopping, removal and repair alike.
import { contentHash } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import { plan, type Action, type Desired, type Memory, type Progress } from "../../core/rollout/plan.ts";
import { entryHash, trafficEntry, type EntryParts } from "../../core/traffic-entry.ts";
import type { Engine, Instance, Ref } from "../../engines/engine.ts";
import type { Applied, Traffic } from "../../engines/traffic.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { workloadOf } from "./workload.ts";

export interface TrackStep { readonly instances: readonly Instance[]; readonly progress: Progress; readonly memory: Memory; readonly actions: readonly Action[] }

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
  const known = freshMemory(memory, parts, applied);
  const now = deps.clock().getTime();
  const decided = plan(desired, { instances, applied }, known, now);
  const entry = await act(deps, { loaded, engine, traffic, ref, parts, instances, release: target.release, hash: entryHash(parts) }, decided.actions, known.entry, context);
  return { instances, progress: decided.progress, actions: decided.actions, memory: { draining: decided.draining, ...(entry === undefined ? {} : { entry }) } };
}

/** What the edge no longer has, or has with other hosts or ports, is asked for again. */
function freshMemory(memory: Memory, parts: EntryParts, applied: Applied | undefined): Memory {
  if (memory.entry === undefined) return memory;
  if (applied === undefined || applied.generation !== memory.entry.generation || memory.entry.entryHash !== entryHash(parts)) return { draining: memory.draining };
  return memory;
}

interface Scene { readonly loaded: Loaded; readonly engine: Engine; readonly traffic: Traffic; readonly ref: Ref; readonly parts: EntryParts; readonly instances: readonly Instance[]; readonly release: ReleaseRow | undefined; readonly hash: string }

async function act(deps: ComponentLoopDeps, scene: Scene, actions: readonly Action[], before: Memory["entry"], context: PassContext): Promise<Memory["entry"]> {
  let entry = before;
  for (const action of actions) {
    switch (action.type) {
      case "setRoutes": {
        const byId = new Map(scene.instances.map((instance) => [instance.id, instance]));
        const endpoints = action.endpoints.flatMap((endpoint) => {
          const instance = byId.get(endpoint.instance);
          return instance === undefined ? [] : [{ instance: endpoint.instance, state: endpoint.state, releaseHash: instance.revision.releaseHash, addresses: instance.addresses }];
        });
        await scene.traffic.apply(trafficEntry(scene.parts, endpoints), context.fence, context.signal);
        entry = { generation: context.fence.generation, endpoints: action.endpoints, entryHash: scene.hash };
        break;
      }
      case "ensure": {
        if (scene.release === undefined) throw new BerthError("internal", {}, { cause: new Error("ensure without a release") });
        const workload = await workloadOf(deps.db, deps.secretBox, scene.loaded, scene.release);
        await scene.engine.prepare(workload, context.fence, context.signal);
        await scene.engine.ensure({ ref: scene.ref, track: "stable", workload, restart: scene.loaded.component.restart, replicas: action.replicas }, context.fence, context.signal);
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
