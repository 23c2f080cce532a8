// Instances and tasks that ended for good stay a moment: a pipe's content dies with its last holder, so the agent holds the pipes until the collector
// has read them empty (it says so by a file `drained`), and only then removes the folder.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { removeTree } from "../../engines/local/remove.ts";
import { errorText, writeWhole } from "./files.ts";
import type { Supervised } from "./instance.ts";
import type { Machine } from "./machine.ts";

/** ms: a collector that is away for longer loses the last lines of what ended meanwhile. */
const patience = 60_000;

export class Departures {
  readonly #machine: Machine;
  readonly #waiting = new Map<string, { readonly instance: Supervised; readonly since: number; readonly onRemove: () => void | Promise<void> }>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  /** All processes of the instance are gone. `onRemove` is called when its lines are read, before the folder goes. */
  add(instance: Supervised, onRemove: () => void | Promise<void> = () => undefined): void {
    writeWhole(join(instance.dir, "ended"), "");
    this.#waiting.set(instance.id, { instance, since: this.#machine.now(), onRemove });
  }

  look(): void {
    for (const [id, { instance, since, onRemove }] of this.#waiting) {
      if (!existsSync(join(instance.dir, "drained")) && this.#machine.now() - since < patience) continue;
      this.#waiting.delete(id);
      this.#remove(instance, onRemove).catch((error: unknown) => this.#machine.say("not removed", { instance: id, error: errorText(error) }));
    }
  }

  async #remove(instance: Supervised, onRemove: () => void | Promise<void>): Promise<void> {
    await onRemove();
    instance.close();
    await removeTree(join(this.#machine.stacks.open(instance.spec.workload.stackId).tmp, instance.id));
    rmSync(instance.dir, { recursive: true, force: true });
  }

  close(): void {
    for (const { instance } of this.#waiting.values()) instance.close();
    this.#waiting.clear();
  }
}
