// One-off runs of one agent, whatever they are: started at most once per id for ever, whatever crashes in between. The id is on disk before the start, and stays
// there after everything else of the run is gone.
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { InstanceOrder } from "../../engines/agent/order.ts";
import { refKey, type TaskAnswer } from "../../engines/agent/protocol.ts";
import { EngineFailure, type Fence, type Ref, type TaskRun, type TaskState, type Workload } from "../../engines/engine.ts";
import type { Say } from "../complaints.ts";
import type { Departures } from "./departures.ts";
import type { Fences } from "./fences.ts";
import { errorText } from "./files.ts";
import type { State } from "./record.ts";
import type { Member } from "./member.ts";
import type { TaskOrders } from "./orders.ts";
import { TaskRecords } from "./task-records.ts";

export interface TaskRunsDeps {
  readonly home: string;
  readonly now: () => number;
  readonly say: Say;
  readonly fences: Fences;
  /** ms that the cause of an ended run is told; its id and its exit code are remembered for ever. */
  readonly keepFor: number;
}

interface Starting {
  readonly ref: Ref;
  readonly stackId: string;
  readonly startedAt: string;
  readonly done: Promise<void>;
}

export abstract class TaskRuns<T extends Member & { readonly state: Readonly<State> }> implements TaskOrders {
  protected readonly running = new Map<string, T>();
  protected abstract readonly departures: Departures<T>;
  readonly #deps: TaskRunsDeps;
  readonly #records: TaskRecords;
  /** What is being written down and started: its record on disk says for that time that it was lost, which nobody is to be told. */
  readonly #starting = new Map<string, Starting>();

  constructor(deps: TaskRunsDeps) {
    this.#deps = deps;
    this.#records = new TaskRecords(join(deps.home, "edge", "task-records"));
  }

  /** Why this agent cannot run such a workload at all. */
  protected abstract refusal(workload: Workload): Cause | undefined;
  /** Makes the run and begins it. */
  protected abstract create(order: InstanceOrder): Promise<T>;
  /** What a run held besides itself is free again. */
  protected abstract release(id: string): void;

  close(): void {
    for (const run of this.running.values()) run.close();
    this.departures.close();
  }

  /** Returns when the run is on its way; does nothing for an id that was seen before. Errors: `stale_generation`, EngineFailure. */
  async start(task: TaskRun, fence: Fence): Promise<void> {
    const { now, fences } = this.#deps;
    const { id } = task;
    const { ref, stackId } = task.workload;
    const starting = this.#starting.get(id);
    if (starting !== undefined) return starting.done;
    if (this.#records.read(id) !== undefined) return;
    fences.pass(ref, fence);
    const refusal = this.refusal(task.workload);
    if (refusal !== undefined) throw new EngineFailure(refusal, { retryable: false });
    const startedAt = new Date(now()).toISOString();
    this.#recordUnbegun(id, ref, startedAt, cause("run_lost", { reason: "Berth was ended before it began" }));
    const done = this.#begin(
      {
        id,
        ref,
        track: "stable",
        restart: 0,
        // A task has no address: nobody routes to it. And it is never started a second time.
        workload: { ...task.workload, probes: {}, ports: [], restart: "never" },
        fence,
        createdAt: now(),
        task: { command: task.command, tty: task.tty, deadline: task.deadline },
      },
      startedAt,
    ).finally(() => {
      this.#starting.delete(id);
    });
    this.#starting.set(id, { ref, stackId, startedAt, done });
    return done;
  }

