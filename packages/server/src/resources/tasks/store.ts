// SQL of tasks: one-off runs, and the runs of cron components, which are unique by their scheduled instant.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { Cause } from "@berth/contract/causes.ts";
import type { Task } from "@berth/contract/resources/tasks.ts";
import type { Command } from "@berth/contract/spec.ts";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, instantOrLast, number, text, uuid, type Keyed, type Slice } from "../page.ts";

export interface TaskRow {
  readonly id: string;
  readonly stack_id: string;
  readonly component_id: string;
  readonly cluster_id: string;
  readonly number: number;
  readonly release_id: string | null;
  readonly phase: Task["phase"];
  readonly command: Command;
  readonly trigger: Task["trigger"];
  readonly scheduled_for: Date | null;
  readonly deadline: number;
  readonly exit_code: number | null;
  readonly signal: string | null;
  readonly cause: Cause | null;
  readonly cancel_requested_by: string | null;
  readonly created_by: string;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
}
export interface TaskListRow extends TaskRow {
  readonly component: string;
  readonly release_number: number | null;
}

export async function findTaskById(trx: Db, id: string): Promise<TaskRow | undefined> {
  return trx.selectFrom("tasks").selectAll().where("id", "=", id).executeTakeFirst();
}

export interface NewTask {
  readonly stackId: string;
  readonly componentId: string;
  readonly clusterId: string;
  readonly number: number;
  readonly releaseId: string;
  readonly command: Command;
  readonly trigger: Task["trigger"];
  readonly scheduledFor?: Date;
  readonly deadline: number;
  readonly by: string;
  readonly phase?: "queued" | "missed";
  readonly endedAt?: Date;
}
/** ms that the column can hold, 24 days. */
const mostDeadline = 2_147_483_647;
/** undefined when a run of that component for that instant is there already (promise 2: at most once). */
export async function insertTask(trx: Db, task: NewTask): Promise<string | undefined> {
  const row = await trx
    .insertInto("tasks")
    .values({
      stack_id: task.stackId,
      component_id: task.componentId,
      cluster_id: task.clusterId,
      number: task.number,
      release_id: task.releaseId,
      command: JSON.stringify(task.command),
      trigger: task.trigger,
      scheduled_for: task.scheduledFor ?? null,
      deadline: Math.min(task.deadline, mostDeadline),
      created_by: task.by,
      phase: task.phase ?? "queued",
      ended_at: task.endedAt ?? null,
      exit_code: null,
      signal: null,
      cancel_requested_by: null,
    })
    .onConflict((conflict) => conflict.columns(["component_id", "scheduled_for"]).doNothing())
    .returning("id")
    .executeTakeFirst();
  return row?.id;
}

export interface TaskChange {
  readonly phase?: Task["phase"];
  readonly exitCode?: number;
  readonly signal?: string;
  readonly cause?: Cause;
  readonly startedAt?: Date;
  readonly endedAt?: Date;
  readonly cancelRequestedBy?: string;
}
/** Changes a task that has not ended; false when it had. */
export async function updateTask(trx: Db, id: string, change: TaskChange): Promise<boolean> {
  const result = await trx
    .updateTable("tasks")
    .set({
      ...(change.phase === undefined ? {} : { phase: change.phase }),
      ...(change.exitCode === undefined ? {} : { exit_code: change.exitCode }),
      ...(change.signal === undefined ? {} : { signal: change.signal }),
      ...(change.cause === undefined ? {} : { cause: JSON.stringify(change.cause) }),
      ...(change.startedAt === undefined ? {} : { started_at: change.startedAt }),
      ...(change.endedAt === undefined ? {} : { ended_at: change.endedAt }),
      ...(change.cancelRequestedBy === undefined ? {} : { cancel_requested_by: change.cancelRequestedBy }),
    })
    .where("id", "=", id)
    .where("phase", "in", ["queued", "running"])
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

export async function openTasks(trx: Db, componentId: string): Promise<TaskRow[]> {
  return trx
    .selectFrom("tasks")
    .selectAll()
    .where("component_id", "=", componentId)
    .where("phase", "in", ["queued", "running"])
    .orderBy("number")
    .execute();
}

export const taskList = defineList(lists.tasks, {
  sort: {
    number: number("t.number"),
    component: text("c.name"),
    phase: text("t.phase"),
    createdAt: instant("t.created_at"),
    endedAt: instantOrLast("t.ended_at"),
  },
  unique: [uuid("t.id")],
  search: {
    component: sql.ref("c.name"),
    createdBy: sql.ref("t.created_by"),
    command: sql`coalesce(t.command ->> 'shell', (select string_agg(word, ' ') from jsonb_array_elements_text(t.command -> 'exec') word))`,
  },
});
export interface TaskListQuery {
  readonly stackId: string;
  readonly number?: number;
  readonly component?: string | undefined;
  readonly phase?: Task["phase"] | undefined;
  readonly trigger?: Task["trigger"] | undefined;
  readonly page: Slice;
}
export async function listTasks(trx: Db, query: TaskListQuery): Promise<(TaskListRow & Keyed)[]> {
  return trx
    .selectFrom("tasks as t")
    .innerJoin("components as c", "c.id", "t.component_id")
    .leftJoin("releases as r", "r.id", "t.release_id")
    .selectAll("t")
    .select(["c.name as component", "r.number as release_number", query.page.keys.as("cursor_keys")])
    .where("t.stack_id", "=", query.stackId)
    .$if(query.number !== undefined, (q) => q.where("t.number", "=", query.number ?? 0))
    .$if(query.component !== undefined, (q) => q.where("c.name", "=", query.component ?? ""))
    .$if(query.phase !== undefined, (q) => q.where("t.phase", "=", query.phase ?? "failed"))
    .$if(query.trigger !== undefined, (q) => q.where("t.trigger", "=", query.trigger ?? "user"))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}

/** Keeps the newest ended runs of each cron component. */
export async function deleteOldTasks(trx: Db, keep: number): Promise<void> {
  await sql`delete from tasks where id in (select id from (select id, row_number() over (partition by component_id order by number desc) as age from tasks where ended_at is not null) aged where age > ${keep})`.execute(
    trx,
  );
}
