// Cron components: at each scheduled instant one task row, unique by that instant, so that a crash or a second server never runs it twice.
import { dueRun, nextRun } from "../core/schedule.ts";
import type { Db } from "../db/pool.ts";
import { transaction } from "../db/transaction.ts";
import { findComponentById } from "../resources/components/store.ts";
import { stackEvent } from "../resources/intent.ts";
import { findRelease, type ReleaseRow } from "../resources/releases/store.ts";
import { findStackById, nextNumber } from "../resources/stacks/store.ts";
import * as tasks from "../resources/tasks/store.ts";
import { enqueue } from "./queue.ts";

const defaultDeadline = 3_600_000;

/** Answers when the component is due again; undefined when it has no schedule any more. */
export async function reconcileCron(db: Db, clock: () => Date, componentId: string): Promise<{ readonly again?: Date }> {
  return transaction(db, async (trx) => {
    const component = await findComponentById(trx, componentId, { lock: true });
    const release = component?.stable_release_id == null ? undefined : await findRelease(trx, component.stable_release_id);
    const schedule = release?.spec.schedule;
    if (component === undefined || release === undefined || schedule === undefined || component.stopped || component.delete_requested_at !== null) return {};
    const now = clock();
    if (component.next_run_at !== null && component.next_run_at <= now) await runDue(trx, component.id, release, component.next_run_at, now);
    const next = nextRun(schedule, now);
    await trx.updateTable("components").set({ next_run_at: next ?? null }).where("id", "=", component.id).execute();
    return next === undefined ? {} : { again: next };
  });
}

async function runDue(trx: Db, componentId: string, release: ReleaseRow, due: Date, now: Date): Promise<void> {
  const component = await findComponentById(trx, componentId);
  const stack = component === undefined ? undefined : await findStackById(trx, component.stack_id);
  const schedule = release.spec.schedule;
  if (component === undefined || stack === undefined || schedule === undefined) return;
  const open = await tasks.openTasks(trx, component.id);
  const decision = dueRun(schedule, due, now, open.map((task) => task.id));
  const scope = { name: stack.name, teamId: stack.team_id };
  if (decision.do === "replace") {
    for (const id of decision.running) {
      await tasks.updateTask(trx, id, { cancelRequestedBy: "the next run" });
      await enqueue(trx, { kind: "task", key: id, cluster: stack.cluster });
    }
  }
  const missed = decision.do === "miss" || decision.do === "skip";
  const number = await nextNumber(trx, stack.id, "last_task");
  const id = await tasks.insertTask(trx, { stackId: stack.id, componentId: component.id, clusterId: stack.cluster_id, number, releaseId: release.id, command: release.runtime.command, trigger: "schedule", scheduledFor: due, deadline: schedule.deadline ?? defaultDeadline, by: "schedule", ...(missed ? { phase: "missed" as const, endedAt: now } : {}) });
  if (id === undefined) return;
  if (missed) {
    await stackEvent(trx, scope, { code: "cron_missed", component: component.name, params: { scheduledFor: due.toISOString(), because: decision.do === "skip" ? "the run before still goes on" : "it could not start in time" } });
    return;
  }
  await stackEvent(trx, scope, { code: "task_created", component: component.name, params: { task: number }, topics: [`task:${stack.name}/${number}`] });
  await enqueue(trx, { kind: "task", key: id, cluster: stack.cluster });
}
