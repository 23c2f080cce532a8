// Instances and tasks that ended for good stay until the collector has read their last lines (it says so by a file `drained`); only then what is left of them is removed.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { refKey } from "../../engines/agent/protocol.ts";
import type { Ref } from "../../engines/engine.ts";
import { writeWhole } from "../../os/files.ts";
import type { Say } from "../complaints.ts";
import { errorText, touchFolder } from "./files.ts";
import type { Member } from "./member.ts";

/** ms: a collector that is away for longer loses the last lines of what ended meanwhile. */
const patience = 60_000;

export interface DeparturesDeps<T> {
  readonly now: () => number;
  readonly say: Say;
  /** Whether there may be lines that are not read yet. */
  readonly hasLines: (one: T) => boolean;
  /** Removes what is left of it. Rejects when that cannot be now. */
  readonly remove: (one: T) => Promise<void>;
  /** What becomes of one that could not be removed. */
  readonly onFailure: "forget" | "retry";
}

interface Waiting<T> {
  readonly one: T;
  readonly until: number;
  readonly onRemove: () => void | Promise<void>;
}

export class Departures<T extends Member> {
  readonly #deps: DeparturesDeps<T>;
  readonly #waiting = new Map<string, Waiting<T>>();
  readonly #removing = new Set<string>();

  constructor(deps: DeparturesDeps<T>) {
    this.#deps = deps;
  }

  /** Of a component; one that is just being removed counts. */
  count(ref: Ref): number {
    return [...this.#waiting.values()].filter(({ one }) => refKey(one.spec.ref) === refKey(ref)).length;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  /** Whether no line of it is to come any more, of one that has ended. */
  isRead(id: string): boolean {
    const waiting = this.#waiting.get(id);
    return waiting === undefined || existsSync(join(waiting.one.dir, "drained"));
  }

  ofStack(stackId: string): boolean {
    return [...this.#waiting.values()].some(({ one }) => one.spec.workload.stackId === stackId);
  }

  /** Nothing of it runs any more. `onRemove` is called when its lines are read, before anything is removed. */
  add(one: T, onRemove: () => void | Promise<void> = () => undefined): void {
    if (this.#waiting.has(one.id)) return;
    writeWhole(join(one.dir, "ended"), "");
    touchFolder(one.dir);
    const until = this.#deps.now() + (this.#deps.hasLines(one) ? patience : 0);
    this.#waiting.set(one.id, { one, until, onRemove });
  }

  look(): void {
    for (const [id, waiting] of this.#waiting) {
      if (this.#removing.has(id)) continue;
      if (!existsSync(join(waiting.one.dir, "drained")) && this.#deps.now() < waiting.until) continue;
      this.#removing.add(id);
      this.#remove(waiting)
        .then(
          () => this.#waiting.delete(id),
          (error: unknown) => {
            this.#deps.say("not removed", { instance: id, error: errorText(error) });
            if (this.#deps.onFailure === "forget") this.#waiting.delete(id);
          },
        )
        .finally(() => this.#removing.delete(id));
    }
  }

  async #remove({ one, onRemove }: Waiting<T>): Promise<void> {
    await onRemove();
    one.close();
    await this.#deps.remove(one);
  }

  close(): void {
    for (const { one } of this.#waiting.values()) one.close();
    this.#waiting.clear();
  }
}
