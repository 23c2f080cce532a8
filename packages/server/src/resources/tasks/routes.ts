// HTTP face of tasks.
import type { taskRoutes } from "@berth/contract/resources/tasks.ts";
import type { HandlersOf } from "../call.ts";
import type { TaskService } from "./service.ts";

export function taskHandlers(tasks: TaskService): HandlersOf<typeof taskRoutes> {
  return {
    createTask: ({ params, body }, call) => tasks.create(call, params.stack, params.component, body),
    runSchedule: ({ params }, call) => tasks.runSchedule(call, params.stack, params.component),
    listTasks: ({ params, query }, call) => tasks.list(call, params.stack, query),
    showTask: ({ params }, call) => tasks.show(call, params.stack, params.task),
    cancelTask: ({ params }, call) => tasks.cancel(call, params.stack, params.task),
    readTaskLogs: ({ params, query }, call) => tasks.logs(call, params.stack, params.task, query),
  };
}
