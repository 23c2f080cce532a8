// One-off runs and terminals with real processes: at most once per id, a deadline that holds, and an exit code that is the command's own.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { cause } from "@berth/contract/causes.ts";
import type { TaskRun, TaskState, Workload } from "../../engines/engine.ts";
import { ProcessTable } from "./procfs.ts";
import { TaskRecords } from "./task-records.ts";
import { Lab, never, uniqueName, until } from "./testing/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const ref = { stack: "shop", component: "web" };

async function task(
  lab: Lab,
  shell: string,
  over: Partial<Omit<TaskRun, "workload">> = {},
  change: Partial<Workload> = {},
): Promise<TaskRun> {
  const workload = await lab.workload(
    { "keep.txt": "here" },
    { volumes: [{ volume: "out", path: "/out-of-task" }], env: { ANSWER: "42" }, ...change },
  );
  await lab.engine.prepare(workload, lab.fence(), never);
  return { id: uniqueName("run"), workload, command: { shell }, deadline: 60_000, tty: false, ...over };
}
const ended = (lab: Lab, id: string, timeout?: number): Promise<TaskState> =>
  until(
    async () => {
      const state = await lab.engine.task(id, never);
      return state !== undefined && state.phase !== "running" && state;
    },
    `task ${id} ends`,
    timeout,
  );

