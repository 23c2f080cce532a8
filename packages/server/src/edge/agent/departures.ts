// Instances and tasks that ended for good stay a moment: a pipe's content dies with its last holder, so the agent holds the pipes until the collector
// has read them empty (it says so by a file `drained`), and only then removes the folder.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Ref } from "../../engines/engine.ts";
import { refKey } from "../../engines/agent/protocol.ts";
import { removeTree } from "../../engines/local/remove.ts";
import { writeWhole } from "../../os/files.ts";
import { errorText, touchFolder } from "./files.ts";
import type { Supervised } from "./instance.ts";
import type { Machine } from "./machine.ts";
import { hasPipes } from "./pipes.ts";

/** ms: a collector that is away for longer loses the last lines of what ended meanwhile. */
const patience = 60_000;

export class Departures {
  readonly #machine: Machine;
  readonly #waiting = new Map<
    string,
    { readonly instance: Supervised; readonly until: number; readonly onRemove: () => void | Promise<void> }
  >();
  readonly #removing = new Set<string>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Of a component; one whose folder is just being removed counts. */
  count(ref: Ref): number {
    return [...this.#waiting.values()].filter(({ instance }) => refKey(instance.spec.ref) === refKey(ref)).length;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  ofStack(stackId: string): boolean {
    return [...this.#waiting.values()].some(({ instance }) => instance.spec.workload.stackId === stackId);
  }

  /** All processes of the instance are gone. `onRemove` is called when its lines are read, before the folder goes. */
  add(instance: Supervised, onRemove: () => void | Promise<void> = () => undefined): void {
    writeWhole(join(instance.dir, "ended"), "");
    touchFolder(instance.dir);
    // Where its folder was being removed already, nothing is left to read.
    const until = this.#machine.now() + (hasPipes(instance.dir) ? patience : 0);
    this.#waiting.set(instance.id, { instance, until, onRemove });
  }

  look(): void {
    for (const [id, { instance, until, onRemove }] of this.#waiting) {
      if (this.#removing.has(id)) continue;
      if (!existsSync(join(instance.dir, "drained")) && this.#machine.now() < until) continue;
      this.#removing.add(id);
      this.#remove(instance, onRemove)
        .catch((error: unknown) => this.#machine.say("not removed", { instance: id, error: errorText(error) }))
        .finally(() => {
          this.#waiting.delete(id);
          this.#removing.delete(id);
        });
    }
  }

  async #remove(instance: Supervised, onRemove: () => void | Promise<void>): Promise<void> {
    await onRemove();
    instance.close();
    await removeTree(join(this.#machine.stacks.open(instance.spec.workload.stackId).tmp, instance.id));
    // The order first: without it a folder is nobody's, and whoever finds one that a crash left half removed removes the rest.
    rmSync(join(instance.dir, "spec.json"), { force: true });
    rmSync(instance.dir, { recursive: true, force: true });
  }

  close(): void {
    for (const { instance } of this.#waiting.values()) instance.close();
    this.#waiting.clear();
  }
}
