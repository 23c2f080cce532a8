// Tasks: started at most once by the engine under the row's id, then watched until they end. A process that died in between asks the engine what became of them.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { refOf, EngineFailure, StillPreparing, type TaskState } from "../engines/engine.ts";
import { stackEvent, wakeComponent } from "../resources/intent.ts";
import { findRelease } from "../resources/releases/store.ts";
import { releasing } from "../resources/rollouts/store.ts";
import * as store from "../resources/tasks/store.ts";
import type { ComponentLoopDeps } from "./component/deps.ts";
import { loadComponent, type Loaded } from "./component/load.ts";
import { secretCause, workloadOf } from "./component/workload.ts";
import type { Turn } from "./component.ts";
import type { Commit } from "./queue.ts";

/** ms between looks at a running task. */
const look = 200;
const turn = 5_000;

export async function reconcileTask(
  deps: ComponentLoopDeps,
  taskId: string,
  { fence, signal, commit }: Turn,
): Promise<{ readonly again?: Date }> {
  const task = await store.findTaskById(deps.db, taskId);
  if (task === undefined || task.ended_at !== null) return {};
  const loaded = await loadComponent(deps.db, task.component_id);
  if (loaded === undefined) return {};
  const engine = deps.places.engine(loaded.stack.cluster);
  const { id, epoch } = deps.installation();
  if ((await engine.task(task.id, signal)) === undefined) {
    if (task.cancel_requested_by !== null) return end(deps, loaded, task, commit, { phase: "cancelled" });
    // Once running, an engine that does not know it has lost it: it is never started a second time (promise 2).
    if (task.phase === "running")
      return end(deps, loaded, task, commit, { phase: "failed", cause: cause("internal", { reason: "the engine lost the task" }) });
    const release = task.release_id === null ? undefined : await findRelease(deps.db, task.release_id);
    if (release === undefined)
      return end(deps, loaded, task, commit, { phase: "failed", cause: cause("artifact_missing", { digest: "of its release" }) });
    const installation = { installation: id, epoch, generation: fence };
    try {
      const workload = await workloadOf(deps.db, deps.secretBox, loaded, release);
      await engine.prepare(workload, installation, signal);
      await engine.startTask({ id: task.id, workload, command: task.command, deadline: task.deadline, tty: false }, installation, signal);
    } catch (error) {
      if (error instanceof StillPreparing) return { again: new Date(deps.clock().getTime() + 1_000) };
      const hopeless = hopelessCause(error);
      if (hopeless === undefined) throw error;
      return end(deps, loaded, task, commit, { phase: "failed", cause: hopeless });
    }
    await commit(async (trx) => {
      await store.updateTask(trx, task.id, { phase: "running", startedAt: deps.clock() });
      await stackEvent(
        trx,
        { name: loaded.stack.name, teamId: loaded.stack.team_id },
        {
          code: "task_started",
          component: loaded.component.name,
          params: { task: task.number },
          topics: [`task:${loaded.stack.name}/${task.number}`],
        },
      );
    });
  } else if (task.phase === "queued") {
    await commit((trx) => store.updateTask(trx, task.id, { phase: "running", startedAt: deps.clock() }));
  }
  const until = deps.clock().getTime() + turn;
  for (;;) {
    const state = await engine.task(task.id, signal);
    if (state !== undefined && state.phase !== "running") return finish(deps, loaded, task, commit, state);
    const now = await store.findTaskById(deps.db, task.id);
    if (now === undefined) return {};
    if (now.cancel_requested_by !== null) await engine.cancelTask(task.id, loaded.component.spec.gracePeriod, signal);
    if (deps.clock().getTime() >= until) return { again: new Date(deps.clock().getTime() + look) };
    await deps.overhear({ cluster: loaded.stack.cluster, ...refOf(loaded.stack, loaded.component.name) }, look, signal);
    signal.throwIfAborted();
  }
}

/** What trying again does not mend; a rollout may be waiting for this task. */
function hopelessCause(error: unknown): Cause | undefined {
  if (error instanceof EngineFailure && !error.retryable) return error.failure;
  return secretCause(error);
}

async function finish(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  task: store.TaskRow,
  commit: Commit,
  state: TaskState,
): Promise<Record<string, never>> {
  const now = await store.findTaskById(deps.db, task.id);
  const cancelled = now?.cancel_requested_by != null && state.phase === "failed";
  return end(deps, loaded, task, commit, {
    phase: cancelled ? "cancelled" : state.phase === "succeeded" ? "succeeded" : "failed",
    ...(state.exitCode === undefined ? {} : { exitCode: state.exitCode }),
    ...(state.signal === undefined ? {} : { signal: state.signal }),
    ...(state.cause === undefined ? {} : { cause: state.cause }),
  });
}

async function end(
  deps: ComponentLoopDeps,
  loaded: Loaded,
  task: store.TaskRow,
  commit: Commit,
  change: store.TaskChange & { phase: "succeeded" | "failed" | "cancelled" },
): Promise<Record<string, never>> {
  await commit(async (trx) => {
    if (!(await store.updateTask(trx, task.id, { ...change, endedAt: deps.clock() }))) return;
    await stackEvent(
      trx,
      { name: loaded.stack.name, teamId: loaded.stack.team_id },
      {
        code: "task_ended",
        component: loaded.component.name,
        params: { task: task.number, phase: change.phase, exitCode: change.exitCode ?? -1 },
        topics: [`task:${loaded.stack.name}/${task.number}`],
        ...(change.cause === undefined ? {} : { cause: change.cause }),
      },
    );
    if (task.trigger === "release")
      for (const waiting of await releasing(trx, task.stack_id)) await wakeComponent(trx, waiting.component_id, waiting.cluster);
  });
  return {};
}
