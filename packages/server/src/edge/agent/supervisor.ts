// All instances of this machine: which there are, by whose order, and what became of them. It starts what is missing and ends what is named; it never
// ends an instance because it does not know it (design: nothing is removed because it is unknown).
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import {
  EngineFailure,
  type Fence,
  type Instance,
  type InstanceRecord,
  type Observed,
  type Ref,
  type TrackTarget,
  type Usage,
} from "../../engines/engine.ts";
import { refKey } from "../../engines/agent/protocol.ts";
import { Departures } from "./departures.ts";
import { errorText } from "./files.ts";
import type { Fences } from "./fences.ts";
import { Supervised, type InstanceDeps } from "./instance.ts";
import { listeners } from "./listening.ts";
import type { Machine } from "./machine.ts";
import type { StallWatch } from "./prober.ts";
import { newInstanceId, readSpec, type Spec } from "./record.ts";
import { Turns } from "./turns.ts";

/** ms: how often everything is looked at even without a hint. */
const sweepPeriod = 250;
/** Looks between two sweeps of control groups. */
const groupSweep = 20;
/** Looks in which every steady instance is looked at once: a part of them in each. */
const steadyRound = 8;
/** The share of one core that the looks at listening sockets may take, and the longest time (ms) between two of them. */
const doorShare = 0.005;
const doorsAtLeast = 1_000;

export interface SupervisorDeps {
  readonly machine: Machine;
  readonly fences: Fences;
  readonly stalls: StallWatch;
  readonly onReadiness: (instances: readonly { readonly id: string; readonly ready: boolean }[], full: boolean) => void;
}