describe("tasks", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });
  const volume = (): string => join(lab.home, "stacks", "stack-1", "volumes", "out");

  it("run in the release with its config, and tell exit code and output", async () => {
    const run = await task(lab, "cat keep.txt; echo; echo $ANSWER; echo oops >&2; exit 3");
    expect(await lab.engine.task(run.id, never)).toBeUndefined();
    await lab.engine.startTask(run, lab.fence(), never);
    const lines: string[] = [];
    for await (const line of lab.engine.taskLogs(run.id, { follow: true }, never)) lines.push(`${line.stream} ${line.text}`);
    expect(lines.sort()).toEqual(["stderr oops", "stdout 42", "stdout here"]);
    const state = await ended(lab, run.id);
    expect(state).toMatchObject({ phase: "failed", exitCode: 3, cause: { code: "exited_at_start" } });
    const good = await task(lab, "true");
    await lab.engine.startTask(good, lab.fence(), never);
    expect(await ended(lab, good.id)).toMatchObject({ phase: "succeeded", exitCode: 0 });
  });

  it("run at most once per id, also after they ended and were forgotten", async () => {
    const run = await task(lab, "echo x >> /out-of-task/count");
    await Promise.all([1, 2, 3].map(() => lab.engine.startTask(run, lab.fence(), never)));
    await ended(lab, run.id);
    await lab.engine.startTask(run, lab.fence(), never);
    expect(readFileSync(join(volume(), "count"), "utf8")).toBe("x\n");
  });

  it("run from the moment that they are accepted, whoever asks, and can be cancelled from then on", async () => {
    const { engine } = lab;
    const phases: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      const run = await task(lab, "sleep 100");
      let isOver = false;
      const cancelled = (async () => {
        while (!isOver) {
          const state = await engine.task(run.id, never);
          if (state === undefined) continue;
          phases.push(state.phase);
          return engine.cancelTask(run.id, 100, never);
        }
        return undefined;
      })();
      await engine.startTask(run, lab.fence(), never);
      isOver = true;
      await cancelled;
      if (phases.length > round) await ended(lab, run.id);
      else await engine.cancelTask(run.id, 100, never);
    }
    expect(new Set(phases)).toEqual(new Set(["running"]));
  });

  it("are never begun again when their record was shortened long ago", () => {
    const records = new TaskRecords(join(lab.home, "old-records"));
    const at = "2026-01-01T00:00:00.000Z";
    records.write("run-1", {
      ref,
      state: { id: "run-1", phase: "failed", exitCode: 4, startedAt: at, endedAt: at, cause: cause("exited_at_start", {}) },
    });
    records.shorten(Date.now() + 60_000);
    records.shorten(Date.now() + 60_000);
    expect(records.read("run-1")).toEqual({ ref, state: { id: "run-1", phase: "failed", exitCode: 4, startedAt: at, endedAt: at } });
    expect(records.read("run-2")).toBeUndefined();
  });

  it("are ended at their deadline, with everything that they started", async () => {
    const run = await task(lab, "(trap '' TERM; sleep 61) & trap '' TERM; sleep 62; sleep 63", { deadline: 400 }, { gracePeriod: 200 });
    await lab.engine.startTask(run, lab.fence(), never);
    expect(await ended(lab, run.id)).toMatchObject({ phase: "failed", cause: { code: "task_deadline" } });
    expect(new ProcessTable().membersOf(undefined, run.id)).toEqual([]);
  });

  it("can be cancelled", async () => {
    const run = await task(lab, "exec sleep 60");
    await lab.engine.startTask(run, lab.fence(), never);
    await until(() => new ProcessTable().membersOf(undefined, run.id).length > 0, "it runs");
    await lab.engine.cancelTask(run.id, 600_000, never);
    expect(await ended(lab, run.id)).toMatchObject({ phase: "failed", signal: "SIGTERM" });
    await lab.engine.cancelTask("run-unknown", 0, never);
  });

  it("may have a terminal", async () => {
    const run = await task(lab, "test -t 1 && echo is a terminal; exit 5", { tty: true });
    await lab.engine.startTask(run, lab.fence(), never);
    expect((await ended(lab, run.id)).exitCode).toBe(5);
    await until(async () => {
      for await (const line of lab.engine.taskLogs(run.id, { follow: false }, never)) if (line.text === "is a terminal") return true;
      return false;
    }, "output");
  });

  it("go on under another agent, and are not begun again by it", async () => {
    const run = await task(lab, "echo x >> /out-of-task/again; sleep 1.5; exit 6");
    await lab.engine.startTask(run, lab.fence(), never);
    await until(() => new ProcessTable().membersOf(undefined, run.id).length > 0, "it runs");
    await lab.kill("agent");
    await lab.up("agent");
    await lab.engine.startTask(run, lab.fence(), never);
    expect(await ended(lab, run.id)).toMatchObject({ exitCode: 6 });
    expect(readFileSync(join(volume(), "again"), "utf8")).toBe("x\n");
    expect((await lab.engine.task(run.id, never))?.phase).toBe("failed");
  });

  it("tell how they ended although the agent died before it wrote that down, and while it removed what they left", async () => {
    // Nobody reads their lines, so that their folders stay.
    await lab.kill("collector");
    const tasks = [await task(lab, "exit 7"), await task(lab, "true"), await task(lab, "exit 8")] as const;
    const [untold, half, told] = tasks;
    const record = (id: string) => join(lab.home, "edge", "task-records", `${id}.json`);
    const folder = (id: string) => join(lab.home, "edge", "tasks", id);
    const recorded = (id: string) => JSON.parse(readFileSync(record(id), "utf8")) as { readonly state: TaskState };
    for (const run of tasks) {
      await lab.engine.startTask(run, lab.fence(), never);
      await ended(lab, run.id);
      // It is told before it is written down, and only what is written down outlives a folder.
      await until(() => recorded(run.id).state.cause?.code !== "run_lost", "the outcome is written down");
    }
    await lab.kill("agent");
    const written = recorded(untold.id);
    const before = { ...written, state: { ...written.state, exitCode: undefined, cause: cause("run_lost", { reason: "x" }) } };
    writeFileSync(record(untold.id), JSON.stringify(before));
    for (const name of ["stderr", "state.json"]) rmSync(join(folder(half.id), name));
    rmSync(join(folder(told.id), "spec.json"));
    await lab.up("agent");
    expect(await ended(lab, untold.id)).toMatchObject({ phase: "failed", exitCode: 7, cause: { code: "exited_at_start" } });
    expect(await lab.engine.task(half.id, never)).toMatchObject({ phase: "succeeded", exitCode: 0 });
    expect(await lab.engine.task(told.id, never)).toMatchObject({ phase: "failed", exitCode: 8 });
    expect(existsSync(folder(told.id))).toBe(false);
    await lab.up("collector");
    await until(() => tasks.every(({ id }) => !existsSync(folder(id))), "nothing of them is left");
    expect(await lab.engine.task(untold.id, never)).toMatchObject({ exitCode: 7 });
  });

  it("that were only written down when the agent died are not begun", async () => {
    const run = await task(lab, "echo x >> /out-of-task/never");
    await lab.kill("agent");
    // What a crash between the record and the folder leaves behind.
    writeFileSync(
      join(lab.home, "edge", "task-records", `${run.id}.json`),
      JSON.stringify({
        ref,
        state: {
          id: run.id,
          phase: "failed",
          startedAt: new Date().toISOString(),
          endedAt: new Date().toISOString(),
          cause: { code: "run_lost", params: { reason: "x" }, evidence: [] },
        },
      }),
    );
    await lab.up("agent");
    await lab.engine.startTask(run, lab.fence(), never);
    expect(await lab.engine.task(run.id, never)).toMatchObject({ phase: "failed", cause: { code: "run_lost" } });
    expect(() => readFileSync(join(volume(), "never"))).toThrow();
  });
});

