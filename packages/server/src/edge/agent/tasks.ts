// One-off runs that are processes of this machine.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import type { InstanceOrder } from "../../engines/agent/order.ts";
import type { Workload } from "../../engines/engine.ts";
import type { Departures } from "./departures.ts";
import type { Fences } from "./fences.ts";
import { Supervised, type InstanceDeps } from "./instance.ts";
import type { Machine } from "./machine.ts";
import type { StallWatch } from "./prober.ts";
import { processDepartures, refusalOf } from "./processes.ts";
import { readSpec, type Spec } from "./record.ts";
import { TaskRuns, type TaskRunsDeps } from "./task-runs.ts";

const sweepPeriod = 250;

export interface TasksDeps extends Pick<TaskRunsDeps, "keepFor"> {
  readonly machine: Machine;
  readonly fences: Fences;
  readonly stalls: StallWatch;
}

export class Tasks extends TaskRuns<Supervised> {
  protected readonly departures: Departures<Supervised>;
  readonly #deps: TasksDeps;
  #sweep: NodeJS.Timeout | undefined;
  #shortening: NodeJS.Timeout | undefined;

  constructor(deps: TasksDeps) {
    const { home, now, say } = deps.machine;
    super({ home, now, say, fences: deps.fences, keepFor: deps.keepFor });
    this.#deps = deps;
    this.departures = processDepartures(deps.machine);
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
      this.#adopt(spec, dir);
    }
    this.#sweep = setInterval(() => this.#look(), sweepPeriod);
    this.shorten();
    this.#shortening = setInterval(() => this.shorten(), 3_600_000);
  }

  #adopt(spec: Spec, dir: string): void {
    if (existsSync(join(dir, "ended"))) this.adoptEnded(Supervised.departed(spec, dir, this.#instanceDeps()));
    else this.running.set(spec.id, Supervised.adopt(spec, dir, this.#instanceDeps()));
  }

  override close(): void {
    clearInterval(this.#sweep);
    clearInterval(this.#shortening);
    super.close();
  }

  protected refusal(workload: Workload): Cause | undefined {
    return refusalOf(workload);
  }

  protected create(order: InstanceOrder): Promise<Supervised> {
    return Supervised.create({ ...order, ports: {} }, join(this.#deps.machine.tasksDir, order.id), this.#instanceDeps());
  }

  /** A run has no port. */
  protected release(): void {}

  #instanceDeps(): InstanceDeps {
    const { machine, stalls } = this.#deps;
    return { machine, stalls, onChange: (run) => this.noteEnd(run), onReady: () => undefined, onGone: (run) => this.noteEnd(run) };
  }

  #look(): void {
    const now = this.#deps.machine.now();
    for (const run of this.running.values()) {
      const { phase, startedAt } = run.state;
      if (phase === "exited") this.noteEnd(run);
      else if (phase !== "stopping" && startedAt !== undefined && run.spec.task !== undefined && now - startedAt > run.spec.task.deadline)
        run.end(cause("task_deadline", { waited: measured(run.spec.task.deadline) }));
      run.advance();
    }
    this.departures.look();
  }
}
