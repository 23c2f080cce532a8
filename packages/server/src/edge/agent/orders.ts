// What the control plane may ask of an agent, whatever its instances are.
import type { TaskAnswer } from "../../engines/agent/protocol.ts";
import type { Fence, InstanceRecord, Observed, Ref, TaskRun, TrackTarget, Usage } from "../../engines/engine.ts";

/** Orders to instances and questions about them, as Engine has them. */
export interface InstanceOrders {
  ensure(target: TrackTarget, fence: Fence): Promise<void>;
  stop(ref: Ref, ids: readonly string[], grace: number, fence: Fence): Promise<void>;
  remove(ref: Ref, fence: Fence): Promise<void>;
  /** undefined: there is no instance of it here. */
  observe(ref: Ref): Promise<Observed | undefined>;
  list(): Promise<readonly Observed[]>;
  records(): readonly InstanceRecord[];
  usage(refs: readonly Ref[]): readonly Usage[] | Promise<readonly Usage[]>;
  /** Instances of it that have not ended, or whose last lines are not read yet. */
  left(ref: Ref): number;
  /** Returns the function that ends the watching. */
  watch(onChange: (ref: Ref) => void): () => void;
}

export interface TaskOrders {
  start(task: TaskRun, fence: Fence): Promise<void>;
  state(id: string): Promise<TaskAnswer | undefined>;
  cancel(id: string, grace: number): Promise<void>;
  left(ref: Ref): number;
}
