// What became of a one-off run, as the planner is told.
import type { Cause } from "@berth/contract/causes.ts";
import type { TaskState } from "../../engines/engine.ts";
import type { State } from "./record.ts";

export interface TaskRunView {
  readonly id: string;
  readonly state: Readonly<State>;
  view(): Promise<{ readonly cause?: Cause }>;
}

/** `createdAt`: Unix ms, for one that was never started. */
export async function taskStateOf(run: TaskRunView, createdAt: number): Promise<TaskState> {
  const { state } = run;
  const startedAt = new Date(state.startedAt ?? createdAt).toISOString();
  if (state.phase !== "exited") return { id: run.id, phase: "running", startedAt };
  const { lastExit } = state;
  const endedAt = lastExit?.at ?? startedAt;
  if (lastExit?.exitCode === 0 && state.lastCause?.code !== "task_deadline")
    return { id: run.id, phase: "succeeded", exitCode: 0, startedAt, endedAt };
  const why = (await run.view()).cause;
  return {
    id: run.id,
    phase: "failed",
    startedAt,
    endedAt,
    ...(lastExit?.exitCode === undefined ? {} : { exitCode: lastExit.exitCode }),
    ...(lastExit?.signal === undefined ? {} : { signal: lastExit.signal }),
    ...(why === undefined ? {} : { cause: why }),
  };
}
