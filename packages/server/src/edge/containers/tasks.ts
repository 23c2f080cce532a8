// One-off runs in containers of their own.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import type { InstanceOrder } from "../../engines/agent/order.ts";
import type { ContainerOrder } from "../../engines/docker/labels.ts";
import type { Workload } from "../../engines/engine.ts";
import type { Departures } from "../agent/departures.ts";
import { TaskRuns, type TaskRunsDeps } from "../agent/task-runs.ts";
import { adoptContained, containerDepartures, makeContained, refusalOf, type ContainersDeps } from "./begin.ts";
import type { Contained, ContainedDeps } from "./contained.ts";

export class ContainerTasks extends TaskRuns<Contained> {
  protected readonly departures: Departures<Contained>;
  readonly #deps: ContainersDeps;

  constructor(deps: ContainersDeps & Pick<TaskRunsDeps, "keepFor">) {
    super(deps);
    this.#deps = deps;
    this.departures = containerDepartures(deps);
  }

  /** Goes on with one that the daemon has. */
  adopt(order: ContainerOrder, container: string): void {
    if (this.#knows(order.id)) return;
    const run = adoptContained(order, container, this.#deps, this.#containedDeps());
    if (existsSync(join(run.dir, "ended"))) return this.adoptEnded(run);
    this.running.set(order.id, run);
    run.look();
  }

  /** Removes folders whose containers are gone. Called once all are adopted. */
  started(): void {
    for (const id of readdirSync(this.#folder)) if (!this.#knows(id)) rmSync(join(this.#folder, id), { recursive: true, force: true });
    this.shorten();
  }

  members(): Iterable<Contained> {
    return this.running.values();
  }

  /** Ends what is over its deadline and removes what has ended. */
  look(): void {
    const now = this.#deps.now();
    for (const run of this.running.values()) {
      const { phase, startedAt, ending } = run.state;
      const deadline = run.spec.task?.deadline;
      if (phase === "running" && ending === undefined && startedAt !== undefined && deadline !== undefined && now - startedAt > deadline)
        run.end(cause("task_deadline", { waited: measured(deadline) }));
    }
    this.departures.look();
  }

  protected refusal(workload: Workload): Cause | undefined {
    return refusalOf(workload);
  }

  protected async create(order: InstanceOrder): Promise<Contained> {
    const run = await makeContained(order, this.#deps, this.#containedDeps());
    run.look();
    return run;
  }

  protected release(id: string): void {
    this.#deps.networks.release(id);
  }

  #knows(id: string): boolean {
    return this.running.has(id) || this.departures.has(id) || this.isStarting(id);
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
      onChange: (run) => this.noteEnd(run),
      onReady: () => undefined,
      onGone: (run) => this.noteEnd(run),
    };
  }
}
