// Containers that ended for good stay until the collector has read their last lines (it says so by a file `drained`); only then they are removed, with their folders.
import type { Say } from "../complaints.ts";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { refKey } from "../../engines/agent/protocol.ts";
import type { Ref } from "../../engines/engine.ts";
import { writeWhole } from "../../os/files.ts";
import { errorText, touchFolder } from "../agent/files.ts";
import type { Contained } from "./contained.ts";
import type { Daemon } from "./daemon.ts";

/** ms: a collector that is away for longer loses the last lines of what ended meanwhile. */
const patience = 60_000;

interface Waiting {
  readonly one: Contained;
  readonly until: number;
  readonly onRemove: () => void | Promise<void>;
}

export class ContainerDepartures {
  readonly #daemon: Daemon;
  readonly #now: () => number;
  readonly #say: Say;
  readonly #waiting = new Map<string, Waiting>();
  readonly #removing = new Set<string>();

  constructor(deps: { readonly daemon: Daemon; readonly now: () => number; readonly say: Say }) {
    this.#daemon = deps.daemon;
    this.#now = deps.now;
    this.#say = deps.say;
  }

  count(ref: Ref): number {
    return [...this.#waiting.values()].filter(({ one }) => refKey(one.order.ref) === refKey(ref)).length;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  ofStack(stackId: string): boolean {
    return [...this.#waiting.values()].some(({ one }) => one.order.workload.stackId === stackId);
  }

  /** `onRemove` is called when its lines are read, before container and folder go. */
  add(one: Contained, onRemove: () => void | Promise<void> = () => undefined): void {
    if (this.#waiting.has(one.id)) return;
    writeWhole(join(one.dir, "ended"), "");
    touchFolder(one.dir);
    this.#waiting.set(one.id, { one, until: this.#now() + patience, onRemove });
  }

  look(): void {
    for (const [id, waiting] of this.#waiting) {
      if (this.#removing.has(id)) continue;
      if (!existsSync(join(waiting.one.dir, "drained")) && this.#now() < waiting.until) continue;
      this.#removing.add(id);
      this.#remove(waiting)
        .then(() => this.#waiting.delete(id))
        // The daemon may be away: tried again at the next look.
        .catch((error: unknown) => this.#say("container not removed", { instance: id, error: errorText(error) }))
        .finally(() => this.#removing.delete(id));
    }
  }

  async #remove({ one, onRemove }: Waiting): Promise<void> {
    await onRemove();
    one.close();
    await this.#daemon.remove(one.container);
    rmSync(one.dir, { recursive: true, force: true });
  }

  close(): void {
    for (const { one } of this.#waiting.values()) one.close();
    this.#waiting.clear();
  }
}
