// Cron components: at each scheduled instant one task row, unique by that instant, so that a crash or a second server never runs it twice.
import type { Schedule } from "@berth/contract/spec.ts";
import { dueInstants, dueRun, nextRun } from "../core/schedule.ts";
import type { Db } from "../db/pool.ts";
import { findComponentById, type ComponentRow } from "../resources/components/store.ts";
import { stackEvent } from "../resources/intent.ts";
import { findRelease, type ReleaseRow } from "../resources/releases/store.ts";
import { findStackById, nextNumber, type StackRow } from "../resources/stacks/store.ts";
import * as tasks from "../resources/tasks/store.ts";
import { enqueue, type Commit } from "./queue.ts";

const defaultDeadline = 3_600_000;

/** Answers when the component is due again; undefined when it has no schedule any more. */
export async function reconcileCron(clock: () => Date, componentId: string, commit: Commit): Promise<{ readonly again?: Date }> {
  return commit(async (trx) => {
    const component = await findComponentById(trx, componentId, { lock: true });
    const release = component?.stable_release_id == null ? undefined : await findRelease(trx, component.stable_release_id);
    const schedule = release?.spec.schedule;
    if (
      component === undefined ||
      release === undefined ||
      schedule === undefined ||
      component.stopped ||
      component.delete_requested_at !== null
    ) {
      // What comes due while it is stopped is not missed: nobody wanted it to run.
      if (component !== undefined && component.next_run_at !== null) await setNextRun(trx, componentId, undefined);
      return {};
    }
    const now = clock();
    if (component.next_run_at !== null && component.next_run_at <= now)
      await runDue(trx, component, release, schedule, component.next_run_at, now);
    const next = nextRun(schedule, now);
    await setNextRun(trx, componentId, next);
    return next === undefined ? {} : { again: next };
  });
}

async function setNextRun(trx: Db, componentId: string, next: Date | undefined): Promise<void> {
  await trx
    .updateTable("components")
    .set({ next_run_at: next ?? null })
    .where("id", "=", componentId)
    .execute();
}

interface Scene {
  readonly component: ComponentRow;
  readonly stack: StackRow;
  readonly release: ReleaseRow;
  readonly schedule: Schedule;
  readonly now: Date;
}

async function runDue(trx: Db, component: ComponentRow, release: ReleaseRow, schedule: Schedule, due: Date, now: Date): Promise<void> {
  const stack = await findStackById(trx, component.stack_id);
  if (stack === undefined) return;
  const scene: Scene = { component, stack, release, schedule, now };
  const { missed, last } = dueInstants(schedule, due, now);
  for (const instant of missed) await miss(trx, scene, instant, "it could not start in time");
  const open = await tasks.openTasks(trx, component.id);
  const decision = dueRun(
    schedule,
    last,
    now,
    open.map((task) => task.id),
  );
  switch (decision.do) {
    case "miss":
      return miss(trx, scene, last, "it could not start in time");
    case "skip":
      return miss(trx, scene, last, "the run before still goes on");
    case "replace":
      for (const id of decision.running) {
        await tasks.updateTask(trx, id, { cancelRequestedBy: "the next run" });
        await enqueue(trx, { kind: "task", key: id, cluster: stack.cluster });
      }
      return run(trx, scene, last);
    case "run":
      return run(trx, scene, last);
    default:
      return decision satisfies never;
  }
}

async function run(trx: Db, scene: Scene, instant: Date): Promise<void> {
  const task = await insertRun(trx, scene, instant, {});
  if (task === undefined) return;
  const { stack, component } = scene;
  await stackEvent(trx, scopeOf(stack), {
    code: "task_created",
    component: component.name,
    params: { task: task.number },
    topics: [`task:${stack.name}/${task.number}`],
  });
  await enqueue(trx, { kind: "task", key: task.id, cluster: stack.cluster });
}

async function miss(trx: Db, scene: Scene, instant: Date, because: string): Promise<void> {
  if ((await insertRun(trx, scene, instant, { phase: "missed", endedAt: scene.now })) === undefined) return;
  await stackEvent(trx, scopeOf(scene.stack), {
    code: "cron_missed",
    component: scene.component.name,
    params: { scheduledFor: instant.toISOString(), because },
  });
}

/** undefined when there is a row for that instant already. */
async function insertRun(
  trx: Db,
  { component, stack, release, schedule }: Scene,
  instant: Date,
  as: { readonly phase?: "missed"; readonly endedAt?: Date },
): Promise<{ readonly id: string; readonly number: number } | undefined> {
  const number = await nextNumber(trx, stack.id, "last_task");
  const id = await tasks.insertTask(trx, {
    stackId: stack.id,
    componentId: component.id,
    clusterId: stack.cluster_id,
    number,
    releaseId: release.id,
    command: release.runtime.command,
    trigger: "schedule",
    scheduledFor: instant,
    deadline: schedule.deadline ?? defaultDeadline,
    by: "schedule",
    ...as,
  });
  return id === undefined ? undefined : { id, number };
}

function scopeOf(stack: StackRow): { readonly name: string; readonly teamId: string } {
  return { name: stack.name, teamId: stack.team_id };
}
