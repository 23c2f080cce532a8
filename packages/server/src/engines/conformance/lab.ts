// Where the conformance suite tries an engine: an empty place for it, fences that only rise, and components that no other test knows.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import type { Engine, Fence, Instance, Ref, TrackTarget, Workload } from "../engine.ts";

/**
 * What a test needs a program to do. `serve`: answers http on its port `http`. `run`: writes `hello` and runs on. `crash`: ends at once with exit code 3.
 * `end`: ends at once with 0. `stubborn`: runs on and ignores SIGTERM.
 */
export type Does = "serve" | "run" | "crash" | "end" | "stubborn";

export interface Place extends AsyncDisposable {
  readonly engine: Engine;
  /** Whose the files of a restored volume are: everybody's, as the archive says; one owner's (a stack has one user), or nobody's: nothing is unpacked. */
  readonly owners: "kept" | "one" | "none";
  /** Whose word an instance's grace is: that of each `stop`, or the workload's where the place may be quicker to tell it to end; then a shorter one comes too late. Left out: of each `stop`. */
  readonly grace?: "stop" | "workload";
  /** A prepared-for workload whose program does this; different `over` gives a different releaseHash. */
  workload(does: Does, over: Partial<Workload> & { readonly ref: Ref }): Promise<Workload>;
}

export const never = new AbortController().signal;

export async function until<T>(look: () => Promise<T | undefined | false>, what: string, timeout = 60_000): Promise<T> {
  for (const deadline = Date.now() + timeout; ;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`);
    await sleep(25);
  }
}

/** For one `describe`: opens the place before its tests and disposes of it after them. */
export class Lab {
  #place: Place | undefined;
  /** Of its own: a place may still be removing what the suite made before. */
  readonly stack = `conform${randomBytes(3).toString("hex")}`;
  /** The newest that was given. */
  generation = 0;
  epoch = 1;
  /** So many components were named. */
  counter = 0;

  constructor(open: () => Promise<Place>) {
    beforeAll(async () => {
      this.#place = await open();
    });
    afterAll(async () => {
      await this.#place?.[Symbol.asyncDispose]();
    });
  }

  get place(): Place {
    if (this.#place === undefined) throw new Error("the place is there only inside tests");
    return this.#place;
  }

  get engine(): Engine {
    return this.place.engine;
  }

  fence(generation = (this.generation += 1), epoch = this.epoch): Fence {
    return { installation: "lab", epoch, generation };
  }

  newRef(): Ref {
    return { stack: this.stack, component: `c${(this.counter += 1)}` };
  }

  async instances(ref: Ref): Promise<readonly Instance[]> {
    return (await this.engine.observe(ref, never))?.instances ?? [];
  }

  target(workload: Workload, over: Partial<TrackTarget> = {}): TrackTarget {
    return { ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1, ...over };
  }

  /** Prepared and ensured; the target that was. */
  async up(does: Does, over: Partial<TrackTarget> = {}, change: Partial<Workload> = {}): Promise<TrackTarget> {
    const wanted = this.target(await this.place.workload(does, { ref: this.newRef(), ...change }), over);
    const by = this.fence();
    await this.engine.prepare(wanted.workload, by, never);
    await this.engine.ensure(wanted, by, never);
    return wanted;
  }

  async down(ref: Ref): Promise<void> {
    const ids = (await this.instances(ref)).map((one) => one.id);
    await this.engine.stop(ref, ids, 0, this.fence(), never);
    await until(async () => (await this.engine.observe(ref, never)) === undefined, "all are gone");
  }
}
