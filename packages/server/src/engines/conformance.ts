// What every engine does alike, as one suite of tests: it runs over the fake and over each real engine. Whoever writes a planner may rely on it, and on nothing else.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Engine, Fence, Instance, Observed, Ref, TaskRun, TrackTarget, Workload } from "./engine.ts";

// Real processes on a machine that may be busy with much else.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/**
 * What a test needs a program to do. `serve`: answers http on its port `http`. `run`: writes `hello` and runs on. `crash`: ends at once with exit code 3.
 * `end`: ends at once with 0. `stubborn`: runs on and ignores SIGTERM.
 */
export type Does = "serve" | "run" | "crash" | "end" | "stubborn";

export interface Place extends AsyncDisposable {
  readonly engine: Engine;
  /** A prepared-for workload whose program does this; different `over` gives a different releaseHash. */
  workload(does: Does, over: Partial<Workload> & { readonly ref: Ref }): Promise<Workload>;
}

const never = new AbortController().signal;

async function until<T>(look: () => Promise<T | undefined | false>, what: string, timeout = 30_000): Promise<T> {
  for (const deadline = Date.now() + timeout; ;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`);
    await sleep(25);
  }
}

/** Defines the suite for one engine. `open` makes an empty place for it; the suite disposes of it. */
export function describeEngine(name: string, open: () => Promise<Place>): void {
  describe(`engine ${name}`, () => {
    let place: Place;
    let engine: Engine;
    let generation = 0;
    let counter = 0;
    beforeAll(async () => {
      place = await open();
      engine = place.engine;
    });
    afterAll(async () => { await place[Symbol.asyncDispose](); });

    const fence = (of: number = (generation += 1), epoch = 1): Fence => ({ installation: "lab", epoch, generation: of });
    const newRef = (): Ref => ({ stack: "conform", component: `c${(counter += 1)}` });
    const instances = async (ref: Ref): Promise<readonly Instance[]> => (await engine.observe(ref, never))?.instances ?? [];
    const target = (workload: Workload, over: Partial<TrackTarget> = {}): TrackTarget => ({ ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1, ...over });
    /** Prepared and ensured; the target that was. */
    async function up(does: Does, over: Partial<TrackTarget> = {}, change: Partial<Workload> = {}): Promise<TrackTarget> {
      const wanted = target(await place.workload(does, { ref: newRef(), ...change }), over);
      const by = fence();
      await engine.prepare(wanted.workload, by, never);
      await engine.ensure(wanted, by, never);
      return wanted;
    }
    const down = async (ref: Ref): Promise<void> => {
      await engine.stop(ref, (await instances(ref)).map((one) => one.id), 0, fence(), never);
      await until(async () => (await engine.observe(ref, never)) === undefined, "all are gone");
    };

    it("says that it can be reached", async () => {
      expect((await engine.capabilities(never)).reachable).toBe(true);
    });

    it("knows nothing of what it never saw, and takes its absence for success", async () => {
      const ref = newRef();
      expect(await engine.observe(ref, never)).toBeUndefined();
      await engine.stop(ref, ["nobody-aaaaaa"], 0, fence(), never);
      await engine.remove(ref, fence(), never);
      expect(await engine.task("task-unknown", never)).toBeUndefined();
      await engine.cancelTask("task-unknown", 0, never);
      expect(await engine.volumes.list("stack-unknown", never)).toEqual([]);
      await engine.volumes.remove("stack-unknown", "nothing", never);
    });

    it("starts what is missing, once, and carries the revision on every instance", async () => {
      const wanted = await up("serve", { replicas: 2, restart: 4 }, { releaseNumber: 17 });
      const first = await instances(wanted.ref);
      expect(first.length).toBe(2);
      await Promise.all([engine.ensure(wanted, fence(generation), never), engine.ensure(wanted, fence(generation), never)]);
      const all = await until(async () => { const now = await instances(wanted.ref); return now.every((one) => one.ready) && now; }, "all are ready");
      expect(all.map((one) => one.id)).toEqual(first.map((one) => one.id));
      for (const one of all) {
        expect(one).toMatchObject({ track: "stable", revision: { releaseHash: wanted.workload.releaseHash, restart: 4 }, releaseNumber: 17, phase: "running", restarts: 0 });
        expect(one.id).toMatch(new RegExp(`^${wanted.ref.component}-[a-z0-9]{6,}$`));
        expect(one.id.length).toBeLessThanOrEqual(63);
        expect(Date.parse(one.readySince ?? "")).toBeGreaterThan(0);
        expect(one.addresses["http"]).toMatchObject({ host: expect.any(String) as string, port: expect.any(Number) as number });
        expect(one.cause).toBeUndefined();
      }
      expect(new Set(all.map((one) => `${one.addresses["http"]?.host}:${one.addresses["http"]?.port}`)).size).toBe(2);
      expect((await engine.observe(wanted.ref, never))?.fence).toEqual(fence(generation));
      await down(wanted.ref);
    });

    it("never stops an instance because fewer, others or another track are ensured", async () => {
      const wanted = await up("run", { replicas: 2 });
      await engine.ensure({ ...wanted, replicas: 0 }, fence(), never);
      await engine.ensure({ ...wanted, restart: 1, replicas: 1 }, fence(), never);
      await engine.ensure({ ...wanted, track: "candidate", replicas: 1 }, fence(), never);
      const other = await place.workload("run", { ref: wanted.ref, releaseNumber: 2 });
      await engine.prepare(other, fence(), never);
      await engine.ensure({ ...wanted, workload: other, replicas: 1 }, fence(generation), never);
      const all = await until(async () => { const now = await instances(wanted.ref); return now.length === 5 && now.every((one) => one.ready) && now; }, "five are ready");
      expect(all.map((one) => `${one.track} ${one.revision.restart} ${one.releaseNumber}`).sort()).toEqual(["candidate 0 1", "stable 0 1", "stable 0 1", "stable 0 2", "stable 1 1"]);
      await down(wanted.ref);
    });

    it("stops exactly the instances that are named", async () => {
      const wanted = await up("run", { replicas: 3 });
      const neighbour = await up("run");
      const [first, ...rest] = await instances(wanted.ref);
      await engine.stop(wanted.ref, [first?.id ?? "", "nobody-aaaaaa"], 5_000, fence(), never);
      await until(async () => (await instances(wanted.ref)).length === 2, "one is gone");
      expect((await instances(wanted.ref)).map((one) => one.id)).toEqual(rest.map((one) => one.id));
      // An id of another component is none of this one's.
      const [beside] = await instances(neighbour.ref);
      await engine.stop(wanted.ref, [beside?.id ?? ""], 0, fence(), never);
      expect((await instances(neighbour.ref))[0]?.phase).not.toBe("stopping");
      // What is ensured again is new.
      await engine.ensure(wanted, fence(), never);
      expect((await instances(wanted.ref)).map((one) => one.id)).not.toContain(first?.id);
      await down(wanted.ref);
      await down(neighbour.ref);
    });

    it("gives an instance its grace period, during which it is stopping and not ready", async () => {
      const wanted = await up("stubborn");
      const one = await until(async () => (await instances(wanted.ref)).find((each) => each.ready), "ready");
      const began = Date.now();
      await engine.stop(wanted.ref, [one.id], 600, fence(), never);
      expect((await instances(wanted.ref))[0]).toMatchObject({ id: one.id, phase: "stopping", ready: false });
      await until(async () => (await engine.observe(wanted.ref, never)) === undefined, "gone");
      expect(Date.now() - began).toBeGreaterThanOrEqual(590);
      expect(Date.now() - began).toBeLessThan(20_000);
    });

    it("starts again what ended, with the same id and address, and says why it ended", async () => {
      const wanted = await up("crash", {}, { ports: [{ name: "http", protocol: "http" }] });
      const [before] = await instances(wanted.ref);
      const after = await until(async () => (await instances(wanted.ref)).find((one) => one.restarts >= 2), "two restarts");
      expect(after).toMatchObject({ id: before?.id, addresses: before?.addresses, ready: false, lastExit: { exitCode: 3, outOfMemory: false } });
      expect(["exited_at_start", "crash_loop"]).toContain(after.cause?.code);
      expect(after.cause?.evidence.some((one) => one.kind === "exit")).toBe(true);
      await down(wanted.ref);
    });

    it("leaves ended what is not to be started again", async () => {
      const wanted = await up("end", {}, { restart: "on-failure" });
      const one = await until(async () => (await instances(wanted.ref)).find((each) => each.phase === "exited"), "exited");
      expect(one).toMatchObject({ ready: false, restarts: 0, lastExit: { exitCode: 0 } });
      await down(wanted.ref);
    });

    it("refuses orders of an older generation or epoch, also after a removal", async () => {
      const wanted = await up("run");
      const older = fence(generation);
      const newer = fence();
      await engine.ensure(wanted, newer, never);
      await engine.ensure(wanted, newer, never);
      const stale = { code: "stale_generation" };
      await expect(engine.prepare(wanted.workload, older, never)).rejects.toMatchObject(stale);
      await expect(engine.ensure({ ...wanted, replicas: 2 }, older, never)).rejects.toMatchObject(stale);
      await expect(engine.stop(wanted.ref, (await instances(wanted.ref)).map((one) => one.id), 0, older, never)).rejects.toMatchObject(stale);
      await expect(engine.remove(wanted.ref, older, never)).rejects.toMatchObject(stale);
      await expect(engine.ensure(target(wanted.workload, { ref: newRef() }), fence(generation, 0), never)).rejects.toMatchObject(stale);
      expect((await instances(wanted.ref)).length).toBe(1);
      await engine.remove(wanted.ref, fence(), never);
      await expect(engine.ensure(wanted, newer, never)).rejects.toMatchObject(stale);
      await until(async () => (await engine.observe(wanted.ref, never)) === undefined, "removed");
    });

    it("removes a component but not its volumes, and a volume only when nobody uses it", async () => {
      const stackId = `stack-${counter + 1}`;
      const wanted = await up("run", {}, { stackId, volumes: [{ volume: "data", path: "/berth-conformance" }] });
      await until(async () => (await instances(wanted.ref)).find((one) => one.ready), "ready");
      expect(await engine.volumes.list(stackId, never)).toMatchObject([{ name: "data", usedBy: [wanted.ref.component] }]);
      await expect(engine.volumes.remove(stackId, "data", never)).rejects.toMatchObject({ code: "volume_in_use" });
      await engine.remove(wanted.ref, fence(), never);
      await until(async () => (await engine.observe(wanted.ref, never)) === undefined, "removed");
      expect(await engine.volumes.list(stackId, never)).toMatchObject([{ name: "data", usedBy: [] }]);
      await engine.volumes.remove(stackId, "data", never);
      expect(await engine.volumes.list(stackId, never)).toEqual([]);
    });

    it("lists every component that it runs", async () => {
      const one = await up("run");
      const two = await up("run", { replicas: 2 });
      const seen: Observed[] = [];
      for await (const observed of engine.list(never)) seen.push(observed);
      expect(seen.find((each) => each.ref.component === one.ref.component)?.instances.length).toBe(1);
      expect(seen.find((each) => each.ref.component === two.ref.component)?.instances.length).toBe(2);
      const usage = await engine.usage([one.ref, two.ref], never);
      expect(usage.length).toBe(3);
      expect(usage.every((each) => each.processes >= 0 && each.memory >= 0 && each.cpuSeconds >= 0)).toBe(true);
      await down(one.ref);
      await down(two.ref);
    });

    it("runs a task at most once per id, and tells its outcome", async () => {
      const workload = await place.workload("run", { ref: newRef() });
      await engine.prepare(workload, fence(), never);
      const task = (id: string, shell: string, deadline = 60_000): TaskRun => ({ id: `${id}-${workload.ref.component}`, workload, command: { shell }, deadline, tty: false });
      const ended = (run: TaskRun): Promise<object> => until(async () => { const state = await engine.task(run.id, never); return state?.phase !== "running" && state; }, `${run.id} ends`);
      const [good, bad, slow, endless] = [task("good", "exit 0"), task("bad", "exit 5"), task("slow", "sleep 60", 300), task("endless", "sleep 60")];
      for (const run of [good, bad, slow, endless]) await engine.startTask(run, fence(generation), never);
      await engine.startTask(bad, fence(generation), never);
      expect(await ended(good)).toMatchObject({ phase: "succeeded", exitCode: 0 });
      const failed = await ended(bad);
      expect(failed).toMatchObject({ phase: "failed", exitCode: 5 });
      expect(await ended(slow)).toMatchObject({ phase: "failed", cause: { code: "task_deadline" } });
      expect(await engine.task(endless.id, never)).toMatchObject({ phase: "running" });
      await engine.cancelTask(endless.id, 1_000, never);
      expect(await ended(endless)).toMatchObject({ phase: "failed", signal: "SIGTERM" });
      await engine.startTask(bad, fence(generation), never);
      expect(await ended(bad)).toMatchObject({ ...failed, phase: "failed" });
      // A task is no instance.
      expect(await engine.observe(workload.ref, never)).toBeUndefined();
    });

    it("gives back lines from a cursor on", async () => {
      const wanted = await up("run", { replicas: 2 });
      const read = async (options: { tail?: number; after?: string; instance?: string }): Promise<{ instance: string; text: string; cursor: string }[]> => {
        const lines = [];
        for await (const line of engine.logs(wanted.ref, { follow: false, ...options }, never)) lines.push(line);
        return lines;
      };
      const lines = await until(async () => { const all = await read({}); return all.length === 2 && all; }, "both said hello");
      expect(lines.map((line) => line.text)).toEqual(["hello", "hello"]);
      expect(await read({ after: lines[0]?.cursor ?? "" })).toEqual(lines.slice(1));
      expect(await read({ tail: 1 })).toEqual(lines.slice(1));
      expect(await read({ instance: lines[0]?.instance ?? "" })).toEqual(lines.slice(0, 1));
      await down(wanted.ref);
    });

    it("refuses a terminal or a port of an instance that is not there", async () => {
      await expect(engine.exec(newRef(), "nobody-aaaaaa", { exec: ["true"] }, undefined, never)).rejects.toMatchObject({ code: "not_found" });
      await expect(engine.forward(newRef(), "nobody-aaaaaa", 80, never)).rejects.toMatchObject({ code: "not_found" });
    });

    it("shows what it would apply without secrets", async () => {
      const workload = await place.workload("run", { ref: newRef(), env: { PASSWORD: "tr0ub4dor", URL: "postgres://u:tr0ub4dor@db", PLAIN: "shown" }, secretValues: ["tr0ub4dor"] });
      const shown = JSON.stringify(engine.render(workload));
      expect(shown).not.toContain("tr0ub4dor");
      expect(shown).toContain("shown");
    });

    it("hints at changes until the signal ends it", async () => {
      if (engine.watch === undefined) return;
      const end = new AbortController();
      const seen: string[] = [];
      const watching = engine.watch((ref) => seen.push(ref.component), end.signal);
      const wanted = await up("run");
      await until(async () => seen.includes(wanted.ref.component), "a hint");
      end.abort();
      await watching;
      await down(wanted.ref);
    });

    it("gives up when the caller does", async () => {
      await expect(engine.observe(newRef(), AbortSignal.abort(new Error("the caller left")))).rejects.toThrow("the caller left");
    });
  });
}
