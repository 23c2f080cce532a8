// All instances of one agent, whatever they are: which there are, by whose order, and who is told when something of one changes. It starts what is missing and
// ends what is named; it never ends an instance because it does not know it (design: nothing is removed because it is unknown).
import type { Cause } from "@berth/contract/causes.ts";
import { refKey } from "../../engines/agent/protocol.ts";
import {
  EngineFailure,
  type Fence,
  type InstanceRecord,
  type Observed,
  type Ref,
  type TrackTarget,
  type Usage,
  type Workload,
} from "../../engines/engine.ts";
import type { Departures } from "./departures.ts";
import type { Fences } from "./fences.ts";
import type { Member } from "./member.ts";
import type { InstanceOrders } from "./orders.ts";
import { newInstanceId } from "./record.ts";
import { Turns } from "./turns.ts";

export type TellReadiness = (instances: readonly { readonly id: string; readonly ready: boolean }[], full: boolean) => void;

export interface RosterDeps {
  readonly fences: Fences;
  readonly onReadiness: TellReadiness;
}

export abstract class Roster<T extends Member> implements InstanceOrders {
  protected readonly instances = new Map<string, T>();
  protected abstract readonly departures: Departures<T>;
  readonly #deps: RosterDeps;
  readonly #watchers = new Set<(ref: Ref) => void>();
  /** Orders about one component happen one after another. */
  readonly #turns = new Turns();

  constructor(deps: RosterDeps) {
    this.#deps = deps;
  }

  /** Why this agent cannot run such a workload at all. */
  protected abstract refusal(workload: Workload): Cause | undefined;
  /** Makes one instance and begins it. Rejects with what the planner is told. */
  protected abstract create(target: TrackTarget, fence: Fence): Promise<void>;
  abstract usage(refs: readonly Ref[]): readonly Usage[] | Promise<readonly Usage[]>;

  /** Lets go of all instances; they run on. */
  close(): void {
    for (const one of this.instances.values()) one.close();
    this.departures.close();
  }

  /** Starts what is missing of this revision up to `replicas`. Errors: `stale_generation`, EngineFailure. */
  ensure(target: TrackTarget, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(target.ref), async () => {
      this.#deps.fences.pass(target.ref, fence);
      const { workload } = target;
      const refusal = this.refusal(workload);
      if (refusal !== undefined) throw new EngineFailure(refusal, { retryable: false });
      const alike = this.of(target.ref).filter(
        ({ id, spec, stopping }) =>
          spec.track === target.track &&
          spec.workload.releaseHash === workload.releaseHash &&
          spec.restart === target.restart &&
          !stopping &&
          target.leaving?.includes(id) !== true,
      );
      const missing = Math.max(0, target.replicas - alike.length);
      // To the end of each: whoever has the next turn sees what is there.
      const made = await Promise.allSettled(Array.from({ length: missing }, () => this.create(target, fence)));
      if (missing > 0) this.changed(target.ref);
      const failed = made.find((one) => one.status === "rejected");
      if (failed !== undefined) throw failed.reason as Error;
    });
  }

  stop(ref: Ref, ids: readonly string[], grace: number, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(ref), async () => {
      this.#deps.fences.pass(ref, fence);
      for (const one of this.of(ref)) if (ids.includes(one.id)) one.stop(grace);
      this.changed(ref);
    });
  }

  remove(ref: Ref, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(ref), async () => {
      this.#deps.fences.pass(ref, fence);
      for (const one of this.of(ref)) one.stop(one.spec.workload.gracePeriod);
      this.changed(ref);
    });
  }

  /** Instances of it that have not ended, or whose folders are still there. */
  left(ref: Ref): number {
    return this.of(ref).length + this.departures.count(ref);
  }

  /** undefined: there is no instance of it here. */
  async observe(ref: Ref): Promise<Observed | undefined> {
    const instances = this.of(ref);
    const fence = this.#deps.fences.of(ref) ?? instances[0]?.spec.fence;
    if (instances.length === 0 || fence === undefined) return undefined;
    return { ref, fence, instances: await Promise.all(instances.map((one) => one.view())) };
  }

  async list(): Promise<Observed[]> {
    const refs = new Map([...this.instances.values()].map((one) => [refKey(one.spec.ref), one.spec.ref]));
    return (await Promise.all([...refs.values()].map((ref) => this.observe(ref)))).filter((one) => one !== undefined);
  }

  /** Each instance with the order that it was started by. */
  records(): InstanceRecord[] {
    return [...this.instances.values()].map(({ id, stopping, spec: { ref, track, restart, createdAt, workload } }) => ({
      id,
      ref,
      track,
      restart,
      createdAt: new Date(createdAt).toISOString(),
      stopping,
      workload,
    }));
  }

  find(ref: Ref, id: string): T | undefined {
    const one = this.instances.get(id);
    return one !== undefined && refKey(one.spec.ref) === refKey(ref) ? one : undefined;
  }

  /** Components that mount a volume now. */
  volumeUsers(stackId: string, volume: string): string[] {
    const users = this.ofStack(stackId).filter(({ spec: { workload } }) => workload.volumes.some((mount) => mount.volume === volume));
    return [...new Set(users.map((one) => one.spec.ref.component))];
  }

  /** Whether anything of the stack lives, or waits for its last lines to be read. */
  has(stackId: string): boolean {
    return this.ofStack(stackId).length > 0 || this.departures.ofStack(stackId);
  }

  /** Returns the function that ends the watching. */
  watch(onChange: (ref: Ref) => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  /** Those of these components. */
  protected among(refs: readonly Ref[]): T[] {
    const wanted = new Set(refs.map(refKey));
    return [...this.instances.values()].filter((one) => wanted.has(refKey(one.spec.ref)));
  }

  protected of(ref: Ref): T[] {
    return this.among([ref]).sort((a, b) => a.spec.createdAt - b.spec.createdAt || a.id.localeCompare(b.id));
  }

  protected ofStack(stackId: string): T[] {
    return [...this.instances.values()].filter((one) => one.spec.workload.stackId === stackId);
  }

  protected changed(ref: Ref): void {
    for (const watcher of this.#watchers) watcher(ref);
  }

  /** An id that nobody here has. */
  protected freshId(component: string): string {
    for (;;) {
      const id = newInstanceId(component);
      if (!this.instances.has(id) && !this.departures.has(id)) return id;
    }
  }

  /** Tells the readiness of all that there are. */
  protected tellAll(): void {
    this.#deps.onReadiness(
      [...this.instances.values()].map((one) => ({ id: one.id, ready: one.ready })),
      true,
    );
  }

  protected tell(one: T, ready: boolean): void {
    this.#deps.onReadiness([{ id: one.id, ready }], false);
  }

  /** It ended for good: it is an instance no more, and goes when its last lines are read. `false`: it had gone before. */
  protected depart(one: T, onRemove?: () => void): boolean {
    if (!this.instances.delete(one.id)) return false;
    this.departures.add(one, onRemove);
    this.changed(one.spec.ref);
    return true;
  }
}
