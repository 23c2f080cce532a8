// What all engines have in common whose instances belong to an agent: orders and questions to it and to its collector, over their unix sockets.
// It keeps nothing in memory that matters: any control plane may go on where another stopped.
import { holdsSecret } from "../workload.ts";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "@berth/contract/spec.ts";
import { BerthError } from "../../core/errors.ts";
import {
  EngineFailure,
  type Capabilities,
  type Engine,
  type Epoch,
  type Fence,
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
  type VolumePort,
  type Workload,
} from "../engine.ts";
import {
  refKey,
  type CapabilitiesAnswer,
  type EnsureRequest,
  type ForgetLogsAnswer,
  type LeftAnswer,
  type ObserveAnswer,
  type RecordsAnswer,
  type RemoveRequest,
  type StackUse,
  type StartTaskRequest,
  type StopRequest,
  type TaskAnswer,
  type UsageAnswer,
  type WatchLine,
} from "./protocol.ts";
import { dialThrough } from "../dial.ts";
import { openSession } from "./session.ts";
import { SocketClient } from "./socket.ts";

/** ms that lines of a run may lag behind its end, where the agent is an older one and does not say whether all are read. */
const unsaid = 300;

export interface AgentEngineDeps {
  readonly agentSocket: string;
  readonly logsSocket: string;
  /** Named in causes. */
  readonly cluster: string;
  /** The socket through which instances are reached; absent: they are on this machine. */
  readonly dialSocket?: string;
}

export abstract class AgentEngine implements Engine {
  abstract readonly kind: Engine["kind"];
  abstract readonly volumes: VolumePort;
  protected readonly agent: SocketClient;
  protected readonly logsClient: SocketClient;
  readonly #agentSocket: string;
  readonly #dialSocket: string | undefined;

  constructor(deps: AgentEngineDeps) {
    this.#agentSocket = deps.agentSocket;
    this.#dialSocket = deps.dialSocket;
    this.agent = new SocketClient(deps.agentSocket, deps.cluster);
    this.logsClient = new SocketClient(deps.logsSocket, deps.cluster);
  }

  abstract prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void>;
  abstract forget(
    stack: { readonly id: string; readonly name: string; readonly volumes: "kept" | "none" },
    signal: AbortSignal,
  ): Promise<boolean>;
  /** What is known of a place whose agent does not answer. */
  protected abstract readonly unreached: Pick<Capabilities, "isolation" | "volumes">;
  /** What `render` calls it, before its name. */
  protected abstract readonly rendered: string;

  async capabilities(signal: AbortSignal): Promise<Capabilities> {
    try {
      return ((await this.agent.call("GET", "/v1/capabilities", undefined, signal)) as CapabilitiesAnswer).capabilities;
    } catch (error) {
      if (!(error instanceof EngineFailure)) throw error;
      return {
        reachable: false,
        version: "",
        ...this.unreached,
        tcp: true,
        weights: true,
        limits: { memory: false, cpu: false, processes: false },
        notices: [
          {
            code: error.failure.code,
            params: Object.fromEntries(Object.entries(error.failure.params).map(([key, value]) => [key, String(value)])),
          },
        ],
      };
    }
  }

  render(workload: Workload): { readonly name: string; readonly body: unknown }[] {
    const env = Object.fromEntries(
      Object.entries(workload.env).map(([key, value]) => [key, holdsSecret(workload, value) ? "(secret)" : value]),
    );
    const { secretValues: _hidden, record: _record, ...rest } = workload;
    return [{ name: `${this.rendered} ${refKey(workload.ref)}`, body: { ...rest, env } }];
  }

