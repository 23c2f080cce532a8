// One step of bringing the component's track to a revision: observe, plan, act, remember. Used by rollouts, reverts, scaling, stopping, removal and repair alike.
import type { ComponentSpec } from "@berth/contract/spec.ts";
import { contentHash } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import {
  plan,
  type Action,
  type Desired,
  type Memory,
  type PlannedEndpoint,
  type Progress,
  type SeenInstance,
} from "../../core/rollout/plan.ts";
import { trafficEntry, type Entry, type EntryParts } from "../../core/traffic-entry.ts";
import { refOf, type Autoscaling, type Engine, type Instance, type Ref } from "../../engines/engine.ts";
import type { Traffic } from "../../engines/traffic.ts";
import { findReleasesByHash, type ReleaseRow } from "../../resources/releases/store.ts";
import type { ComponentLoopDeps, PassContext } from "./deps.ts";
import type { Loaded } from "./load.ts";
import { leaveToCluster, wantedNow } from "./autoscale.ts";
import { workloadOf } from "./workload.ts";

export interface TrackStep {
  readonly instances: readonly Instance[];
  readonly progress: Progress;
  readonly memory: Memory;
  readonly actions: readonly Action[];
  /** Instances that were there when it was last looked at are gone, and others were started for them. */
  readonly instancesLost: boolean;
  /** The edge has forgotten the entry that was in force, or fell back to an older one. */
  readonly routesLost: boolean;
  /** ms that the slowest of the instances that are not of the wanted revision may take to drain and to end. */
  readonly leaveTime: number;
  /** How many instances are wanted: as many as the target says, unless the cluster decides. */
  readonly wanted: number;
}

/** Which release, with how many instances; undefined = nothing should run. */
export interface Target {
  readonly release: ReleaseRow | undefined;
  readonly replicas: number;
  /** The cluster decides how many, as soon as as many are there. Absent: it does not, or no longer. */
  readonly autoscaling?: Autoscaling | undefined;
}

