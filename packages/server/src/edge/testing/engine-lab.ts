// What tests of every agent do with the engine over it: run a workload, and wait for its instances.
import { setTimeout as sleep } from "node:timers/promises";
import { StillPreparing, type Engine, type Fence, type Instance, type Ref, type TrackTarget, type Workload } from "../../engines/engine.ts";
import { until } from "./agent-processes.ts";

export const never = new AbortController().signal;
export const installation = "lab";
const web: Ref = { stack: "shop", component: "web" };

export abstract class EngineLab {
  abstract readonly engine: Engine;
  /** ms that an instance is waited for. */
  protected readonly patience: number = 30_000;
  #generation = 0;

  /** What agent and collector had to say. */
  abstract get complaints(): string;

  fence(generation: number = (this.#generation += 1), epoch = 1): Fence {
    return { installation, epoch, generation };
  }

  /** Asks until it is there, or cannot be had. */
  async prepare(workload: Workload, fence: Fence = this.fence()): Promise<void> {
    for (;;)
      try {
        return await this.engine.prepare(workload, fence, never);
      } catch (error) {
        if (!(error instanceof StillPreparing)) throw error;
        await sleep(20);
      }
  }

  /** Prepares and ensures. */
  async run(workload: Workload, over: Partial<TrackTarget> = {}): Promise<void> {
    const fence = this.fence();
    await this.prepare(workload, fence);
    await this.prepared();
    await this.engine.ensure({ ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1, ...over }, fence, never);
  }

  /** Called between the two. */
  protected async prepared(): Promise<void> {}

  async instances(ref: Ref = web): Promise<readonly Instance[]> {
    return (await this.engine.observe(ref, never))?.instances ?? [];
  }

  /** The only instance, once the condition holds. */
  async instance(condition: (instance: Instance) => boolean, label: string, timeout = this.patience, ref?: Ref): Promise<Instance> {
    let last: Instance | undefined;
    return until(
      async () => {
        [last] = await this.instances(ref);
        return last !== undefined && condition(last) ? last : undefined;
      },
      label,
      timeout,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; last seen: ${JSON.stringify(last)}; ${this.complaints}`);
    });
  }
}