  async ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.agent.call("PUT", "/v1/instances", { target, fence } satisfies EnsureRequest, signal);
  }

  async stop(ref: Ref, instances: readonly string[], grace: number, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.agent.call("POST", "/v1/instances/stop", { ref, instances, grace, fence } satisfies StopRequest, signal);
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.agent.call("DELETE", "/v1/components", { ref, fence } satisfies RemoveRequest, signal);
  }

  async forgetComponent(ref: Ref, signal: AbortSignal): Promise<boolean> {
    const { left } = (await this.agent.call("GET", `/v1/left/${ref.stack}/${ref.component}`, undefined, signal)) as LeftAnswer;
    return (
      left === 0 &&
      ((await this.logsClient.call("DELETE", `/v1/logs/${ref.stack}/${ref.component}`, undefined, signal)) as ForgetLogsAnswer).forgotten
    );
  }

  /** Whether nothing of the stack lives any more, and its logs are gone. The name may be given again, to somebody who must not read what was written under it before. */
  protected async hasEnded({ id, name }: { readonly id: string; readonly name: string }, signal: AbortSignal): Promise<boolean> {
    const { ending } = (await this.agent.call("GET", `/v1/stacks/${id}`, undefined, signal)) as StackUse;
    if (ending) return false;
    return ((await this.logsClient.call("DELETE", `/v1/logs/${name}`, undefined, signal)) as ForgetLogsAnswer).forgotten;
  }

  async observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    return ((await this.agent.call("GET", `/v1/components/${ref.stack}/${ref.component}`, undefined, signal)) as ObserveAnswer).observed[0];
  }

  async *list(signal: AbortSignal): AsyncGenerator<Observed> {
    yield* ((await this.agent.call("GET", "/v1/components", undefined, signal)) as ObserveAnswer).observed;
  }

  async *records(signal: AbortSignal): AsyncGenerator<InstanceRecord> {
    yield* ((await this.agent.call("GET", "/v1/records", undefined, signal)) as RecordsAnswer).records;
  }

  async raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void> {
    await this.agent.call("PUT", "/v1/epoch", epoch, signal);
  }

  async *logs(ref: Ref, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    const query = new URLSearchParams({ follow: String(options.follow) });
    for (const key of ["instance", "since", "after"] as const) if (options[key] !== undefined) query.set(key, options[key]);
    if (options.tail !== undefined) query.set("tail", String(options.tail));
    for await (const line of this.logsClient.lines(`/v1/logs/${ref.stack}/${ref.component}?${query.toString()}`, signal))
      yield JSON.parse(line) as LogLine;
  }

  async exec(
    ref: Ref,
    instance: string,
    command: Command,
    tty: { readonly columns: number; readonly rows: number } | undefined,
    signal: AbortSignal,
  ): Promise<Session> {
    const observed = await this.observe(ref, signal);
    if (observed?.instances.some((one) => one.id === instance) !== true)
      throw new BerthError("not_found", { kind: "instance", name: instance, hint: "`berth status` shows the instances there are." });
    return openSession(this.#agentSocket, { ref, instance, command, ...(tty === undefined ? {} : { tty }) }, signal).catch(
      (error: unknown) => {
        throw error instanceof BerthError ? error : this.agent.unreachable(error, signal);
      },
    );
  }

  async forward(ref: Ref, instance: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const found = (await this.observe(ref, signal))?.instances.find((one) => one.id === instance);
    if (found === undefined)
      throw new BerthError("not_found", { kind: "instance", name: instance, hint: "`berth status` shows the instances there are." });
    // Only the instance's own ports: this must not become a way to everything on the loopback.
    const address = Object.values(found.addresses).find((one) => one.port === port);
    if (address === undefined)
      throw new BerthError("not_found", {
        kind: "port",
        name: String(port),
        hint: `It has ${
          Object.values(found.addresses)
            .map((one) => one.port)
            .join(", ") || "none"
        }.`,
      });
    try {
      return await (this.#dialSocket === undefined ? dial(address, signal) : dialThrough(this.#dialSocket, address, signal));
    } catch (error) {
      signal.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      throw new BerthError("wrong_state", { verb: "forward", reason, hint: "See whether the instance is ready." }, { cause: error });
    }
  }

  async startTask(task: TaskRun, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.agent.call("PUT", "/v1/tasks", { task, fence } satisfies StartTaskRequest, signal);
  }

  async task(id: string, signal: AbortSignal): Promise<TaskState | undefined> {
    return (await this.#task(id, signal))?.state;
  }

  async #task(id: string, signal: AbortSignal): Promise<TaskAnswer | undefined> {
    try {
      return (await this.agent.call("GET", `/v1/tasks/${encodeURIComponent(id)}`, undefined, signal)) as TaskAnswer;
    } catch (error) {
      if (error instanceof BerthError && error.code === "not_found") return undefined;
      throw error;
    }
  }

  async cancelTask(id: string, grace: number, signal: AbortSignal): Promise<void> {
    await this.agent.call("POST", `/v1/tasks/${encodeURIComponent(id)}/cancel`, { grace }, signal);
  }

  async *taskLogs(id: string, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    const found = await this.#task(id, signal);
    if (found === undefined) return;
    const ended = new AbortController();
    const both = AbortSignal.any([signal, ended.signal]);
    const watching = options.follow ? this.#untilEnded(id, both).then(() => ended.abort()) : Promise.resolve();
    watching.catch(() => ended.abort());
    let last: string | undefined;
    for await (const line of this.logs(found.ref, { ...options, instance: id }, both)) {
      last = line.cursor;
      yield line;
    }
    // The run has ended, and all that it wrote is there.
    if (options.follow && !signal.aborted)
      yield* this.logs(found.ref, { ...options, follow: false, instance: id, ...(last === undefined ? {} : { after: last }) }, signal);
    ended.abort();
  }

  async #untilEnded(id: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const found = await this.#task(id, signal);
      const running = found?.state.phase === "running";
      // Its last lines are on their way through the collector, which takes its time where much else is to be done.
      if (!running && found?.read !== false) {
        if (found?.read === undefined) await sleep(unsaid);
        return;
      }
      await sleep(running ? 200 : 20);
    }
  }

  async usage(refs: readonly Ref[], signal: AbortSignal): Promise<Usage[]> {
    return [...((await this.agent.call("POST", "/v1/usage", { refs }, signal)) as UsageAnswer).usage];
  }

  async watch(onChange: (ref: Ref) => void, signal: AbortSignal): Promise<void> {
    for await (const line of this.agent.lines("/v1/watch", signal)) onChange((JSON.parse(line) as WatchLine).ref);
  }

  async close(): Promise<void> {
    await Promise.all([this.agent.close(), this.logsClient.close()]);
  }
}

function dial(address: { readonly host: string; readonly port: number }, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...address, signal });
    socket.once("connect", () => resolve(socket)).once("error", reject);
  });
}
