// Which workloads were prepared a moment ago: a rollout asks before each of its waves, and what was there then is there still, or the next attempt finds out.
import { createHash } from "node:crypto";
import type { Workload } from "../engine.ts";

/** ms for which what was prepared is taken to be there. */
const holds = 30_000;

export class Prepared {
  /** Stack, component and digest of the workload -> when, ms of this process. */
  readonly #at = new Map<string, number>();

  has(workload: Workload): boolean {
    const at = this.#at.get(keyOf(workload));
    return at !== undefined && performance.now() - at < holds;
  }

  add(workload: Workload): void {
    for (const [key, at] of this.#at) if (performance.now() - at >= holds) this.#at.delete(key);
    this.#at.set(keyOf(workload), performance.now());
  }

  forget(stack: string): void {
    for (const key of this.#at.keys()) if (key.startsWith(`${stack}/`)) this.#at.delete(key);
  }
}

/** Values of secrets are part of it, and not to be read from it. */
function keyOf(workload: Workload): string {
  return `${workload.ref.stack}/${workload.ref.component} ${createHash("sha256").update(JSON.stringify(workload)).digest("hex")}`;
}