export class Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #instances = new Map<string, Supervised>();
  readonly #departures: Departures;
  readonly #watchers = new Set<(ref: Ref) => void>();
  /** Orders about one component happen one after another. */
  readonly #turns = new Turns();
  #sweep: NodeJS.Timeout | undefined;
  #looks = 0;
  #nextDoors = 0;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#departures = new Departures(deps.machine);
  }

  /** Finds the instances of earlier agents again, with the same process ids, and begins to watch over them. */
  start(): void {
    const { machine } = this.#deps;
    for (const id of readdirSync(machine.instancesDir)) {
      const dir = join(machine.instancesDir, id);
      const spec = readSpec(join(dir, "spec.json"));
      if (spec === undefined) {
        // Made by a start that a crash cut short before the order was written: there is no process and no order.
        rmSync(dir, { recursive: true, force: true });
        continue;
      }
      this.#adopt(spec, dir);
    }
    this.#deps.onReadiness(
      [...this.#instances.values()].map((one) => ({ id: one.id, ready: one.ready })),
      true,
    );
    this.#sweep = setInterval(() => this.#look(), sweepPeriod);
  }

  #adopt(spec: Spec, dir: string): void {
    const { machine } = this.#deps;
    try {
      if (existsSync(join(dir, "ended"))) return this.#departures.add(Supervised.departed(spec, dir, this.#instanceDeps()));
      machine.ports.keep(spec.id, Object.values(spec.ports));
      const instance = Supervised.adopt(spec, dir, this.#instanceDeps());
      this.#instances.set(spec.id, instance);
    } catch (error) {
      machine.say("instance not adopted", { instance: spec.id, error: errorText(error) });
    }
  }

  /** Lets go of all instances; they run on. */
  close(): void {
    clearInterval(this.#sweep);
    for (const instance of this.#instances.values()) instance.close();
    this.#departures.close();
  }

  /** Starts what is missing of this revision up to `replicas`. Errors: `stale_generation`, EngineFailure when the machine cannot take more. */
  ensure(target: TrackTarget, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(target.ref), async () => {
      this.#deps.fences.pass(target.ref, fence);
      const { workload } = target;
      if (workload.artifact.kind === "image")
        throw new EngineFailure(
          cause("image_needs_container_engine", { component: target.ref.component, image: workload.artifact.reference }),
          { retryable: false },
        );
      const alike = this.#of(target.ref).filter(
        (one) =>
          one.spec.track === target.track &&
          one.spec.workload.releaseHash === workload.releaseHash &&
          one.spec.restart === target.restart &&
          !one.stopping &&
          target.leaving?.includes(one.id) !== true,
      );
      const missing = Math.max(0, target.replicas - alike.length);
      // To the end of each: whoever has the next turn sees what is there.
      const made = await Promise.allSettled(Array.from({ length: missing }, () => this.#create(target, fence)));
      if (missing > 0) this.#changed(target.ref);
      const failed = made.find((one) => one.status === "rejected");
      if (failed !== undefined) throw failed.reason as Error;
    });
  }

  async #create(target: TrackTarget, fence: Fence): Promise<void> {
    const { machine } = this.#deps;
    let id = newInstanceId(target.ref.component);
    while (this.#instances.has(id) || this.#departures.has(id)) id = newInstanceId(target.ref.component);
    try {
      const ports: Record<string, number> = {};
      for (const port of target.workload.ports) ports[port.name] = await machine.ports.take(id);
      const { ref, track, restart, workload } = target;
      const instance = await Supervised.create(
        { id, ref, track, restart, workload, fence, ports, createdAt: machine.now() },
        join(machine.instancesDir, id),
        this.#instanceDeps(),
      );
      this.#instances.set(id, instance);
    } catch (error) {
      machine.ports.release(id);
      rmSync(join(machine.instancesDir, id), { recursive: true, force: true });
      throw new EngineFailure(cause("start_failed", { reason: errorText(error) }), { retryable: true, cause: error });
    }
  }

  stop(ref: Ref, ids: readonly string[], grace: number, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(ref), async () => {
      this.#deps.fences.pass(ref, fence);
      for (const instance of this.#of(ref)) if (ids.includes(instance.id)) instance.stop(grace);
      this.#changed(ref);
    });
  }

  remove(ref: Ref, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(ref), async () => {
      this.#deps.fences.pass(ref, fence);
      for (const instance of this.#of(ref)) instance.stop(instance.spec.workload.gracePeriod);
      this.#changed(ref);
    });
  }

  /** Instances of it that have not ended, or whose folders are still there. */
  left(ref: Ref): number {
    return this.#of(ref).length + this.#departures.count(ref);
  }

  /** undefined: this machine has no instance of it. */
  async observe(ref: Ref): Promise<Observed | undefined> {
    const instances = this.#of(ref);
    const fence = this.#deps.fences.of(ref) ?? instances[0]?.spec.fence;
    if (instances.length === 0 || fence === undefined) return undefined;
    return { ref, fence, instances: await Promise.all(instances.map((one): Promise<Instance> => one.view())) };
  }

  async list(): Promise<Observed[]> {
    const refs = new Map([...this.#instances.values()].map((one) => [refKey(one.spec.ref), one.spec.ref]));
    return (await Promise.all([...refs.values()].map((ref) => this.observe(ref)))).filter((one) => one !== undefined);
  }

  /** Each instance with the order that it was started by. */
  records(): InstanceRecord[] {
    return [...this.#instances.values()].map(({ id, stopping, spec: { ref, track, restart, createdAt, workload } }) => ({
      id,
      ref,
      track,
      restart,
      createdAt: new Date(createdAt).toISOString(),
      stopping,
      workload,
    }));
  }

  find(ref: Ref, id: string): Supervised | undefined {
    const instance = this.#instances.get(id);
    return instance !== undefined && refKey(instance.spec.ref) === refKey(ref) ? instance : undefined;
  }

  usage(refs: readonly Ref[]): Usage[] {
    const { machine } = this.#deps;
    const wanted = new Set(refs.map(refKey));
    const at = new Date(machine.now()).toISOString();
    return [...this.#instances.values()]
      .filter((one) => wanted.has(refKey(one.spec.ref)))
      .map((one) => ({ ref: one.spec.ref, instance: one.id, at, ...one.usage() }));
  }

  /** Components that mount a volume now. */
  volumeUsers(stackId: string, volume: string): string[] {
    const users = [...this.#instances.values()].filter(
      (one) => one.spec.workload.stackId === stackId && one.spec.workload.volumes.some((mount) => mount.volume === volume),
    );
    return [...new Set(users.map((one) => one.spec.ref.component))];
  }

  /** Whether anything of the stack lives, or waits for its last lines to be read. */
  has(stackId: string): boolean {
    return [...this.#instances.values()].some((one) => one.spec.workload.stackId === stackId) || this.#departures.ofStack(stackId);
  }

  /** Releases of a stack that an instance was started from. */
  releasesInUse(stackId: string): string[] {
    return [...this.#instances.values()].flatMap(({ spec: { workload } }) =>
      workload.stackId === stackId && workload.artifact.kind === "bundle" ? [workload.artifact.digest] : [],
    );
  }

  /** Returns the function that ends the watching. */
  watch(onChange: (ref: Ref) => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  #of(ref: Ref): Supervised[] {
    const key = refKey(ref);
    return [...this.#instances.values()]
      .filter((one) => refKey(one.spec.ref) === key)
      .sort((a, b) => a.spec.createdAt - b.spec.createdAt || a.id.localeCompare(b.id));
  }

  #changed(ref: Ref): void {
    for (const watcher of this.#watchers) watcher(ref);
  }

  #instanceDeps(): InstanceDeps {
    const { machine, stalls, onReadiness } = this.#deps;
    return {
      machine,
      stalls,
      onChange: (instance) => this.#changed(instance.spec.ref),
      onReady: (instance, ready) => onReadiness([{ id: instance.id, ready }], false),
      onGone: (instance) => this.#depart(instance),
    };
  }

  #depart(instance: Supervised): void {
    if (!this.#instances.delete(instance.id)) return;
    const { machine } = this.#deps;
    machine.ports.release(instance.id);
    this.#departures.add(instance);
    this.#changed(instance.spec.ref);
  }

  #look(): void {
    const all = [...this.#instances.values()];
    this.#looks += 1;
    for (const [index, instance] of all.entries())
      if (!instance.steady || index % steadyRound === this.#looks % steadyRound) instance.advance();
    this.#lookAtDoors(all);
    this.#departures.look();
    if (this.#looks % groupSweep === 0) this.#deps.machine.groups?.sweep();
  }

  /** At every look, unless this machine has so many sockets that it would take more than its share. */
  #lookAtDoors(all: readonly Supervised[]): void {
    const now = performance.now();
    if (now < this.#nextDoors || !all.some((instance) => instance.ready && Object.keys(instance.spec.ports).length > 0)) return;
    const before = process.cpuUsage();
    const open = listeners();
    for (const instance of all) instance.checkDoors(open);
    const { user, system } = process.cpuUsage(before);
    this.#nextDoors = now + Math.min(doorsAtLeast, (user + system) / 1000 / doorShare) - sweepPeriod / 2;
  }
}
