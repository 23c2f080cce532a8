// The newest order seen per component, on disk: an order of an older epoch or generation is refused, whoever sends it and however late it comes.
// Fences outlive the component, so that a late order cannot bring back what was removed.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { BerthError } from "../../core/errors.ts";
import type { Fence, Ref } from "../../engines/engine.ts";
import { refKey } from "../../engines/local/protocol.ts";
import { readJson, writeJson } from "./files.ts";

export const FenceSchema = Type.Object({ installation: Type.String({ minLength: 1 }), epoch: Type.Integer({ minimum: 0 }), generation: Type.Integer({ minimum: 0 }) });
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

  /** Takes note of the order. Errors: `stale_generation`; `wrong_state` for an order of another installation. */
  pass(ref: Ref, fence: Fence): void {
    const known = this.of(ref);
    const installation = this.#installation ?? known?.installation ?? fence.installation;
    if (fence.installation !== installation) throw new BerthError("wrong_state", { verb: "This order", reason: "this machine belongs to another installation of Berth", hint: "Use another home folder for the second installation." });
    if (fence.epoch < this.#epoch) throw new BerthError("stale_generation", { seen: `epoch ${this.#epoch}`, given: fence.epoch });
    if (known !== undefined && fence.epoch === known.epoch && fence.generation < known.generation) throw new BerthError("stale_generation", { seen: known.generation, given: fence.generation });
    if (known !== undefined && fence.epoch === known.epoch && fence.generation === known.generation) return;
    writeJson(join(this.#dir, `${ref.stack}.${ref.component}.json`), { ref, fence } satisfies { ref: Ref; fence: Fence });
    this.#seen.set(refKey(ref), fence);
    this.#epoch = Math.max(this.#epoch, fence.epoch);
  }
}
