// The newest order seen per component, on disk: an order of an older epoch or generation is refused, whoever sends it and however late it comes.
// Fences outlive the component, so that a late order cannot bring back what was removed.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { BerthError } from "../../core/errors.ts";
import type { Epoch, Fence, Ref } from "../../engines/engine.ts";
import { refKey } from "../../engines/agent/protocol.ts";
import { writeWhole } from "../../os/files.ts";
import { readIfThere, readJson, writeJson } from "./files.ts";

export const FenceSchema = Type.Object({
  installation: Type.String({ minLength: 1 }),
  epoch: Type.Integer({ minimum: 0 }),
  generation: Type.Integer({ minimum: 0 }),
});
const Kept = Type.Object({ ref: Type.Object({ stack: Type.String(), component: Type.String() }), fence: FenceSchema });

export class Fences {
  readonly #dir: string;
  readonly #installation: string | undefined;
  readonly #seen = new Map<string, Fence>();
  #epoch = 0;

  /** `installation` undefined: that of the first order. */
  constructor(dir: string, installation: string | undefined) {
    this.#dir = dir;
    this.#installation = installation;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#epoch = Number(readIfThere(join(dir, "epoch")) ?? 0) || 0;
    for (const name of readdirSync(dir).filter((one) => one.endsWith(".json"))) {
      const kept = readJson(join(dir, name));
      if (!Value.Check(Kept, kept)) continue;
      this.#seen.set(refKey(kept.ref), kept.fence);
      this.#epoch = Math.max(this.#epoch, kept.fence.epoch);
    }
  }

  of(ref: Ref): Fence | undefined {
    return this.#seen.get(refKey(ref));
  }

  /** Refuses older epochs from now on, also after a restart. Errors as `pass`. */
  raiseEpoch({ installation, epoch }: Epoch): void {
    this.#check(this.#installation ?? installation, { installation, epoch });
    if (epoch === this.#epoch) return;
    writeWhole(join(this.#dir, "epoch"), String(epoch), { durable: true });
    this.#epoch = epoch;
  }

  #check(own: string, { installation, epoch }: Epoch): void {
    if (installation !== own)
      throw new BerthError("wrong_state", {
        verb: "This order",
        reason: "this machine belongs to another installation of Berth",
        hint: "Use another home folder for the second installation.",
      });
    if (epoch < this.#epoch) throw new BerthError("stale_generation", { seen: `epoch ${this.#epoch}`, given: epoch });
  }

  /** Takes note of the order. Errors: `stale_generation`; `wrong_state` for an order of another installation. */
  pass(ref: Ref, fence: Fence): void {
    const known = this.of(ref);
    this.#check(this.#installation ?? known?.installation ?? fence.installation, fence);
    if (known !== undefined && fence.epoch === known.epoch && fence.generation < known.generation)
      throw new BerthError("stale_generation", { seen: known.generation, given: fence.generation });
    if (known !== undefined && fence.epoch === known.epoch && fence.generation === known.generation) return;
    writeJson(join(this.#dir, `${ref.stack}.${ref.component}.json`), { ref, fence } satisfies { ref: Ref; fence: Fence });
    this.#seen.set(refKey(ref), fence);
    this.#epoch = Math.max(this.#epoch, fence.epoch);
  }
}
