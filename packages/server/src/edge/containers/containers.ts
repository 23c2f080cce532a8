// All instances that are containers of one daemon: which there are, by whose order, and what became of them. The daemon is the record: what it has with this
// installation's label is found again by any agent. Nothing is removed because it is unknown.
import type { Say } from "../complaints.ts";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import { isNameTaken } from "../../docker/errors.ts";
import { label, readOrder, type ContainerOrder } from "../../engines/docker/labels.ts";
import { refKey } from "../../engines/agent/protocol.ts";
import {
  EngineFailure,
  type Fence,
  type InstanceRecord,
  type Observed,
  type Ref,
  type TrackTarget,
  type Usage,
} from "../../engines/engine.ts";
import type { Fences } from "../agent/fences.ts";
import { newInstanceId } from "../agent/record.ts";
import type { StallWatch } from "../agent/prober.ts";
import type { InstanceOrders } from "../agent/server.ts";
import { Turns } from "../agent/turns.ts";
import { Contained, type ContainedDeps } from "./contained.ts";
import type { Daemon } from "./daemon.ts";
import { ContainerDepartures } from "./departures.ts";
import type { Doors } from "./doors.ts";
import type { Networks } from "./networks.ts";
import { usageOf } from "./usage.ts";

export interface ContainersDeps {
  readonly daemon: Daemon;
  readonly networks: Networks;
  readonly doors: Doors;
  readonly fences: Fences;
  readonly stalls: StallWatch;
  readonly home: string;
  readonly now: () => number;
  readonly say: Say;
  /** Errors of the daemon as the planner is told of them. */
  readonly failure: (error: unknown) => Error;
  readonly onReadiness: (instances: readonly { readonly id: string; readonly ready: boolean }[], full: boolean) => void;
}

export class Containers implements InstanceOrders {
  readonly #deps: ContainersDeps;
  readonly #instances = new Map<string, Contained>();
  readonly #departures: ContainerDepartures;
  readonly #watchers = new Set<(ref: Ref) => void>();
  readonly #turns = new Turns();

  constructor(deps: ContainersDeps) {
    this.#deps = deps;
    this.#departures = new ContainerDepartures(deps);
  }

