// One-off runs: started at most once per id for ever, whatever crashes in between. The id is on disk before the start, and stays there after everything else of the run is gone.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import { EngineFailure, type Fence, type Ref, type TaskRun, type TaskState } from "../../engines/engine.ts";
import { refKey, type TaskAnswer } from "../../engines/agent/protocol.ts";
import { Departures } from "./departures.ts";
import { errorText } from "./files.ts";
import type { Fences } from "./fences.ts";
import { Supervised, type InstanceDeps } from "./instance.ts";
import type { Machine } from "./machine.ts";
import type { StallWatch } from "./prober.ts";
import { readSpec, type Spec } from "./record.ts";
import { TaskRecords } from "./task-records.ts";
import { taskStateOf } from "./task-state.ts";

const sweepPeriod = 250;

export interface TasksDeps {
  readonly machine: Machine;
  readonly fences: Fences;
  readonly stalls: StallWatch;
  /** ms that the cause of an ended run is told; its id and its exit code are remembered for ever. */
  readonly keepFor: number;
}

export class Tasks {
  readonly #deps: TasksDeps;
  readonly #records: TaskRecords;
  readonly #running = new Map<string, Supervised>();
  /** What is being written down and started: its record on disk says for that time that it was lost, which nobody is to be told. */
  readonly #starting = new Map<string, { readonly spec: Spec; readonly startedAt: string; readonly done: Promise<void> }>();
  readonly #departures: Departures;
  #sweep: NodeJS.Timeout | undefined;
  #shortening: NodeJS.Timeout | undefined;

  constructor(deps: TasksDeps) {
    this.#deps = deps;
    this.#records = new TaskRecords(join(deps.machine.home, "edge", "task-records"));
    this.#departures = new Departures(deps.machine);
  }

  /** Goes on with the runs of an earlier agent. What was never begun is not begun now. */
  open(): void {
    const { machine } = this.#deps;
    for (const id of readdirSync(machine.tasksDir)) {
      const dir = join(machine.tasksDir, id);
      const spec = readSpec(join(dir, "spec.json"));
      if (spec?.task === undefined) {
        rmSync(dir, { recursive: true, force: true });
        continue;
      }
      // What runs and cannot be watched over now ends this agent, which is started again: left out, it would be told as never begun.
      this.#adopt(id, spec, dir);
    }
    this.#sweep = setInterval(() => this.#look(), sweepPeriod);
    this.#shorten();
    this.#shortening = setInterval(() => this.#shorten(), 3_600_000);
  }

  #adopt(id: string, spec: Spec, dir: string): void {
    if (!existsSync(join(dir, "ended"))) {
      this.#running.set(id, Supervised.adopt(spec, dir, this.#instanceDeps()));
      return;
    }
    const run = Supervised.departed(spec, dir, this.#instanceDeps());
    const told = this.#records.read(id)?.state;
    // What was told stays: it may come from files that are gone by now.
    if (told !== undefined && told.cause?.code !== "run_lost") return this.#departures.add(run);
    this.#running.set(id, run);
    this.#depart(run);
  }

  close(): void {
    clearInterval(this.#sweep);
    clearInterval(this.#shortening);
    for (const run of this.#running.values()) run.close();
    this.#departures.close();
  }

  /** Returns when the run is on its way; does nothing for an id that was seen before. Errors: `stale_generation`. */
  async start(task: TaskRun, fence: Fence): Promise<void> {
    const { machine, fences } = this.#deps;
    const { ref, artifact } = task.workload;
    const starting = this.#starting.get(task.id);
    if (starting !== undefined) return starting.done;
    if (this.#records.read(task.id) !== undefined) return;
    fences.pass(ref, fence);
    if (artifact.kind === "image")
      throw new EngineFailure(cause("image_needs_container_engine", { component: ref.component, image: artifact.reference }), {
        retryable: false,
      });
    const startedAt = new Date(machine.now()).toISOString();
    this.#records.write(task.id, {
      ref,
      state: {
        id: task.id,
        phase: "failed",
        startedAt,
        endedAt: startedAt,
        cause: cause("run_lost", { reason: "Berth was ended before it began" }),
      },
    });
    // A task has no address: nobody routes to it.
    const workload = { ...task.workload, probes: {}, ports: [], restart: "never" as const };
    const spec: Spec = {
      id: task.id,
      ref,
      track: "stable",
      restart: 0,
      workload,
      fence,
      ports: {},
      createdAt: machine.now(),
      task: { command: task.command, tty: task.tty, deadline: task.deadline },
    };
    const done = this.#begin(spec, startedAt).finally(() => {
      this.#starting.delete(task.id);
    });
    this.#starting.set(task.id, { spec, startedAt, done });
    return done;
  }

