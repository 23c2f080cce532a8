// `berth run`: a task is accepted, its output followed, and its exit code becomes ours. The task itself is the server's: it goes on without us.
import { constants } from "node:os";
import type { Task } from "@berth/contract/resources/tasks.ts";
import type { Context } from "../context.ts";
import { Failure, UsageError, exitCodes } from "../failure.ts";
import { causeLines } from "../view/cause.ts";
import { logText } from "../view/logs.ts";
import { hints } from "./hints.ts";

export async function runTask(
  ctx: Context,
  words: readonly string[],
  options: { readonly shell: boolean; readonly deadline: number | undefined },
): Promise<number> {
  const api = await ctx.api();
  const params = await ctx.inComponent();
  const task =
    words.length === 0
      ? await runNow(ctx, params)
      : await api.createTask(
          {
            params,
            body: {
              command: options.shell ? { shell: words.join(" ") } : { exec: [...words] },
              ...(options.deadline === undefined ? {} : { deadline: options.deadline }),
            },
          },
          { signal: ctx.signal },
        );
  const { stack, number } = task;
  if (!ctx.settings.wait) {
    if (ctx.out.json) ctx.out.object(task);
    else ctx.out.line(`task #${number} of ${task.component} was accepted`);
    return exitCodes.done;
  }
  ctx.watch = `Watch it with \`berth tasks logs ${number} -f -s ${stack}\`, end it with \`berth tasks cancel ${number} -s ${stack}\`.`;
  ctx.out.note(`task #${number} of ${task.component}`);
  for await (const { data } of api.readTaskLogs({ params: { stack, task: number }, query: { follow: true } }, { signal: ctx.signal })) {
    if (ctx.out.json) await ctx.out.write(`${JSON.stringify(data)}\n`);
    else if (data.stream === "stderr") await ctx.out.writeErr(`${logText(data, ctx.out)}\n`);
    else await ctx.out.write(`${logText(data, ctx.out)}\n`);
  }
  return exitOf(ctx, await endOf(ctx, stack, number));
}

async function runNow(ctx: Context, params: { readonly stack: string; readonly component: string }): Promise<Task> {
  const api = await ctx.api();
  const component = await api.showComponent({ params }, { signal: ctx.signal });
  if (component.kind !== "cron") throw new UsageError("Which command?", `For example \`berth run -c ${params.component} -- env\`.`);
  return api.runSchedule({ params }, { signal: ctx.signal });
}

/** The output may end a moment before the task is known to have ended. */
async function endOf(ctx: Context, stack: string, number: number): Promise<Task> {
  const api = await ctx.api();
  const look = (): Promise<Task> => api.showTask({ params: { stack, task: number } }, { signal: ctx.signal });
  let task = await look();
  if (task.endedAt !== undefined) return task;
  const { next, stop } = hints(ctx, api, `task:${stack}/${number}`);
  try {
    while (task.endedAt === undefined) {
      await next();
      task = await look();
    }
    return task;
  } finally {
    await stop();
  }
}

/** How programs end by themselves: their output has said why, and the exit code says the rest. */
const ownEndings = new Set(["exited_at_start", "exited_zero", "killed_by_signal", "crash_loop"]);

function exitOf(ctx: Context, task: Task): number {
  if (task.phase === "succeeded") return exitCodes.done;
  const code = exitCode(task.exitCode, task.signal);
  if (code !== undefined && (task.cause === undefined || ownEndings.has(task.cause.code))) {
    ctx.out.note(`task #${task.number} ended with ${task.signal ?? `exit code ${code}`}`);
    return code;
  }
  throw new Failure(code ?? exitCodes.failed, `Task #${task.number} ${task.phase}.`, {
    lines: task.cause === undefined ? [] : causeLines(task.cause, ctx.out.errPaint),
  });
}

/** As a shell says it: 128 and the number of the signal for what a signal ended. */
export function exitCode(code: number | undefined, signal: string | undefined): number | undefined {
  if (code !== undefined) return code;
  if (signal === undefined) return undefined;
  const number = Object.entries(constants.signals).find(([name]) => name === signal)?.[1];
  return 128 + (number ?? 0);
}