  /** Goes on with one that the daemon has. */
  adopt(order: ContainerOrder, container: string): void {
    if (this.#instances.has(order.id) || this.#departures.has(order.id)) return;
    const one = Contained.open(order, container, this.#containedDeps());
    this.#deps.networks.keep(order.address, order.id);
    // The daemon needs it whenever it starts the container again.
    this.#deps.doors.hostsFile(order.workload.stackId);
    if (existsSync(join(one.dir, "ended"))) {
      this.#departures.add(one);
      return;
    }
    this.#instances.set(order.id, one);
    one.look();
  }

  /** Removes folders whose containers are gone. Called once all are adopted. */
  started(): void {
    for (const id of readdirSync(this.#folder)) {
      if (!this.#instances.has(id) && !this.#departures.has(id)) rmSync(join(this.#folder, id), { recursive: true, force: true });
    }
    this.#deps.onReadiness(
      [...this.#instances.values()].map((one) => ({ id: one.id, ready: one.ready })),
      true,
    );
  }

  close(): void {
    for (const one of this.#instances.values()) one.close();
    this.#departures.close();
  }

  /** Something happened to this container. */
  hint(container: string, ended: { readonly exitCode: number; readonly at: number } | undefined): void {
    for (const one of this.#instances.values()) {
      if (one.container !== container) continue;
      if (ended === undefined) one.look();
      else one.noteEnd(ended.exitCode, ended.at);
    }
  }

  lookAtAll(): void {
    for (const one of this.#instances.values()) one.look();
  }

  look(): void {
    this.#departures.look();
  }

  /** Starts what is missing of this revision up to `replicas`. Errors: `stale_generation`, EngineFailure. */
  ensure(target: TrackTarget, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(target.ref), async () => {
      this.#deps.fences.pass(target.ref, fence);
      const { workload } = target;
      if (workload.artifact.kind !== "image")
        throw new EngineFailure(cause("artifact_missing", { digest: workload.artifact.digest }), { retryable: false });
      const alike = this.#of(target.ref).filter(
        ({ order, stopping, id }) =>
          order.track === target.track &&
          order.workload.releaseHash === workload.releaseHash &&
          order.restart === target.restart &&
          !stopping &&
          target.leaving?.includes(id) !== true,
      );
      const missing = Math.max(0, target.replicas - alike.length);
      const made = await Promise.allSettled(Array.from({ length: missing }, () => this.#create(target, fence)));
      if (missing > 0) this.#changed(target.ref);
      const failed = made.find((one) => one.status === "rejected");
      if (failed !== undefined) throw failed.reason as Error;
    });
  }

  async #create(target: TrackTarget, fence: Fence): Promise<void> {
    const { daemon, networks, doors, now, failure } = this.#deps;
    const { ref, track, restart, workload } = target;
    for (;;) {
      const id = newInstanceId(ref.component);
      if (this.#instances.has(id) || this.#departures.has(id)) continue;
      try {
        await networks.open(workload.stackId, ref.stack);
        const order: ContainerOrder = {
          id,
          ref,
          track,
          restart,
          workload,
          fence,
          createdAt: now(),
          address: networks.take(workload.stackId, id),
        };
        const container = await daemon.create(order, doors.hostsFile(workload.stackId));
        const one = Contained.open(order, container, this.#containedDeps());
        this.#instances.set(id, one);
        one.look();
        return;
      } catch (error) {
        networks.release(id);
        if (isNameTaken(error)) continue;
        throw failure(error);
      }
    }
  }

  stop(ref: Ref, ids: readonly string[], grace: number, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(ref), async () => {
      this.#deps.fences.pass(ref, fence);
      for (const one of this.#of(ref)) if (ids.includes(one.id)) one.stop(grace);
      this.#changed(ref);
    });
  }

  remove(ref: Ref, fence: Fence): Promise<void> {
    return this.#turns.take(refKey(ref), async () => {
      this.#deps.fences.pass(ref, fence);
      for (const one of this.#of(ref)) one.stop(one.order.workload.gracePeriod);
      this.#changed(ref);
    });
  }

  left(ref: Ref): number {
    return this.#of(ref).length + this.#departures.count(ref);
  }

  async observe(ref: Ref): Promise<Observed | undefined> {
    const instances = this.#of(ref);
    const fence = this.#deps.fences.of(ref) ?? instances[0]?.order.fence;
    if (instances.length === 0 || fence === undefined) return undefined;
    return { ref, fence, instances: await Promise.all(instances.map((one) => one.view())) };
  }

  async list(): Promise<Observed[]> {
    const refs = new Map([...this.#instances.values()].map((one) => [refKey(one.order.ref), one.order.ref]));
    return (await Promise.all([...refs.values()].map((ref) => this.observe(ref)))).filter((one) => one !== undefined);
  }

  records(): InstanceRecord[] {
    return [...this.#instances.values()].map(({ id, stopping, order: { ref, track, restart, createdAt, workload } }) => ({
      id,
      ref,
      track,
      restart,
      createdAt: new Date(createdAt).toISOString(),
      stopping,
      workload,
    }));
  }

  find(ref: Ref, id: string): Contained | undefined {
    const one = this.#instances.get(id);
    return one !== undefined && refKey(one.order.ref) === refKey(ref) ? one : undefined;
  }

  usage(refs: readonly Ref[]): Promise<Usage[]> {
    const wanted = new Set(refs.map(refKey));
    return usageOf(
      this.#deps.daemon,
      [...this.#instances.values()].filter((one) => wanted.has(refKey(one.order.ref))),
      this.#deps.now,
    );
  }

  volumeUsers(stackId: string, volume: string): string[] {
    const users = [...this.#instances.values()].filter(
      ({ order: { workload } }) => workload.stackId === stackId && workload.volumes.some((mount) => mount.volume === volume),
    );
    return [...new Set(users.map((one) => one.order.ref.component))];
  }

  /** Whether anything of the stack lives, or waits for its last lines to be read. */
  has(stackId: string): boolean {
    return [...this.#instances.values()].some((one) => one.order.workload.stackId === stackId) || this.#departures.ofStack(stackId);
  }

  watch(onChange: (ref: Ref) => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  get #folder(): string {
    return join(this.#deps.home, "edge", "instances");
  }

  #of(ref: Ref): Contained[] {
    const key = refKey(ref);
    return [...this.#instances.values()]
      .filter((one) => refKey(one.order.ref) === key)
      .sort((a, b) => a.order.createdAt - b.order.createdAt || a.id.localeCompare(b.id));
  }

  #changed(ref: Ref): void {
    for (const watcher of this.#watchers) watcher(ref);
  }

  #containedDeps(): ContainedDeps {
    const { daemon, home, stalls, now, say, onReadiness } = this.#deps;
    return {
      daemon,
      folder: this.#folder,
      logsDir: join(home, "logs"),
      stalls,
      now,
      say,
      onChange: (one) => this.#changed(one.order.ref),
      onReady: (one, ready) => onReadiness([{ id: one.id, ready }], false),
      onGone: (one) => {
        if (!this.#instances.delete(one.id)) return;
        this.#departures.add(one, () => this.#deps.networks.release(one.id));
        this.#changed(one.order.ref);
      },
    };
  }
}

/** The order and the role of a container of Berth's; undefined for one that this version cannot read. */
export function orderOf(labels: Readonly<Record<string, string>>, environment: readonly string[]): ContainerOrder | undefined {
  const role = labels[label.role];
  return role === "instance" || role === "task" ? readOrder(labels, environment) : undefined;
}
