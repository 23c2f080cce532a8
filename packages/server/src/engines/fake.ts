// An engine in memory that behaves as the real ones do (the conformance suite runs over it too): for tests of the planner, with a clock that the test holds.
// Nothing happens by itself: what became of an instance is worked out from the time that has passed whenever somebody looks.
import { programOf, taskState, type FakeTask } from "./fake-tasks.ts";
import { FakeVolumes } from "./fake-volumes.ts";
import { holdsSecret } from "./workload.ts";
import { PassThrough, type Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { Command } from "@berth/contract/spec.ts";
import { BerthError } from "../core/errors.ts";
import {
  EngineFailure,
  type Capabilities,
  type Engine,
  type Epoch,
  type Fence,
  type Instance,
  type InstanceRecord,
  type LogLine,
  type LogOptions,
  type Observed,
  type Ref,
  type Session,
  type TaskRun,
  type TaskState,
  type TrackTarget,
  type Usage,
  type Workload,
} from "./engine.ts";

/** What the program of a release does; times are ms. */
export interface Behaviour {
  /** From the start of the process; Infinity: never. */
  readonly readyAfter?: number;
  /** Ends by itself after so long, every time; absent: runs on. */
  readonly exitAfter?: number;
  readonly exitCode?: number;
  /** From SIGTERM to its end; beyond the grace period it is killed. */
  readonly stopAfter?: number;
  /** `prepare` fails with this cause. */
  readonly prepareFails?: Cause;
  readonly retryable?: boolean;
}

interface FakeInstance {
  readonly id: string;
  readonly target: TrackTarget;
  readonly createdAt: number;
  readonly port: number;
  stopping?: { readonly at: number; readonly grace: number };
}
const backoffFirst = 100;
const backoffMost = 30_000;
const key = (ref: Ref): string => `${ref.stack}/${ref.component}`;
const iso = (at: number): string => new Date(at).toISOString();

export interface FakeEngineDeps {
  readonly now: () => number;
  readonly cluster?: string;
}

export class FakeEngine implements Engine {
  readonly kind = "local";
  readonly #deps: FakeEngineDeps;
  readonly #instances: FakeInstance[] = [];
  readonly #fences = new Map<string, Fence>();
  readonly #behaviours = new Map<string, Behaviour>();
  readonly #tasks = new Map<string, FakeTask>();
  readonly #lines: (LogLine & { readonly ref: Ref })[] = [];
  readonly #watchers = new Set<(ref: Ref) => void>();
  #counter = 0;
  #epoch = 0;
  /** false: every call fails as if the cluster were away. */
  reachable = true;
  isolation: Capabilities["isolation"] = ["uid"];
  /** What was asked for, in order: for tests that look at the planner's traces. */
  readonly calls: { readonly call: string; readonly ref?: Ref; readonly detail?: unknown }[] = [];

  constructor(deps: FakeEngineDeps) {
    this.#deps = deps;
  }

  /** From now on the release's program does this, also in instances that run already. */
  behave(releaseHash: string, behaviour: Behaviour): void {
    this.#behaviours.set(releaseHash, behaviour);
  }

  /** Lets an instance write a line. */
  write(ref: Ref, instance: string, text: string): void {
    this.#lines.push({ ref, at: iso(this.#deps.now()), instance, stream: "stdout", text, cursor: String(this.#lines.length + 1) });
  }

  async capabilities(signal: AbortSignal): Promise<Capabilities> {
    signal.throwIfAborted();
    return {
      reachable: this.reachable,
      version: "fake",
      isolation: this.isolation,
      tcp: true,
      weights: true,
      volumes: "mount",
      limits: { memory: false, cpu: false, processes: false },
      notices: [],
    };
  }

  render(workload: Workload): { readonly name: string; readonly body: unknown }[] {
    const { secretValues: _secretValues, record: _record, ...rest } = workload;
    return [
      {
        name: `process ${key(workload.ref)}`,
        body: {
          ...rest,
          env: Object.fromEntries(
            Object.entries(workload.env).map(([name, value]) => [name, holdsSecret(workload, value) ? "(secret)" : value]),
          ),
        },
      },
    ];
  }

  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    this.#enter("prepare", workload.ref, workload.releaseHash, signal);
    if (workload.artifact.kind === "image")
      throw new EngineFailure(
        cause("image_needs_container_engine", { component: workload.ref.component, image: workload.artifact.reference }),
        { retryable: false },
      );
    this.#pass(workload.ref, fence);
    const { prepareFails, retryable } = this.#behaviour(workload);
    if (prepareFails !== undefined) throw new EngineFailure(prepareFails, { retryable: retryable === true });
    this.volumes.ensure(
      workload.stackId,
      workload.volumes.map((mount) => mount.volume),
    );
  }

  async ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void> {
    this.#enter(
      "ensure",
      target.ref,
      { track: target.track, releaseHash: target.workload.releaseHash, restart: target.restart, replicas: target.replicas },
      signal,
    );
    this.#pass(target.ref, fence);
    const alike = this.#of(target.ref).filter(
      (one) =>
        one.target.track === target.track &&
        one.target.workload.releaseHash === target.workload.releaseHash &&
        one.target.restart === target.restart &&
        one.stopping === undefined &&
        target.leaving?.includes(one.id) !== true,
    );
    for (let missing = target.replicas - alike.length; missing > 0; missing -= 1) {
      this.#counter += 1;
      this.#instances.push({
        id: `${target.ref.component}-${this.#counter.toString(32).padStart(6, "a")}`,
        target,
        createdAt: this.#deps.now(),
        port: 20_000 + this.#counter,
      });
      this.#changed(target.ref);
    }
  }

  async stop(ref: Ref, instances: readonly string[], grace: number, fence: Fence, signal: AbortSignal): Promise<void> {
    this.#enter("stop", ref, instances, signal);
    this.#pass(ref, fence);
    for (const one of this.#of(ref)) if (instances.includes(one.id)) this.#end(one, grace);
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    this.#enter("remove", ref, undefined, signal);
    this.#pass(ref, fence);
    for (const one of this.#of(ref)) this.#end(one, one.target.workload.gracePeriod);
  }

  async forgetComponent(ref: Ref, signal: AbortSignal): Promise<boolean> {
    this.#enter("forgetComponent", ref, undefined, signal);
    if (this.#of(ref).length > 0) return false;
    const kept = this.#lines.filter((line) => key(line.ref) !== key(ref));
    this.#lines.splice(0, this.#lines.length, ...kept);
    return true;
  }

  async observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    this.#enter("observe", ref, undefined, signal);
    return this.#observed(ref);
  }

  async *list(signal: AbortSignal): AsyncGenerator<Observed> {
    this.#enter("list", undefined, undefined, signal);
    const refs = new Map(this.#instances.map((one) => [key(one.target.ref), one.target.ref]));
    for (const ref of refs.values()) {
      const observed = this.#observed(ref);
      if (observed !== undefined) yield observed;
    }
  }

  async *records(signal: AbortSignal): AsyncGenerator<InstanceRecord> {
    this.#enter("records", undefined, undefined, signal);
    this.#forgetEnded();
    yield* this.#instances.map(({ id, target: { ref, track, restart, workload }, createdAt, stopping }) => ({
      id,
      ref,
      track,
      restart,
      createdAt: iso(createdAt),
      stopping: stopping !== undefined,
      workload,
    }));
  }

  async raiseEpoch({ epoch }: Epoch, signal: AbortSignal): Promise<void> {
    this.#enter("raiseEpoch", undefined, epoch, signal);
    if (epoch < this.#epoch) throw new BerthError("stale_generation", { seen: `epoch ${this.#epoch}`, given: epoch });
    this.#epoch = epoch;
  }

  async *logs(ref: Ref, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    this.#enter("logs", ref, undefined, signal);
    let at = 0;
    const fits = (line: LogLine & { readonly ref: Ref }): boolean =>
      key(line.ref) === key(ref) &&
      (options.instance === undefined || line.instance === options.instance) &&
      (options.since === undefined || line.at >= options.since) &&
      Number(line.cursor) > Number(options.after ?? 0);
    const first = this.#lines.filter(fits);
    at = this.#lines.length;
    yield* first.slice(options.tail === undefined ? 0 : Math.max(0, first.length - options.tail)).map(plainLine);
    while (options.follow && !signal.aborted) {
      const fresh = this.#lines.slice(at).filter(fits);
      at = this.#lines.length;
      yield* fresh.map(plainLine);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Says its command and ends with 0. */
  async exec(
    ref: Ref,
    instance: string,
    command: Command,
    _tty: { readonly columns: number; readonly rows: number } | undefined,
    signal: AbortSignal,
  ): Promise<Session> {
    this.#enter("exec", ref, instance, signal);
    this.#find(ref, instance);
    const stream = new PassThrough();
    stream.end(`${"exec" in command ? command.exec.join(" ") : command.shell}\n`);
    return { stream, resize: () => undefined, exit: Promise.resolve({ exitCode: 0 }) };
  }

  async forward(ref: Ref, instance: string, port: number, signal: AbortSignal): Promise<Duplex> {
    this.#enter("forward", ref, instance, signal);
    if (this.#find(ref, instance).port !== port)
      throw new BerthError("not_found", { kind: "port", name: String(port), hint: "It has another port." });
    return new PassThrough();
  }

  /** `exit N`, `sleep SECONDS` and `echo WORDS`, one after another, do what they say; every other command succeeds at once. */
  async startTask(task: TaskRun, fence: Fence, signal: AbortSignal): Promise<void> {
    this.#enter("startTask", task.workload.ref, task.id, signal);
    if (this.#tasks.has(task.id)) return;
    this.#pass(task.workload.ref, fence);
    this.#tasks.set(task.id, { run: task, startedAt: this.#deps.now() });
  }

  async task(id: string, signal: AbortSignal): Promise<TaskState | undefined> {
    this.#enter("task", undefined, id, signal);
    const task = this.#tasks.get(id);
    return task === undefined ? undefined : taskState(task, this.#deps.now());
  }

  async cancelTask(id: string, _grace: number, signal: AbortSignal): Promise<void> {
    this.#enter("cancelTask", undefined, id, signal);
    const task = this.#tasks.get(id);
    if (task !== undefined) task.cancelledAt ??= this.#deps.now();
  }

  async *taskLogs(id: string, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    this.#enter("taskLogs", undefined, id, signal);
    const task = this.#tasks.get(id);
    if (task === undefined) return;
    for (const { after, text } of programOf(task.run).lines) {
      const at = task.startedAt + after;
      while (options.follow && this.#deps.now() < at) await sleep(5, undefined, { signal });
      if (this.#deps.now() >= at) yield { at: iso(at), instance: id, stream: "stdout", text, cursor: `${String(at)} ${text}` };
    }
    while (options.follow && taskState(task, this.#deps.now()).phase === "running") await sleep(5, undefined, { signal });
  }

  async usage(refs: readonly Ref[], signal: AbortSignal): Promise<Usage[]> {
    this.#enter("usage", undefined, refs, signal);
    const now = this.#deps.now();
    return refs.flatMap((ref) =>
      this.#of(ref).map((one) => ({
        ref,
        instance: one.id,
        at: iso(now),
        cpuSeconds: (now - one.createdAt) / 10_000,
        memory: 16_777_216,
        processes: 1,
      })),
    );
  }

  async forget(
    stack: { readonly id: string; readonly name: string; readonly volumes: "kept" | "none" },
    signal: AbortSignal,
  ): Promise<boolean> {
    this.#enter("forget", undefined, stack, signal);
    this.#forgetEnded();
    if (this.#instances.some((one) => one.target.ref.stack === stack.name)) return false;
    for (let at = this.#lines.length - 1; at >= 0; at -= 1) if (this.#lines[at]?.ref.stack === stack.name) this.#lines.splice(at, 1);
    if (stack.volumes === "none") this.volumes.forget(stack.id);
    return true;
  }

  readonly volumes = new FakeVolumes((stack, name) => this.#volumeUsers(stack, name));

  watch(onChange: (ref: Ref) => void, signal: AbortSignal): Promise<void> {
    this.#enter("watch", undefined, undefined, signal);
    this.#watchers.add(onChange);
    return new Promise((resolve) => {
      signal.addEventListener(
        "abort",
        () => {
          this.#watchers.delete(onChange);
          resolve();
        },
        { once: true },
      );
    });
  }

  #volumeUsers(stackId: string, name: string): string[] {
    this.#forgetEnded();
    return [
      ...new Set(
        this.#instances
          .filter((one) => one.target.workload.stackId === stackId && one.target.workload.volumes.some((mount) => mount.volume === name))
          .map((one) => one.target.ref.component),
      ),
    ];
  }

  #enter(call: string, ref: Ref | undefined, detail: unknown, signal: AbortSignal): void {
    signal.throwIfAborted();
    if (!this.reachable)
      throw new EngineFailure(
        cause("cluster_unreachable", { cluster: this.#deps.cluster ?? "fake", reason: "it was told not to answer" }),
        { retryable: true },
      );
    this.calls.push({ call, ...(ref === undefined ? {} : { ref }), ...(detail === undefined ? {} : { detail }) });
  }

  #pass(ref: Ref, fence: Fence): void {
    const known = this.#fences.get(key(ref));
    if (fence.epoch < this.#epoch) throw new BerthError("stale_generation", { seen: `epoch ${this.#epoch}`, given: fence.epoch });
    if (known !== undefined && known.epoch === fence.epoch && fence.generation < known.generation)
      throw new BerthError("stale_generation", { seen: known.generation, given: fence.generation });
    if (known !== undefined && known.installation !== fence.installation)
      throw new BerthError("wrong_state", {
        verb: "This order",
        reason: "this machine belongs to another installation of Berth",
        hint: "",
      });
    this.#epoch = Math.max(this.#epoch, fence.epoch);
    this.#fences.set(key(ref), fence);
  }

  #behaviour(workload: Workload): Behaviour {
    return this.#behaviours.get(workload.releaseHash) ?? {};
  }

  #of(ref: Ref): FakeInstance[] {
    this.#forgetEnded();
    return this.#instances.filter((one) => key(one.target.ref) === key(ref));
  }

  #find(ref: Ref, id: string): FakeInstance {
    const found = this.#of(ref).find((one) => one.id === id);
    if (found === undefined) throw new BerthError("not_found", { kind: "instance", name: id, hint: "" });
    return found;
  }

  #end(instance: FakeInstance, grace: number): void {
    const at = this.#deps.now();
    const before = instance.stopping;
    instance.stopping = before === undefined ? { at, grace } : { at: before.at, grace: Math.min(before.grace, at - before.at + grace) };
    this.#changed(instance.target.ref);
  }

  #forgetEnded(): void {
    const now = this.#deps.now();
    for (const one of [...this.#instances]) {
      if (one.stopping === undefined) continue;
      const { stopAfter = 0 } = this.#behaviour(one.target.workload);
      if (now > one.stopping.at + Math.min(stopAfter, one.stopping.grace)) this.#instances.splice(this.#instances.indexOf(one), 1);
    }
  }

  #changed(ref: Ref): void {
    for (const watcher of this.#watchers) watcher(ref);
  }

  #observed(ref: Ref): Observed | undefined {
    const instances = this.#of(ref);
    const fence = this.#fences.get(key(ref));
    return instances.length === 0 || fence === undefined ? undefined : { ref, fence, instances: instances.map((one) => this.#view(one)) };
  }

  #view({ id, target, createdAt, port, stopping }: FakeInstance): Instance {
    const { workload, track, restart } = target;
    const life = lifeAt(this.#behaviour(workload), workload.restart, createdAt, this.#deps.now());
    const ready = stopping === undefined && life.readySince !== undefined;
    const { readySince, ...rest } = life;
    return {
      id,
      track,
      revision: { releaseHash: workload.releaseHash, restart },
      releaseNumber: workload.releaseNumber,
      probes: [],
      ...rest,
      ready,
      phase: stopping === undefined ? life.phase : "stopping",
      addresses: Object.fromEntries(workload.ports.map((one) => [one.name, { host: "127.0.0.1", port }])),
      ...(ready && readySince !== undefined ? { readySince } : {}),
      ...(!ready && stopping === undefined && life.lastExit !== undefined ? { cause: exitedCause(life.lastExit, workload) } : {}),
    };
  }
}

type Life = Pick<Instance, "phase" | "restarts" | "startedAt" | "readySince" | "lastExit" | "pid">;

/** Where a program is that behaves so and was first started then: each end is followed by a pause that doubles. */
function lifeAt(behaviour: Behaviour, policy: Workload["restart"], createdAt: number, now: number): Life {
  const { readyAfter = 0, exitAfter = Number.POSITIVE_INFINITY, exitCode = 1 } = behaviour;
  let startedAt = createdAt;
  let lastExit: Instance["lastExit"];
  for (let restarts = 0, pause = backoffFirst; ; restarts += 1, pause = Math.min(backoffMost, pause * 2)) {
    const endsAt = startedAt + exitAfter;
    const running = now < endsAt;
    if (running) {
      const readyAt = startedAt + readyAfter;
      return {
        phase: "running",
        restarts,
        startedAt: iso(startedAt),
        pid: 100_000 + restarts,
        ...(now >= readyAt ? { readySince: iso(readyAt) } : {}),
        ...(lastExit === undefined ? {} : { lastExit }),
      };
    }
    lastExit = { at: iso(endsAt), exitCode, ranFor: exitAfter, outOfMemory: false };
    if (policy === "never" || (policy === "on-failure" && exitCode === 0))
      return { phase: "exited", restarts, startedAt: iso(startedAt), lastExit };
    if (now < endsAt + pause) return { phase: "backoff", restarts: restarts + 1, startedAt: iso(startedAt), lastExit };
    startedAt = endsAt + pause;
  }
}

function exitedCause(exit: NonNullable<Instance["lastExit"]>, workload: Workload): Cause {
  const evidence = [{ kind: "exit" as const, at: exit.at, text: `exit code ${exit.exitCode ?? ""}` }];
  return exit.exitCode === 0
    ? cause("exited_zero", { kind: workload.kind }, evidence)
    : cause("exited_at_start", { exitCode: exit.exitCode ?? 1, after: `${exit.ranFor} ms` }, evidence);
}

function plainLine({ ref: _ref, ...line }: LogLine & { readonly ref: Ref }): LogLine {
  return line;
}