describe("exec", () => {
  let lab: Lab;
  let instance = "";
  beforeAll(async () => {
    lab = await Lab.open();
    await lab.run(await lab.workload({}, { kind: "worker", command: { shell: "exec sleep 300" }, env: { ANSWER: "42" } }));
    instance = (await lab.instance((one) => one.pid !== undefined, "runs")).id;
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  const text = (stream: Duplex): { readonly get: () => string } => {
    let seen = "";
    stream.on("data", (chunk: Buffer) => {
      seen += chunk.toString();
    });
    return { get: () => seen };
  };

  it("gives a terminal of the wanted size that can be resized, and the exit code", async () => {
    const session = await lab.engine.exec(ref, instance, { exec: ["/bin/sh"] }, { columns: 91, rows: 17 }, never);
    const output = text(session.stream);
    session.stream.write("stty size; echo $ANSWER é; tty\n");
    await until(() => /17 91\r\n42 é\r\n\/dev\/pts\//.test(output.get()), "size and environment");
    session.resize(120, 40);
    session.stream.write("stty size\n");
    await until(() => output.get().includes("40 120"), "new size");
    session.stream.write("exit 7\n");
    expect(await session.exit).toEqual({ exitCode: 7 });
  });

  it("gives ^C to what runs in the terminal", async () => {
    const session = await lab.engine.exec(
      ref,
      instance,
      { shell: "trap 'echo interrupted; exit 9' INT; echo go; while :; do sleep 0.05; done" },
      { columns: 80, rows: 24 },
      never,
    );
    const output = text(session.stream);
    await until(() => output.get().includes("go"), "runs");
    session.stream.write("\u0003");
    expect(await session.exit).toEqual({ exitCode: 9 });
    await until(() => output.get().includes("interrupted"), "its last word");
  });

  it("passes input and output through without a terminal, whatever the bytes", async () => {
    const session = await lab.engine.exec(ref, instance, { exec: ["/bin/cat"] }, undefined, never);
    const data = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 256));
    session.stream.end(data);
    const back = Buffer.concat((await session.stream.toArray()) as Buffer[]);
    expect(back.equals(data)).toBe(true);
    expect(await session.exit).toEqual({ exitCode: 0 });
  });

  it("ends what it started when the caller goes away", async () => {
    const mark = `9${process.pid}.${Date.now() % 100_000}`;
    const session = await lab.engine.exec(ref, instance, { shell: `echo mine; exec sleep ${mark}` }, undefined, never);
    const output = text(session.stream);
    await until(() => output.get().includes("mine"), "runs");
    session.stream.destroy();
    await until(
      () =>
        !new ProcessTable().all.some((one) => {
          try {
            return readFileSync(`/proc/${one.pid}/cmdline`, "utf8").includes(mark);
          } catch {
            return false;
          }
        }),
      "gone",
    );
  });

  it("says when there is no such instance or command", async () => {
    await expect(lab.engine.exec(ref, "web-nope22", { exec: ["true"] }, undefined, never)).rejects.toMatchObject({ code: "not_found" });
    const session = await lab.engine.exec(ref, instance, { exec: ["no-such-command"] }, undefined, never);
    const output = text(session.stream);
    expect(await session.exit).toEqual({ exitCode: 127 });
    await until(() => output.get().includes("not found"), "the reason");
  });
});
