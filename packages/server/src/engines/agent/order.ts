// What an agent starts an instance or a task by, whatever it makes of it.
import type { Fence, Ref, TaskRun, TrackTarget, Workload } from "../engine.ts";

export interface InstanceOrder {
  /** Of the instance, or of the task. */
  readonly id: string;
  readonly ref: Ref;
  readonly track: TrackTarget["track"];
  readonly restart: number;
  readonly workload: Workload;
  readonly fence: Fence;
  /** Unix ms; the order in which instances are shown. */
  readonly createdAt: number;
  /** Set for a task: it runs once, whatever happens, and ends by itself. */
  readonly task?: Pick<TaskRun, "command" | "deadline" | "tty">;
}