  async #begin(order: InstanceOrder, startedAt: string): Promise<void> {
    const { id, ref } = order;
    try {
      this.running.set(id, await this.create(order));
    } catch (error) {
      this.release(id);
      this.#recordUnbegun(id, ref, startedAt, cause("start_failed", { reason: errorText(error) }));
    }
  }

  #recordUnbegun(id: string, ref: Ref, startedAt: string, why: Cause): void {
    this.#records.write(id, { ref, state: { id, phase: "failed", startedAt, endedAt: startedAt, cause: why } });
  }

  async state(id: string): Promise<TaskAnswer | undefined> {
    const found = await this.#state(id);
    if (found === undefined || found.state.phase === "running") return found;
    // Until note was taken of its end nobody has looked for its last lines.
    const isNoted = !this.running.has(id) || this.departures.has(id);
    return { ...found, read: isNoted && this.departures.isRead(id) };
  }

  async #state(id: string): Promise<TaskAnswer | undefined> {
    const run = this.running.get(id);
    if (run !== undefined) return { ref: run.spec.ref, state: await stateOf(run) };
    const starting = this.#starting.get(id);
    if (starting !== undefined) return { ref: starting.ref, state: { id, phase: "running", startedAt: starting.startedAt } };
    return this.#records.read(id);
  }

  /** Runs of a component that have not ended, or whose folders are still there. */
  left(ref: Ref): number {
    const key = refKey(ref);
    const running = [...this.running.values()].filter((run) => refKey(run.spec.ref) === key && !this.departures.has(run.id));
    const starting = [...this.#starting.values()].filter((one) => refKey(one.ref) === key);
    return running.length + starting.length + this.departures.count(ref);
  }

  /** Whether a run of the stack lives, or waits for its last lines to be read. */
  has(stackId: string): boolean {
    return (
      [...this.running.values()].some((run) => run.spec.workload.stackId === stackId) ||
      [...this.#starting.values()].some((one) => one.stackId === stackId) ||
      this.departures.ofStack(stackId)
    );
  }

  async cancel(id: string, grace: number): Promise<void> {
    await this.#starting.get(id)?.done;
    this.running.get(id)?.stop(grace);
  }

  /** Records that are old enough are made small. */
  shorten(): void {
    this.#records.shorten(this.#deps.now() - this.#deps.keepFor);
  }

  protected isStarting(id: string): boolean {
    return this.#starting.has(id);
  }

  /** One of an earlier agent that had ended and was on its way out. */
  protected adoptEnded(run: T): void {
    const told = this.#records.read(run.id)?.state;
    // What was told stays: it may come from files that are gone by now.
    if (told !== undefined && told.cause?.code !== "run_lost") {
      this.departures.add(run, () => this.release(run.id));
      return;
    }
    this.running.set(run.id, run);
    this.#depart(run);
  }

  /** Takes note of its end, if it has. */
  protected noteEnd(run: T): void {
    if (run.state.phase !== "exited" || this.departures.has(run.id) || this.running.get(run.id) !== run) return;
    this.#depart(run);
  }

  /** The outcome is written before anything of it goes: after a crash in between it is found again, and the outcome is written again. */
  #depart(run: T): void {
    this.departures.add(run, async () => {
      await this.#keep(run);
      this.running.delete(run.id);
      this.release(run.id);
    });
    this.#keep(run).catch((error: unknown) => this.#deps.say("outcome not kept", { task: run.id, error: errorText(error) }));
  }

  async #keep(run: T): Promise<void> {
    this.#records.write(run.id, { ref: run.spec.ref, state: await stateOf(run) });
  }
}

async function stateOf(run: Member & { readonly state: Readonly<State> }): Promise<TaskState> {
  const { state } = run;
  const startedAt = new Date(state.startedAt ?? run.spec.createdAt).toISOString();
  if (state.phase !== "exited") return { id: run.id, phase: "running", startedAt };
  const { lastExit } = state;
  const endedAt = lastExit?.at ?? startedAt;
  if (lastExit?.exitCode === 0 && state.lastCause?.code !== "task_deadline")
    return { id: run.id, phase: "succeeded", exitCode: 0, startedAt, endedAt };
  const why = (await run.view()).cause;
  return {
    id: run.id,
    phase: "failed",
    startedAt,
    endedAt,
    ...(lastExit?.exitCode === undefined ? {} : { exitCode: lastExit.exitCode }),
    ...(lastExit?.signal === undefined ? {} : { signal: lastExit.signal }),
    ...(why === undefined ? {} : { cause: why }),
  };
}
