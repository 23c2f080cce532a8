// What every engine answers alike: tasks, logs, sessions, and what it would apply.
import { expect, it } from "vitest";
import type { TaskRun } from "../engine.ts";
import { never, until, type Lab } from "./lab.ts";

export function tasksAndQuestions(lab: Lab): void {
  it("runs a task at most once per id, and tells its outcome", async () => {
    const workload = await lab.place.workload("run", { ref: lab.newRef() });
    await lab.engine.prepare(workload, lab.fence(), never);
    const task = (id: string, shell: string, deadline = 240_000): TaskRun => ({
      id: `${id}-${workload.ref.component}`,
      workload,
      command: { shell },
      deadline,
      tty: false,
    });
    const ended = (run: TaskRun): Promise<object> =>
      until(async () => {
        const state = await lab.engine.task(run.id, never);
        return state?.phase !== "running" && state;
      }, `${run.id} ends`);
    const [good, bad, slow, endless] = [
      task("good", "exit 0"),
      task("bad", "exit 5"),
      task("slow", "sleep 60", 300),
      task("endless", "echo begun; sleep 240"),
    ];
    for (const run of [good, bad, slow, endless]) await lab.engine.startTask(run, lab.fence(lab.generation), never);
    await lab.engine.startTask(bad, lab.fence(lab.generation), never);
    expect(await ended(good)).toMatchObject({ phase: "succeeded", exitCode: 0 });
    const failed = await ended(bad);
    expect(failed).toMatchObject({ phase: "failed", exitCode: 5 });
    expect(await ended(slow)).toMatchObject({ phase: "failed", cause: { code: "task_deadline" } });
    expect(await lab.engine.task(endless.id, never)).toMatchObject({ phase: "running" });
    // Nothing can be asked of a program that has not begun.
    await until(async () => {
      for await (const { text } of lab.engine.taskLogs(endless.id, { follow: false }, never)) if (text === "begun") return true;
      return false;
    }, "endless begins");
    await lab.engine.cancelTask(endless.id, 10_000, never);
    expect(await ended(endless)).toMatchObject({ phase: "failed", signal: "SIGTERM" });
    await lab.engine.startTask(bad, lab.fence(lab.generation), never);
    expect(await ended(bad)).toMatchObject({ ...failed, phase: "failed" });
    // A task is no instance.
    expect(await lab.engine.observe(workload.ref, never)).toBeUndefined();
  });

  it("ends the lines of a task for who follows them, when the task ends", async () => {
    const workload = await lab.place.workload("run", { ref: lab.newRef() });
    await lab.engine.prepare(workload, lab.fence(), never);
    const id = `told-${workload.ref.component}`;
    const command = { shell: "echo one; sleep 1; echo two; exit 3" };
    await lab.engine.startTask({ id, workload, command, deadline: 240_000, tty: false }, lab.fence(lab.generation), never);
    const told: string[] = [];
    for await (const { text } of lab.engine.taskLogs(id, { follow: true }, AbortSignal.timeout(120_000))) told.push(text);
    expect(told).toEqual(["one", "two"]);
    expect(await lab.engine.task(id, never)).toMatchObject({ phase: "failed", exitCode: 3 });
  });

  it("gives back lines from a cursor on", async () => {
    const wanted = await lab.up("run", { replicas: 2 });
    const read = async (options: {
      tail?: number;
      after?: string;
      instance?: string;
    }): Promise<{ instance: string; text: string; cursor: string }[]> => {
      const lines = [];
      for await (const line of lab.engine.logs(wanted.ref, { follow: false, ...options }, never)) lines.push(line);
      return lines;
    };
    const lines = await until(async () => {
      const all = await read({});
      return all.length === 2 && all;
    }, "both said hello");
    expect(lines.map((line) => line.text)).toEqual(["hello", "hello"]);
    expect(await read({ after: lines[0]?.cursor ?? "" })).toEqual(lines.slice(1));
    expect(await read({ tail: 1 })).toEqual(lines.slice(1));
    expect(await read({ instance: lines[0]?.instance ?? "" })).toEqual(lines.slice(0, 1));
    await lab.down(wanted.ref);
  });

  it("refuses a terminal or a port of an instance that is not there", async () => {
    await expect(lab.engine.exec(lab.newRef(), "nobody-aaaaaa", { exec: ["true"] }, undefined, never)).rejects.toMatchObject({
      code: "not_found",
    });
    await expect(lab.engine.forward(lab.newRef(), "nobody-aaaaaa", 80, never)).rejects.toMatchObject({ code: "not_found" });
  });

  it("shows what it would apply without secrets", async () => {
    const workload = await lab.place.workload("run", {
      ref: lab.newRef(),
      env: { PASSWORD: "tr0ub4dor", URL: "postgres://u:tr0ub4dor@db", PLAIN: "shown" },
      secretValues: ["tr0ub4dor"],
    });
    const shown = JSON.stringify(lab.engine.render(workload));
    expect(shown).not.toContain("tr0ub4dor");
    expect(shown).toContain("shown");
  });

  it("hints at changes until the signal ends it", async () => {
    if (lab.engine.watch === undefined) return;
    const end = new AbortController();
    const seen: string[] = [];
    const watching = lab.engine.watch((ref) => seen.push(ref.component), end.signal);
    const wanted = await lab.up("run");
    await until(async () => seen.includes(wanted.ref.component), "a hint");
    end.abort();
    await watching;
    await lab.down(wanted.ref);
  });

  it("gives up when the caller does", async () => {
    await expect(lab.engine.observe(lab.newRef(), AbortSignal.abort(new Error("the caller left")))).rejects.toThrow("the caller left");
  });
}
