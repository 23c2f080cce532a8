// The collector with real instances: no line lost when it is killed, no instance held up, no secret shown, no bound passed.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import type { LogLine } from "../../engines/engine.ts";
import { Lab, never, until } from "../agent/testing/lab.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const numberingEvery = (ms: number): string =>
  `let n = 0; setInterval(() => { for (let i = 0; i < 5; i += 1) process.stdout.write('n=' + n++ + '\\n'); }, ${ms}); process.on('SIGTERM', () => { process.stdout.write('end=' + n + '\\n', () => process.exit(0)); });`;
const node = { kind: "worker" as const, command: { exec: ["node", "main.mjs"] }, tools: [{ name: "node", wanted: "*" }] };
const numbers = (lines: readonly LogLine[]): number[] =>
  lines.flatMap((line) => {
    const found = /^n=(\d+)$/.exec(line.text)?.[1];
    return found === undefined ? [] : [Number(found)];
  });
const ref = { stack: "shop", component: "web" };
/** Whether a run of the instance has ended, by what its shim left. */
const exitOf = (home: string, id: string): boolean => readdirSync(join(home, "edge", "instances", id)).some((name) => /^exit/.test(name));

describe("collector", () => {
  it("loses no line and holds up no instance when it is ended and started again, nor any line of an instance that is stopped meanwhile", async () => {
    await using lab = await Lab.open();
    await lab.run(await lab.workload({ "main.mjs": numberingEvery(5) }, node));
    const instance = await lab.instance((one) => one.pid !== undefined, "runs");
    await until(async () => numbers(await lab.logs({ tail: 10 })).length > 0, "first lines");
    for (let round = 0; round < 3; round += 1) {
      await lab.kill("collector", "SIGTERM");
      await sleep(100);
      await lab.up("collector");
      const seen = numbers(await lab.logs({ tail: 1 }))[0] ?? 0;
      await until(async () => (numbers(await lab.logs({ tail: 1 }))[0] ?? 0) > seen, "it goes on");
    }
    await lab.kill("collector", "SIGTERM");
    await lab.engine.stop(ref, [instance.id], 600_000, lab.fence(), never);
    await until(async () => (await lab.instances()).length === 0, "stopped without a collector");
    await lab.up("collector");
    const lines = await until(async () => {
      const all = await lab.logs();
      return all.some((line) => line.text.startsWith("end=")) && all;
    }, "last words");
    const end = Number(lines.at(-1)?.text.slice(4));
    expect(numbers(lines)).toEqual(Array.from({ length: end }, (_, index) => index));
    await until(() => readdirSync(join(lab.home, "edge", "instances")).length === 0, "the folder goes when its lines are read");
  });

  it("that was held up tells the last words of what ended meanwhile to whoever asks then, and of why it ended", async () => {
    await using lab = await Lab.open();
    const pid = lab.processes.get("collector")?.pid ?? Number.NaN;
    const held = async <T>(act: () => Promise<T>): Promise<T> => {
      process.kill(pid, "SIGSTOP");
      try {
        return await act();
      } finally {
        process.kill(pid, "SIGCONT");
      }
    };
    for (let round = 0; round < 5; round += 1) {
      const id = `run-${String(round)}`;
      const workload = await lab.workload({});
      await lab.engine.prepare(workload, lab.fence(), never);
      const task = { id, workload, command: { shell: "echo begun; printf 'all done'" }, deadline: 60_000, tty: false };
      await held(async () => {
        await lab.engine.startTask(task, lab.fence(), never);
        await until(async () => (await lab.engine.task(id, never))?.phase === "succeeded", "the run ends");
      });
      const lines: string[] = [];
      for await (const line of lab.engine.taskLogs(id, { follow: false }, never)) lines.push(line.text);
      expect(lines).toEqual(["begun", "all done"]);
    }
    const failing = await lab.workload({ "run.sh": "echo 'no licence' >&2; exit 7" }, { kind: "worker" });
    await lab.engine.prepare(failing, lab.fence(), never);
    const told = held(async () => {
      await lab.engine.ensure({ ref, track: "stable", workload: failing, restart: 0, replicas: 1 }, lab.fence(), never);
      const ended = (): boolean => readdirSync(join(lab.home, "edge", "instances")).some((id) => exitOf(lab.home, id));
      await until(ended, "the program ends");
      // Longer than lines are waited for where no collector is.
      await sleep(600);
    });
    const first = lab.instance((one) => one.cause !== undefined, "a cause");
    await told;
    expect((await first).cause).toMatchObject({
      code: "exited_at_start",
      evidence: expect.arrayContaining([expect.objectContaining({ text: "no licence" })]),
    });
  });

  it("goes on after kill -9 with whole lines in order", async () => {
    await using lab = await Lab.open();
    // So slowly that one look at the pipe finds few of them, also where the collector has to wait for its turn.
    await lab.run(await lab.workload({ "main.mjs": numberingEvery(50) }, node));
    await until(async () => numbers(await lab.logs({ tail: 10 })).length > 0, "first lines");
    await lab.kill("collector");
    await lab.up("collector");
    const seen = numbers(await lab.logs({ tail: 1 }))[0] ?? 0;
    await until(async () => (numbers(await lab.logs({ tail: 1 }))[0] ?? 0) > seen + 100, "it goes on");
    const found = numbers(await lab.logs());
    expect(found).toEqual([...found].sort((a, b) => a - b));
    // Only what lay in its hands at that very instant can be missing: one look at the pipe.
    expect((found.at(-1) ?? 0) + 1 - found.length).toBeLessThanOrEqual(50);
    expect(new Set(found).size).toBe(found.length);
  });

  it("shows lines within 250 ms, of stdout and stderr, of several instances in order, from a cursor on", async () => {
    await using lab = await Lab.open();
    await lab.run(
      await lab.workload({ "run.sh": "while :; do echo out $(date +%s%3N); echo err >&2; sleep 0.05; done" }, { kind: "worker" }),
      { replicas: 2 },
    );
    const end = new AbortController();
    const late: number[] = [];
    const seen: LogLine[] = [];
    for await (const line of lab.engine.logs(ref, { follow: true }, end.signal)) {
      seen.push(line);
      const at = /^out (\d+)/.exec(line.text)?.[1];
      if (at !== undefined) late.push(Date.now() - Number(at));
      // On a busy machine the second one begins late.
      if (seen.length > 60 && new Set(seen.map((each) => each.instance)).size === 2) break;
    }
    end.abort();
    expect(late.sort((a, b) => a - b)[Math.floor(late.length / 4)]).toBeLessThan(250);
    expect(new Set(seen.map((line) => line.instance)).size).toBe(2);
    expect(new Set(seen.map((line) => line.stream))).toEqual(new Set(["stdout", "stderr"]));
    expect(seen.map((line) => line.at)).toEqual(seen.map((line) => line.at).sort());
    const middle = seen[30];
    const again = await lab.logs({ after: middle?.cursor ?? "" });
    expect(again.slice(0, 25)).toEqual(seen.slice(31, 56));
    const since = await lab.logs({ since: middle?.at ?? "" });
    expect(since.every((line) => line.at >= (middle?.at ?? ""))).toBe(true);
    expect((await lab.logs({ tail: 3 })).length).toBe(3);
    const [one] = await lab.instances();
    expect((await lab.logs({ instance: one?.id ?? "" })).every((line) => line.instance === one?.id)).toBe(true);
  });

  it("masks secrets, also when they arrive in pieces", async () => {
    await using lab = await Lab.open();
    const script =
      "process.stdout.write('token=top-sec'); setTimeout(() => { process.stdout.write('ret-123 ok\\n'); console.error(process.env.TOKEN); process.stdout.write('x'.repeat(70000) + process.env.TOKEN + '\\n'); }, 1300); setInterval(() => {}, 1e6);";
    await lab.run(
      await lab.workload({ "main.mjs": script }, { ...node, env: { TOKEN: "top-secret-123" }, secretValues: ["top-secret-123", "ok"] }),
    );
    const lines = await until(async () => {
      const all = await lab.logs();
      return all.some((line) => line.stream === "stderr") && all.some(({ text }) => /x\*\*\*$/.test(text)) && all;
    }, "all lines");
    expect(lines.map((line) => line.text).join("\n")).not.toContain("top-sec");
    expect(lines.map((line) => line.text)).toContain("token=*** ok");
    expect(lines.find((line) => line.stream === "stderr")?.text).toBe("***");
  });

  it("bounds a flood, keeps the newest, and leaves others their lines and their speed", async () => {
    await using lab = await Lab.open({ collector: { maxFileBytes: 200_000, maxFiles: 5 } });
    const quiet = { stack: "shop", component: "quiet" };
    await lab.run(
      await lab.workload(
        { "run.sh": "echo before; while :; do echo tick $(date +%s%3N); sleep 0.1; done" },
        { ref: quiet, kind: "worker" },
      ),
    );
    await lab.run(
      await lab.workload({}, { kind: "worker", command: { shell: "yes 'a flood of lines that never ends, from a program gone wild'" } }),
    );
    const dir = join(lab.home, "logs", "shop", "web");
    const dropped = (): boolean => {
      try {
        return readdirSync(dir).includes("dropped.json");
      } catch {
        return false;
      }
    };
    await until(dropped, "the bound is reached");
    const late: number[] = [];
    const end = new AbortController();
    for await (const line of lab.engine.logs(quiet, { follow: true, tail: 0 }, end.signal)) {
      const at = /^tick (\d+)/.exec(line.text)?.[1];
      if (at !== undefined) late.push(Date.now() - Number(at));
      if (late.length >= 15) break;
    }
    end.abort();
    expect(late.sort((a, b) => a - b)[3]).toBeLessThan(250);
    const size = readdirSync(dir)
      .filter((name) => name.endsWith(".log"))
      .reduce((sum, name) => sum + (statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0), 0);
    expect(size).toBeLessThanOrEqual(1_000_000 + 200_000);
    expect((await lab.logs({}, quiet)).some((line) => line.text === "before")).toBe(true);
  });

  it("tells a follower that fell behind a flood that lines are missing", async () => {
    await using lab = await Lab.open({ collector: { maxFileBytes: 50_000, maxFiles: 2 } });
    await lab.run(
      await lab.workload({}, { kind: "worker", command: { shell: "echo first; sleep 0.5; yes 'a flood of lines that never ends'" } }),
    );
    const first = await until(async () => (await lab.logs({ tail: 1 })).at(0), "first");
    const cursor = first.cursor;
    const later = await until(async () => {
      const [line] = await lab.logs({ after: cursor });
      return line?.stream === "berth" && line;
    }, "told");
    expect(later.text).toContain("missing");
  });
});
