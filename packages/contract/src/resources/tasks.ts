// Tasks: one-off runs of a command in a component's artifact and config; a cron component's runs are tasks too.
import { Type, type Static } from "typebox";
import { Cause } from "../causes.ts";
import { lists } from "../lists.ts";
import { Instant, Name } from "../names.ts";
import { Allowed, ListQuery, Page, type Route } from "../route.ts";
import { Command, mostMilliseconds } from "../spec.ts";
import { InComponent, InStack, Number_ } from "./common.ts";
import { LogLine, LogQuery } from "./components.ts";

export const TaskPhase = Type.Union([
  Type.Literal("queued"),
  Type.Literal("running"),
  Type.Literal("succeeded"),
  Type.Literal("failed"),
  Type.Literal("cancelled"),
  Type.Literal("missed"),
]);
const TaskTrigger = Type.Union([Type.Literal("user"), Type.Literal("schedule"), Type.Literal("release"), Type.Literal("postdeploy")]);
export const Task = Type.Object(
  {
    stack: Name,
    component: Name,
    number: Number_,
    phase: TaskPhase,
    command: Command,
    trigger: TaskTrigger,
    scheduledFor: Type.Optional(Instant),
    release: Type.Optional(Type.Integer()),
    exitCode: Type.Optional(Type.Integer()),
    signal: Type.Optional(Type.String()),
    cause: Type.Optional(Cause),
    createdAt: Instant,
    startedAt: Type.Optional(Instant),
    endedAt: Type.Optional(Instant),
    createdBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Task" },
);
export type Task = Static<typeof Task>;
const One = Type.Object({ stack: Name, task: Number_ }, { additionalProperties: false });
const read = { permission: "stacks.read", at: "stack" } as const;

export const taskRoutes = {
  createTask: {
    method: "POST",
    path: "/stacks/:stack/components/:component/tasks",
    summary: "Run a command once in a component's current release",
    kind: "json",
    access: { permission: "terminal.open", at: "stack" },
    verbs: ["Component.runTask"],
    idempotent: true,
    params: InComponent,
    status: 202,
    body: Type.Object(
      {
        command: Command,
        deadline: Type.Optional(Type.Integer({ minimum: 1000, maximum: mostMilliseconds, description: "milliseconds" })),
      },
      { additionalProperties: false },
    ),
    response: Task,
  },
  runSchedule: {
    method: "POST",
    path: "/stacks/:stack/components/:component/run",
    summary: "Run a cron component now",
    kind: "json",
    access: { permission: "runtime.operate", at: "stack" },
    verbs: ["Component.runSchedule"],
    idempotent: true,
    params: InComponent,
    response: Task,
    status: 202,
  },
  listTasks: {
    method: "GET",
    path: "/stacks/:stack/tasks",
    summary: "List tasks, newest first",
    kind: "json",
    access: read,
    params: InStack,
    list: lists.tasks,
    query: ListQuery(lists.tasks, { component: Type.Optional(Name), phase: Type.Optional(TaskPhase), trigger: Type.Optional(TaskTrigger) }),
    response: Page(Task),
  },
  showTask: {
    method: "GET",
    path: "/stacks/:stack/tasks/:task",
    summary: "Show a task",
    kind: "json",
    access: read,
    params: One,
    response: Task,
  },
  cancelTask: {
    method: "POST",
    path: "/stacks/:stack/tasks/:task/cancel",
    summary: "Cancel a task",
    kind: "json",
    access: { permission: "runtime.operate", at: "stack" },
    verbs: ["Task.cancel"],
    params: One,
    response: Task,
    status: 202,
  },
  readTaskLogs: {
    method: "GET",
    path: "/stacks/:stack/tasks/:task/logs",
    summary: "Read or follow a task's output",
    kind: "events",
    access: read,
    params: One,
    query: LogQuery,
    response: LogLine,
  },
} as const satisfies Record<string, Route>;
