// One-off runs in containers of their own: at most once per id for ever. The id is on disk before its container is made, and stays there after everything else.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import { refKey, type TaskAnswer } from "../../engines/agent/protocol.ts";
import { EngineFailure, type Fence, type Ref, type TaskRun, type TaskState } from "../../engines/engine.ts";
import { errorText } from "../agent/files.ts";
import type { TaskOrders } from "../agent/server.ts";
import { TaskRecords } from "../agent/task-records.ts";
import { taskStateOf } from "../agent/task-state.ts";
import { Contained, type ContainedDeps } from "./contained.ts";
import type { ContainersDeps } from "./containers.ts";
import { ContainerDepartures } from "./departures.ts";

export interface ContainerTasksDeps extends Omit<ContainersDeps, "onReadiness"> {
  /** ms that the cause of an ended run is told; its id and its exit code are remembered for ever. */
  readonly keepFor: number;
}

export class ContainerTasks implements TaskOrders {
  readonly #deps: ContainerTasksDeps;
  readonly #records: TaskRecords;
  readonly #running = new Map<string, Contained>();
  readonly #starting = new Map<
    string,
    { readonly ref: Ref; readonly stackId: string; readonly startedAt: string; readonly done: Promise<void> }
  >();
  readonly #departures: ContainerDepartures;

  constructor(deps: ContainerTasksDeps) {
    this.#deps = deps;
    this.#records = new TaskRecords(join(deps.home, "edge", "task-records"));
    this.#departures = new ContainerDepartures(deps);
  }