export async function stepTrack(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  target: Target,
  memory: Memory,
  context: PassContext,
): Promise<TrackStep> {
  const { component, stack } = loaded;
  const ref: Ref = refOf(stack, component.name);
  const engine = deps.places.engine(stack.cluster);
  const traffic = deps.places.traffic(stack.cluster);
  const spec = target.release?.spec ?? loaded.stable?.spec ?? component.spec;
  const observed = await engine.observe(ref, context.signal);
  const how = target.autoscaling;
  const replicas = await wantedNow(engine, loaded, { ref, given: target.replicas, how, observed }, context);
  const desired: Desired = {
    revision: target.release === undefined ? undefined : { releaseHash: target.release.hash, restart: component.restart },
    replicas,
    strategy: spec.strategy,
    hasTraffic: spec.ports.length > 0,
  };

  const instances = observed?.instances ?? [];
  // Asked always: a release that has no ports may follow one that had, and what this row remembers of it may be lost.
  const asked = await traffic.applied(ref, context.signal);
  // Where changes of others are only told, what they changed is as good as in force.
  const applied = stack.drift === "report" && asked.changed !== undefined ? { ...asked, ...asked.changed } : asked;
  const specs = await specsOf(deps, loaded, target, instances);
  const specFor = (instance: Instance): ComponentSpec | undefined => specs.get(instance.revision.releaseHash);
  // Also while it is stopped: its name stays, and whoever asks by it is told so.
  const door = target.release === undefined || spec.ports.length === 0 ? undefined : await engine.door?.(ref, stack.id, context.signal);
  const parts = {
    ...entryParts(loaded, { hash: target.release?.hash ?? loaded.stable?.hash ?? "", spec }, specs, door),
    takesOverlays: engine.overlayRefusals !== undefined,
  };
  const entryOf = (endpoints: readonly PlannedEndpoint[]): Entry => entryWith(parts, instances, endpoints);
  const seen = instances.map((instance): SeenInstance => ({
    ...instance,
    exposed: (specFor(instance)?.ports.length ?? Object.keys(instance.addresses).length) > 0,
    drainTimeout: specFor(instance)?.drainTimeout ?? spec.drainTimeout,
  }));
  // What is in force is compared as a whole, so that a lost answer, a new address, another host or an edge that lost its entry all lead to the same repair.
  const routed = { ...applied, carries: (endpoints: readonly PlannedEndpoint[]) => contentHash(entryOf(endpoints)) === applied.digest };
  const decided = plan(desired, { instances: seen, traffic: routed }, sinceJump(deps, memory), deps.clock().getTime());
  const graceOf = new Map(instances.map((instance) => [instance.id, (specFor(instance) ?? spec).gracePeriod]));
  const entry = await act(
    deps,
    { loaded, engine, traffic, ref, graceOf, entryOf, release: target.release },
    decided.actions,
    memory.entry,
    context,
  );
  const isWanted = ({ revision }: Instance): boolean =>
    revision.releaseHash === desired.revision?.releaseHash && revision.restart === desired.revision.restart;
  if (target.release !== undefined && instances.some((instance) => instance.unprepared === true && isWanted(instance)))
    await engine.prepare(await workloadOf(deps.db, deps.secretBox, loaded, target.release), context.fence, context.signal);
  if (how !== undefined) await leaveToCluster(engine, { ref, how, observed, isWhole: decided.progress.settled }, context);
  const leaving = instances.filter((instance) => !isWanted(instance));
  const there = instances.filter((one) => isWanted(one) && one.phase !== "stopping" && decided.draining[one.id] === undefined).length;
  const whole = desired.revision === undefined ? undefined : wholeOf(desired.revision, desired.replicas);
  return {
    instances,
    wanted: replicas,
    progress: decided.progress,
    actions: decided.actions,
    memory: {
      draining: decided.draining,
      ...(entry === undefined ? {} : { entry }),
      ...(whole === undefined || there < desired.replicas ? {} : { whole }),
    },
    instancesLost: whole !== undefined && memory.whole === whole && decided.actions.some((action) => action.type === "ensure"),
    routesLost: applied.generation < (memory.entry?.generation ?? 0),
    leaveTime: Math.max(
      0,
      ...leaving.map((instance) => {
        const of = specFor(instance) ?? spec;
        return of.drainTimeout + of.gracePeriod;
      }),
    ),
  };
}

const wholeOf = ({ releaseHash, restart }: NonNullable<Desired["revision"]>, replicas: number): string =>
  `${String(replicas)} of ${releaseHash}/${String(restart)}`;

/** The definitions of the releases that run, by hash, each instance's own: what it is told when it leaves is what its release says, not what the next one says. */
async function specsOf(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  target: Target,
  instances: readonly Instance[],
): Promise<ReadonlyMap<string, ComponentSpec>> {
  const known = new Map(
    [target.release, loaded.next, loaded.stable].flatMap((release) =>
      release === undefined ? [] : [[release.hash, release.spec] as const],
    ),
  );
  const running = [...new Set(instances.map(({ revision }) => revision.releaseHash))];
  for (const release of await findReleasesByHash(
    deps.db,
    loaded.component.id,
    running.filter((hash) => !known.has(hash)),
  ))
    known.set(release.hash, release.spec);
  return new Map(
    running.toSorted().flatMap((hash) => {
      const spec = known.get(hash);
      return spec === undefined ? [] : [[hash, spec]];
    }),
  );
}

function entryParts(
  loaded: Loaded,
  wanted: { readonly hash: string; readonly spec: ComponentSpec },
  running: ReadonlyMap<string, ComponentSpec>,
  door: string | undefined,
): EntryParts {
  const { stack, component, hosts, published, internalPorts } = loaded;
  const releases = [wanted, ...[...running].flatMap(([hash, spec]) => (hash === wanted.hash ? [] : [{ hash, spec }]))];
  return {
    stack: stack.name,
    namespace: stack.namespace ?? undefined,
    domain: stack.domain,
    component: component.name,
    stopped: component.stopped,
    hosts,
    published,
    internalPorts,
    door,
    releases,
    drainTimeout: Math.max(...releases.map(({ spec }) => spec.drainTimeout)),
  };
}

