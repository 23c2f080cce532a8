// All instances that are processes of this machine.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { EngineFailure, type Fence, type Ref, type TrackTarget, type Usage, type Workload } from "../../engines/engine.ts";
import type { Departures } from "./departures.ts";
import { errorText } from "./files.ts";
import { Supervised, type InstanceDeps } from "./instance.ts";
import { listeners } from "./listening.ts";
import type { Machine } from "./machine.ts";
import type { StallWatch } from "./prober.ts";
import { processDepartures, refusalOf } from "./processes.ts";
import { readSpec, type Spec } from "./record.ts";
import { Roster, type RosterDeps } from "./roster.ts";

/** ms: how often everything is looked at even without a hint. */
const sweepPeriod = 250;
/** Looks between two sweeps of control groups. */
const groupSweep = 20;
/** Looks in which every steady instance is looked at once: a part of them in each. */
const steadyRound = 8;
/** The share of one core that the looks at listening sockets may take, and the longest time (ms) between two of them. */
const doorShare = 0.005;
const doorsAtLeast = 1_000;

export interface SupervisorDeps extends RosterDeps {
  readonly machine: Machine;
  readonly stalls: StallWatch;
}

export class Supervisor extends Roster<Supervised> {
  protected readonly departures: Departures<Supervised>;
  readonly #deps: SupervisorDeps;
  #sweep: NodeJS.Timeout | undefined;
  #looks = 0;
  #nextDoors = 0;

  constructor(deps: SupervisorDeps) {
    super(deps);
    this.#deps = deps;
    this.departures = processDepartures(deps.machine);
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
    this.tellAll();
    this.#sweep = setInterval(() => this.#look(), sweepPeriod);
  }

  #adopt(spec: Spec, dir: string): void {
    const { machine } = this.#deps;
    try {
      if (existsSync(join(dir, "ended"))) return this.departures.add(Supervised.departed(spec, dir, this.#instanceDeps()));
      machine.ports.keep(spec.id, Object.values(spec.ports));
      this.instances.set(spec.id, Supervised.adopt(spec, dir, this.#instanceDeps()));
    } catch (error) {
      machine.say("instance not adopted", { instance: spec.id, error: errorText(error) });
    }
  }

  override close(): void {
    clearInterval(this.#sweep);
    super.close();
  }

  protected refusal(workload: Workload): Cause | undefined {
    return refusalOf(workload);
  }

  protected async create(target: TrackTarget, fence: Fence): Promise<void> {
    const { machine } = this.#deps;
    const id = this.freshId(target.ref.component);
    try {
      const ports: Record<string, number> = {};
      for (const port of target.workload.ports) ports[port.name] = await machine.ports.take(id);
      const { ref, track, restart, workload } = target;
      const instance = await Supervised.create(
        { id, ref, track, restart, workload, fence, ports, createdAt: machine.now() },
        join(machine.instancesDir, id),
        this.#instanceDeps(),
      );
      this.instances.set(id, instance);
    } catch (error) {
      machine.ports.release(id);
      rmSync(join(machine.instancesDir, id), { recursive: true, force: true });
      throw new EngineFailure(cause("start_failed", { reason: errorText(error) }), { retryable: true, cause: error });
    }
  }

  usage(refs: readonly Ref[]): Usage[] {
    const at = new Date(this.#deps.machine.now()).toISOString();
    return this.among(refs).map((one) => ({ ref: one.spec.ref, instance: one.id, at, ...one.usage() }));
  }

  /** Releases of a stack that an instance was started from. */
  releasesInUse(stackId: string): string[] {
    return this.ofStack(stackId).flatMap(({ spec: { workload } }) =>
      workload.artifact.kind === "bundle" ? [workload.artifact.digest] : [],
    );
  }

  #instanceDeps(): InstanceDeps {
    const { machine, stalls } = this.#deps;
    return {
      machine,
      stalls,
      onChange: (instance) => this.changed(instance.spec.ref),
      onReady: (instance, ready) => this.tell(instance, ready),
      onGone: (instance) => {
        if (this.depart(instance)) machine.ports.release(instance.id);
      },
    };
  }

  #look(): void {
    const all = [...this.instances.values()];
    this.#looks += 1;
    for (const [index, instance] of all.entries())
      if (!instance.steady || index % steadyRound === this.#looks % steadyRound) instance.advance();
    this.#lookAtDoors(all);
    this.departures.look();
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
