// Tasks: accepting a one-off run, showing, cancelling, and their output.
import { setTimeout as delay } from "node:timers/promises";
import type { Task } from "@berth/contract/resources/tasks.ts";
import type { LogLine } from "@berth/contract/resources/components.ts";
import type { Command } from "@berth/contract/spec.ts";
import { taskVerbs } from "../../core/allowed.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";
import type { Engine, LogLine as EngineLine, LogOptions } from "../../engines/engine.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { sent, type Sent } from "../../core/sent.ts";
import type { Call } from "../call.ts";
import type { ComponentService } from "../components/service.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, keepAnswer, stackEvent } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import { findRelease } from "../releases/store.ts";
import type { MayHere, StackHandle, StackService } from "../stacks/service.ts";
import { nextNumber } from "../stacks/store.ts";
import * as store from "./store.ts";

/** ms a task may run unless told otherwise. */
const defaultDeadline = 3_600_000;
/** ms between looks at a task that a follower waits for. */
const beginLook = 100;
export interface LogQuery {
  readonly instance?: string;
  readonly tail?: number;
  readonly since?: string;
  readonly follow?: boolean;
}
export type TaskService = ReturnType<typeof createTaskService>;

export function createTaskService(deps: ResourceDeps, stacks: StackService, components: ComponentService) {
  async function find(stack: StackHandle, number: number, trx: Db = deps.db): Promise<store.TaskListRow> {
    const [row] = await store.listTasks(trx, { stackId: stack.id, number, page: slice(store.taskList, { limit: 1 }) });
    if (row === undefined) throw new BerthError("not_found", { kind: "task", name: number, hint: "`berth tasks list` shows them." });
    return row;
  }

  async function show(call: Call, stackName: string, number: number): Promise<Task> {
    const stack = await stacks.find(call, stackName);
    return present(stack.name, await find(stack, number), await stacks.permissionsIn(call, stack));
  }

  /** Runs in the release that serves, never in one that is still on its way. */
  async function accept(
    call: Call,
    stackName: string,
    name: string,
    permission: string,
    choose: (kind: string, command: Command) => { command: Command; deadline: number },
  ): Promise<Task> {
    return transaction(deps.db, async (trx) => {
      // Under the component's lock: its removal cancels what was accepted before it, and nothing is accepted after.
      const { stack, component } = await components.find(call, stackName, name, permission, { trx, lock: true });
      const release = component.stable_release_id === null ? undefined : await findRelease(trx, component.stable_release_id);
      if (release === undefined)
        throw new BerthError("wrong_state", {
          verb: "Running",
          reason: "nothing was released yet",
          hint: "`berth up` or `berth deploy` releases it.",
        });
      const { command, deadline } = choose(component.kind, release.runtime.command);
      const next = await nextNumber(trx, stack.id, "last_task");
      const id = await store.insertTask(trx, {
        stackId: stack.id,
        componentId: component.id,
        clusterId: stack.clusterId,
        number: next,
        releaseId: release.id,
        command,
        trigger: "user",
        deadline: release.spec.schedule?.deadline ?? deadline,
        by: call.by,
      });
      if (id === undefined) throw new BerthError("internal");
      await stackEvent(trx, stack, {
        code: "task_created",
        component: name,
        params: { task: next },
        topics: [`task:${stackName}/${next}`],
      });
      await audit(trx, call, "tasks.create", `component:${stackName}/${name}`, { task: next });
      await enqueue(trx, { kind: "task", key: id, cluster: stack.cluster });
      return keepAnswer(trx, call, present(stack.name, await find(stack, next, trx), await stacks.permissionsIn(call, stack)));
    });
  }

  return {
    show,

    async create(call: Call, stackName: string, name: string, wanted: { command: Command; deadline?: number }): Promise<Task> {
      return accept(call, stackName, name, "terminal.open", () => ({
        command: wanted.command,
        deadline: wanted.deadline ?? defaultDeadline,
      }));
    },

    async runSchedule(call: Call, stackName: string, name: string): Promise<Task> {
      return accept(call, stackName, name, "runtime.operate", (kind, command) => {
        if (kind !== "cron")
          throw new BerthError("wrong_state", {
            verb: "Running",
            reason: "it is no cron component",
            hint: "`berth run` runs a command in any component.",
          });
        return { command, deadline: defaultDeadline };
      });
    },

    async list(
      call: Call,
      stackName: string,
      query: ListRequest & Pick<store.TaskListQuery, "component" | "phase" | "trigger">,
    ): Promise<Page<Task>> {
      const stack = await stacks.find(call, stackName);
      const page = slice(store.taskList, query);
      const rows = await store.listTasks(deps.db, {
        stackId: stack.id,
        page,
        component: query.component,
        phase: query.phase,
        trigger: query.trigger,
      });
      const may = await stacks.permissionsIn(call, stack);
      return toPage(rows, page, (row) => present(stack.name, row, may));
    },

    async cancel(call: Call, stackName: string, number: number): Promise<Task> {
      await transaction(deps.db, async (trx) => {
        const stack = await stacks.find(call, stackName, "runtime.operate", { trx, whileDeleting: true });
        const row = await find(stack, number);
        if (!(await store.updateTask(trx, row.id, { cancelRequestedBy: call.by })))
          throw new BerthError("wrong_state", {
            verb: "Cancelling",
            reason: `the task ${row.phase} already`,
            hint: "`berth tasks show` has its outcome.",
          });
        await audit(trx, call, "tasks.cancel", `task:${stackName}/${number}`);
        await enqueue(trx, { kind: "task", key: row.id, cluster: stack.cluster });
      });
      return show(call, stackName, number);
    },

    async logs(call: Call, stackName: string, number: number, query: LogQuery): Promise<AsyncIterable<Sent<LogLine>>> {
      const stack = await stacks.find(call, stackName);
      const row = await find(stack, number);
      const { follow, ...rest } = query;
      const options = { ...rest, follow: follow ?? false, ...(call.lastEventId === undefined ? {} : { after: call.lastEventId }) };
      const engine = deps.places.engine(stack.cluster);
      return sent(lines(row.id, engine, options, call.signal), (line) => ({ id: line.cursor, data: line }));
    },
  };

  async function* lines(id: string, engine: Engine, options: LogOptions, signal: AbortSignal): AsyncGenerator<EngineLine> {
    if (options.follow) await untilBegun(id, engine, signal);
    yield* engine.taskLogs(id, options, signal);
  }

  /** A follower that comes before the task has begun waits for its first line, as long as one may come. */
  async function untilBegun(id: string, engine: Engine, signal: AbortSignal): Promise<void> {
    while ((await engine.task(id, signal)) === undefined) {
      const row = await store.findTaskById(deps.db, id);
      if (row === undefined || row.ended_at !== null) return;
      await delay(beginLook, undefined, { signal });
    }
  }
}

function present(stack: string, row: store.TaskListRow, may: MayHere): Task {
  return {
    stack,
    component: row.component,
    number: row.number,
    phase: row.phase,
    command: row.command,
    trigger: row.trigger,
    ...(row.scheduled_for === null ? {} : { scheduledFor: row.scheduled_for.toISOString() }),
    ...(row.release_number === null ? {} : { release: row.release_number }),
    ...(row.exit_code === null ? {} : { exitCode: row.exit_code }),
    ...(row.signal === null ? {} : { signal: row.signal }),
    ...(row.cause === null ? {} : { cause: row.cause }),
    createdAt: row.created_at.toISOString(),
    ...(row.started_at === null ? {} : { startedAt: row.started_at.toISOString() }),
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
    createdBy: row.created_by,
    allowed: taskVerbs(may, { phase: row.phase }),
  };
}