function entryWith(parts: EntryParts, instances: readonly Instance[], endpoints: readonly PlannedEndpoint[]): Entry {
  const byId = new Map(instances.map((instance) => [instance.id, instance]));
  return trafficEntry(
    parts,
    endpoints.flatMap(({ instance: id, state }) => {
      const instance = byId.get(id);
      return instance === undefined
        ? []
        : [{ instance: id, state, releaseHash: instance.revision.releaseHash, addresses: instance.addresses }];
    }),
  );
}

interface Scene {
  readonly loaded: Loaded;
  readonly engine: Engine;
  readonly traffic: Traffic;
  readonly ref: Ref;
  readonly graceOf: ReadonlyMap<string, number>;
  readonly entryOf: (endpoints: readonly PlannedEndpoint[]) => Entry;
  readonly release: ReleaseRow | undefined;
}

async function act(
  deps: ComponentLoopDeps,
  scene: Scene,
  actions: readonly Action[],
  before: Memory["entry"],
  context: PassContext,
): Promise<Memory["entry"]> {
  let entry = before;
  for (const action of actions) {
    switch (action.type) {
      case "setRoutes": {
        // A release makes all of it as it is wanted.
        const leaves = scene.loaded.stack.drift === "report" && scene.loaded.rollout === undefined;
        await scene.traffic.apply(scene.entryOf(action.endpoints), context.fence, context.signal, { leaves });
        entry = { generation: context.fence.generation };
        break;
      }
      case "dropRoutes": {
        await scene.traffic.remove(scene.ref, context.fence, context.signal);
        entry = undefined;
        break;
      }
      case "ensure": {
        if (scene.release === undefined) throw new BerthError("internal", {}, { cause: new Error("ensure without a release") });
        const workload = await workloadOf(deps.db, deps.secretBox, scene.loaded, scene.release);
        if (scene.engine.prepared?.(workload) !== true) await scene.engine.prepare(workload, context.fence, context.signal);
        await scene.engine.ensure(
          {
            ref: scene.ref,
            track: "stable",
            workload,
            restart: scene.loaded.component.restart,
            replicas: action.replicas,
            leaving: action.leaving,
          },
          context.fence,
          context.signal,
        );
        break;
      }
      case "stop":
        for (const [grace, ids] of byGrace(action.instances, scene.graceOf))
          await scene.engine.stop(scene.ref, ids, grace, context.fence, context.signal);
        break;
      default: {
        const never: never = action;
        throw new Error(`unknown action ${JSON.stringify(never)}`);
      }
    }
  }
  return entry;
}

function byGrace(ids: readonly string[], graceOf: ReadonlyMap<string, number>): Map<number, string[]> {
  const groups = new Map<number, string[]>();
  for (const id of ids) {
    const grace = graceOf.get(id) ?? 0;
    groups.set(grace, [...(groups.get(grace) ?? []), id]);
  }
  return groups;
}

/** Changes when anything that people see of the instances does. */
export function instancesDigest(instances: readonly Instance[]): string {
  return contentHash(
    instances.map(({ id, phase, ready, restarts, pid, revision, cause }) => [id, phase, ready, restarts, pid ?? 0, revision, cause?.code]),
  );
}

/** Drains count from a jump of the wall clock at the earliest: requests that are under way keep their time. */
function sinceJump({ from }: Pick<ComponentLoopDeps, "from">, memory: Memory): Memory {
  const draining = Object.entries(memory.draining).map(([id, mark]) => [
    id,
    mark.since === undefined ? mark : { ...mark, since: from(mark.since) },
  ]);
  return { ...memory, draining: Object.fromEntries(draining) as Memory["draining"] };
}
