// The control groups of instances and tasks: one for each run, so that its counters tell about that run alone. A group that cannot be removed at once,
// since the kernel still clears up after its last process, is removed by a later sweep; none is left for good.
import type { Limits } from "../../sandbox/cgroup-layout.ts";
import type { Cgroups, Group } from "../../sandbox/cgroups.ts";
import type { Workload } from "../../engines/engine.ts";
import { mostProcesses } from "../../engines/workload.ts";

export class Groups {
  readonly #cgroups: Cgroups;
  readonly #inUse = new Set<string>();

  constructor(cgroups: Cgroups) {
    this.#cgroups = cgroups;
  }

  get can(): Cgroups["can"] {
    return this.#cgroups.can;
  }

  /** A group for one run of an instance, with its limits. Throws the system's error. */
  begin(instance: string, run: number, resources: Workload["resources"]): { readonly name: string; readonly group: Group } {
    const name = `${instance}.${run}`;
    this.#inUse.add(name);
    const limits: Limits = {
      processes: resources.processes ?? mostProcesses,
      ...(resources.memory === undefined ? {} : { memory: resources.memory }),
      ...(resources.cpu === undefined ? {} : { cpu: resources.cpu }),
    };
    return { name, group: this.#cgroups.make(name, limits) };
  }

  /** The group of a run that began earlier. */
  of(name: string): Group {
    this.#inUse.add(name);
    return this.#cgroups.group(name);
  }

  end(name: string): void {
    this.#inUse.delete(name);
    this.#cgroups.group(name).remove();
  }

  /** Leaves nothing behind that no run uses: the last agent of a home takes its groups away. */
  close(): void {
    this.#cgroups.close(this.#inUse);
  }

  /** Removes what no run uses any more and holds no process. */
  sweep(): void {
    for (const name of this.#cgroups.list()) if (!this.#inUse.has(name)) this.#cgroups.group(name).remove();
  }
}