  async #begin(spec: Spec, startedAt: string): Promise<void> {
    const { id, ref } = spec;
    try {
      this.#running.set(id, await Supervised.create(spec, join(this.#deps.machine.tasksDir, id), this.#instanceDeps()));
    } catch (error) {
      this.#records.write(id, {
        ref,
        state: { id, phase: "failed", startedAt, endedAt: startedAt, cause: cause("start_failed", { reason: errorText(error) }) },
      });
    }
  }

  /** Whether a run of the stack lives, or waits for its last lines to be read. */
  has(stackId: string): boolean {
    return (
      [...this.#running.values(), ...this.#starting.values()].some(({ spec }) => spec.workload.stackId === stackId) ||
      this.#departures.ofStack(stackId)
    );
  }

  async state(id: string): Promise<TaskAnswer | undefined> {
    const run = this.#running.get(id);
    if (run !== undefined) return { ref: run.spec.ref, state: await stateOf(run) };
    const starting = this.#starting.get(id);
    if (starting !== undefined) return { ref: starting.spec.ref, state: { id, phase: "running", startedAt: starting.startedAt } };
    return this.#records.read(id);
  }

  /** Runs of a component that have not ended, or whose folders are still there. */
  left(ref: Ref): number {
    const running = [...this.#running.values(), ...this.#starting.values()].filter(
      ({ spec }) => refKey(spec.ref) === refKey(ref) && !this.#departures.has(spec.id),
    );
    return running.length + this.#departures.count(ref);
  }

  async cancel(id: string, grace: number): Promise<void> {
    await this.#starting.get(id)?.done;
    this.#running.get(id)?.stop(grace);
  }

  #instanceDeps(): InstanceDeps {
    const { machine, stalls } = this.#deps;
    return { machine, stalls, onChange: (run) => this.#noteEnd(run), onReady: () => undefined, onGone: (run) => this.#noteEnd(run) };
  }

  #noteEnd(run: Supervised): void {
    if (run.state.phase !== "exited" || this.#departures.has(run.id) || this.#running.get(run.id) !== run) return;
    this.#depart(run);
  }

  /** The outcome is written before the folder goes: after a crash in between the folder is found again, and the outcome is written again. */
  #depart(run: Supervised): void {
    this.#departures.add(run, async () => {
      await this.#keep(run);
      this.#running.delete(run.id);
    });
    this.#keep(run).catch((error: unknown) => this.#deps.machine.say("outcome not kept", { task: run.id, error: errorText(error) }));
  }

  #shorten(): void {
    this.#records.shorten(this.#deps.machine.now() - this.#deps.keepFor);
  }

  async #keep(run: Supervised): Promise<void> {
    this.#records.write(run.id, { ref: run.spec.ref, state: await stateOf(run) });
  }

  #look(): void {
    const now = this.#deps.machine.now();
    for (const run of this.#running.values()) {
      const { phase, startedAt } = run.state;
      if (phase === "exited") this.#noteEnd(run);
      else if (phase !== "stopping" && startedAt !== undefined && run.spec.task !== undefined && now - startedAt > run.spec.task.deadline)
        run.end(cause("task_deadline", { waited: measured(run.spec.task.deadline) }));
      run.advance();
    }
    this.#departures.look();
  }
}

const stateOf = (run: Supervised): Promise<TaskState> => taskStateOf(run, run.spec.createdAt);
