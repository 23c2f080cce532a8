// Tasks of the engine in memory: what became of one is worked out from its command and the time that has passed.
import { cause } from "@berth/contract/causes.ts";
import type { TaskRun, TaskState } from "./engine.ts";

export interface FakeTask {
  readonly run: TaskRun;
  readonly startedAt: number;
  cancelledAt?: number;
}

const iso = (at: number): string => new Date(at).toISOString();

export function taskState({ run, startedAt, cancelledAt }: FakeTask, now: number): TaskState {
  const { lasts, exitCode } = programOf(run);
  const endedAt = Math.min(startedAt + lasts, startedAt + run.deadline, cancelledAt ?? Number.POSITIVE_INFINITY);
  const base = { id: run.id, startedAt: iso(startedAt) };
  if (now < endedAt) return { ...base, phase: "running" };
  if (cancelledAt === endedAt) return { ...base, phase: "failed", signal: "SIGTERM", endedAt: iso(endedAt) };
  if (lasts > run.deadline)
    return {
      ...base,
      phase: "failed",
      signal: "SIGTERM",
      endedAt: iso(endedAt),
      cause: cause("task_deadline", { waited: `${run.deadline} ms` }),
    };
  return {
    ...base,
    phase: exitCode === 0 ? "succeeded" : "failed",
    exitCode,
    endedAt: iso(endedAt),
    ...(exitCode === 0 ? {} : { cause: cause("exited_at_start", { exitCode, after: "0 ms" }) }),
  };
}

/** What a task's command does, of the little that the fake knows: `sleep`, `echo` and `exit`, one after another. ms. */
export function programOf({ command }: TaskRun): {
  readonly lasts: number;
  readonly exitCode: number;
  readonly lines: readonly { readonly after: number; readonly text: string }[];
} {
  const steps = ("shell" in command ? command.shell : command.exec.join(" ")).split("; ");
  const lines: { readonly after: number; readonly text: string }[] = [];
  let lasts = 0;
  let exitCode = 0;
  for (const step of steps) {
    lasts += Number(/^sleep ([\d.]+)$/.exec(step)?.[1] ?? 0) * 1000;
    exitCode = Number(/^exit (\d+)$/.exec(step)?.[1] ?? exitCode);
    const [, text] = /^echo (.*)$/.exec(step) ?? [];
    if (text !== undefined) lines.push({ after: lasts, text });
  }
  return { lasts, exitCode, lines };
}
