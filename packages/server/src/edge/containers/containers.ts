// All instances that are containers of one daemon. The daemon is the record: what it has with this installation's label is found again by any agent.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Cause } from "@berth/contract/causes.ts";
import { isNameTaken } from "../../docker/errors.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import type { Fence, Ref, TrackTarget, Usage, Workload } from "../../engines/engine.ts";
import type { Departures } from "../agent/departures.ts";
import { Roster, type RosterDeps } from "../agent/roster.ts";
import { adoptContained, containerDepartures, makeContained, refusalOf, type ContainersDeps } from "./begin.ts";
import type { Contained, ContainedDeps } from "./contained.ts";
import { usageOf } from "./usage.ts";

export class Containers extends Roster<Contained> {
  protected readonly departures: Departures<Contained>;
  readonly #deps: ContainersDeps & RosterDeps;

  constructor(deps: ContainersDeps & RosterDeps) {
    super(deps);
    this.#deps = deps;
    this.departures = containerDepartures(deps);
  }

  /** Goes on with one that the daemon has. */
  adopt(order: ContainerOrder, container: string): void {
    if (this.instances.has(order.id) || this.departures.has(order.id)) return;
    const one = adoptContained(order, container, this.#deps, this.#containedDeps());
    if (existsSync(join(one.dir, "ended"))) {
      this.departures.add(one, () => this.#deps.networks.release(one.id));
      return;
    }
    this.instances.set(order.id, one);
    one.look();
  }

  /** Removes folders whose containers are gone. Called once all are adopted. */
  started(): void {
    for (const id of readdirSync(this.#folder)) {
      if (!this.instances.has(id) && !this.departures.has(id)) rmSync(join(this.#folder, id), { recursive: true, force: true });
    }
    this.tellAll();
  }

  members(): Iterable<Contained> {
    return this.instances.values();
  }

  look(): void {
    this.departures.look();
  }

  protected refusal(workload: Workload): Cause | undefined {
    return refusalOf(workload);
  }

  protected async create(target: TrackTarget, fence: Fence): Promise<void> {
    const { networks, now, failure } = this.#deps;
    const { ref, track, restart, workload } = target;
    for (;;) {
      const id = this.freshId(ref.component);
      try {
        const order = { id, ref, track, restart, workload, fence, createdAt: now() };
        const one = await makeContained(order, this.#deps, this.#containedDeps());
        this.instances.set(id, one);
        one.look();
        return;
      } catch (error) {
        networks.release(id);
        if (isNameTaken(error)) continue;
        throw failure(error);
      }
    }
  }

  usage(refs: readonly Ref[]): Promise<Usage[]> {
    return usageOf(this.#deps.daemon, this.among(refs), this.#deps.now);
  }

  get #folder(): string {
    return join(this.#deps.home, "edge", "instances");
  }

  #containedDeps(): ContainedDeps {
    const { daemon, home, networks, stalls, now, say } = this.#deps;
    return {
      daemon,
      folder: this.#folder,
      logsDir: join(home, "logs"),
      stalls,
      now,
      say,
      onChange: (one) => this.changed(one.spec.ref),
      onReady: (one, ready) => this.tell(one, ready),
      onGone: (one) => void this.depart(one, () => networks.release(one.id)),
    };
  }
}