  adopt(order: ContainerOrder, container: string): void {
    if (this.#running.has(order.id) || this.#departures.has(order.id) || this.#starting.has(order.id)) return;
    const run = Contained.open(order, container, this.#containedDeps());
    this.#deps.networks.keep(order.address, order.id);
    this.#running.set(order.id, run);
    if (existsSync(join(run.dir, "ended"))) {
      const told = this.#records.read(order.id)?.state;
      if (told === undefined || told.cause?.code === "run_lost") this.#depart(run);
      else this.#departures.add(run, () => void this.#running.delete(run.id));
      return;
    }
    run.look();
  }

  /** Removes folders whose containers are gone. Called once all are adopted. */
  started(): void {
    for (const id of readdirSync(this.#folder))
      if (!this.#running.has(id) && !this.#starting.has(id)) rmSync(join(this.#folder, id), { recursive: true, force: true });
    this.shorten();
  }

  shorten(): void {
    this.#records.shorten(this.#deps.now() - this.#deps.keepFor);
  }

  close(): void {
    for (const run of this.#running.values()) run.close();
    this.#departures.close();
  }

  hint(container: string, ended: { readonly exitCode: number; readonly at: number } | undefined): void {
    for (const run of this.#running.values()) {
      if (run.container !== container) continue;
      if (ended === undefined) run.look();
      else run.noteEnd(ended.exitCode, ended.at);
    }
  }

  lookAtAll(): void {
    for (const run of this.#running.values()) run.look();
  }

  /** Ends what is over its deadline and removes what has ended. */
  look(): void {
    const now = this.#deps.now();
    for (const run of this.#running.values()) {
      const { phase, startedAt, ending } = run.state;
      const deadline = run.order.task?.deadline;
      if (phase === "running" && ending === undefined && startedAt !== undefined && deadline !== undefined && now - startedAt > deadline)
        run.end(cause("task_deadline", { waited: measured(deadline) }));
    }
    this.#departures.look();
  }

  /** Returns when the run is on its way; does nothing for an id that was seen before. Errors: `stale_generation`. */
  async start(task: TaskRun, fence: Fence): Promise<void> {
    const { now, fences } = this.#deps;
    const { ref, artifact } = task.workload;
    const starting = this.#starting.get(task.id);
    if (starting !== undefined) return starting.done;
    if (this.#records.read(task.id) !== undefined) return;
    fences.pass(ref, fence);
    if (artifact.kind !== "image") throw new EngineFailure(cause("artifact_missing", { digest: artifact.digest }), { retryable: false });
    const startedAt = new Date(now()).toISOString();
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
    const done = this.#begin(task, fence, startedAt).finally(() => {
      this.#starting.delete(task.id);
    });
    this.#starting.set(task.id, { ref, stackId: task.workload.stackId, startedAt, done });
    return done;
  }

  async #begin(task: TaskRun, fence: Fence, startedAt: string): Promise<void> {
    const { daemon, networks, doors, now } = this.#deps;
    const { id } = task;
    const { ref, stackId } = task.workload;
    // Nobody routes to a task, and it is never started a second time.
    const workload = { ...task.workload, probes: {}, ports: [], restart: "never" as const };
    try {
      await networks.open(stackId, ref.stack);
      const order: ContainerOrder = {
        id,
        ref,
        track: "stable",
        restart: 0,
        workload,
        fence,
        createdAt: now(),
        address: networks.take(stackId, id),
        task: { command: task.command, deadline: task.deadline, tty: task.tty },
      };
      const container = await daemon.create(order, doors.hostsFile(stackId));
      const run = Contained.open(order, container, this.#containedDeps());
      this.#running.set(id, run);
      run.look();
    } catch (error) {
      networks.release(id);
      this.#records.write(id, {
        ref,
        state: { id, phase: "failed", startedAt, endedAt: startedAt, cause: cause("start_failed", { reason: errorText(error) }) },
      });
    }
  }

  async state(id: string): Promise<TaskAnswer | undefined> {
    const run = this.#running.get(id);
    if (run !== undefined) return { ref: run.order.ref, state: await stateOf(run) };
    const starting = this.#starting.get(id);
    if (starting !== undefined) return { ref: starting.ref, state: { id, phase: "running", startedAt: starting.startedAt } };
    return this.#records.read(id);
  }

  left(ref: Ref): number {
    const running = [...this.#running.values()].filter((run) => refKey(run.order.ref) === refKey(ref) && !this.#departures.has(run.id));
    const starting = [...this.#starting.values()].filter((one) => refKey(one.ref) === refKey(ref));
    return running.length + starting.length + this.#departures.count(ref);
  }

  has(stackId: string): boolean {
    return (
      [...this.#running.values()].some((run) => run.order.workload.stackId === stackId) ||
      [...this.#starting.values()].some((one) => one.stackId === stackId) ||
      this.#departures.ofStack(stackId)
    );
  }

  async cancel(id: string, grace: number): Promise<void> {
    await this.#starting.get(id)?.done;
    this.#running.get(id)?.stop(grace);
  }

  get #folder(): string {
    return join(this.#deps.home, "edge", "tasks");
  }

  #containedDeps(): ContainedDeps {
    const { daemon, home, stalls, now, say } = this.#deps;
    return {
      daemon,
      folder: this.#folder,
      logsDir: join(home, "logs"),
      stalls,
      now,
      say,
      onChange: (run) => {
        if (run.state.phase === "exited") this.#depart(run);
      },
      onReady: () => undefined,
      onGone: (run) => this.#depart(run),
    };
  }

  /** The outcome is written before the container goes: after a crash in between it is found again, and the outcome is written again. */
  #depart(run: Contained): void {
    if (this.#departures.has(run.id) || this.#running.get(run.id) !== run) return;
    this.#departures.add(run, async () => {
      await this.#keep(run);
      this.#running.delete(run.id);
      this.#deps.networks.release(run.id);
    });
    this.#keep(run).catch((error: unknown) => this.#deps.say("outcome not kept", { task: run.id, error: errorText(error) }));
  }

  async #keep(run: Contained): Promise<void> {
    this.#records.write(run.id, { ref: run.order.ref, state: await stateOf(run) });
  }
}

const stateOf = (run: Contained): Promise<TaskState> => taskStateOf(run, run.order.createdAt);
