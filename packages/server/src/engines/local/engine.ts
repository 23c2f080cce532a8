// The local engine as the control plane sees it: orders and questions to the edge's agent and collector over their unix sockets.
// It keeps nothing in memory that matters: instances belong to the agent, and any control plane may go on where another stopped.
import { readdir, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { cause } from "@berth/contract/causes.ts";
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
import { pruneReleases, unpackBundle } from "./bundle.ts";
import {
  refKey,
  type CapabilitiesAnswer,
  type EnsureRequest,
  type FenceCheck,
  type ForgetLogsAnswer,
  type LeftAnswer,
  type ObserveAnswer,
  type RecordsAnswer,
  type RemoveRequest,
  type StackAnswer,
  type StackUse,
  type StartTaskRequest,
  type StopRequest,
  type TaskAnswer,
  type UsageAnswer,
  type WatchLine,
} from "./protocol.ts";
import { removeTree } from "./remove.ts";
import { openSession } from "./session.ts";
import { SocketClient } from "./socket.ts";
import { findTool } from "./tools.ts";

export interface LocalEngineDeps {
  /** Berth's home folder, shared with the agent. */
  readonly home: string;
  readonly agentSocket: string;
  readonly logsSocket: string;
  /** Named in causes. */
  readonly cluster: string;
  /** The bundle's bytes; rejects when it is not stored. */
  readonly openBlob: (digest: string) => Promise<Readable>;
}

const keptReleases = 3;

export class LocalEngine implements Engine {
  readonly kind = "local";
  readonly #deps: LocalEngineDeps;
  readonly #agent: SocketClient;
  readonly #logs: SocketClient;

  constructor(deps: LocalEngineDeps) {
    this.#deps = deps;
    this.#agent = new SocketClient(deps.agentSocket, deps.cluster);
    this.#logs = new SocketClient(deps.logsSocket, deps.cluster);
  }

  async capabilities(signal: AbortSignal): Promise<Capabilities> {
    try {
      return ((await this.#agent.call("GET", "/v1/capabilities", undefined, signal)) as CapabilitiesAnswer).capabilities;
    } catch (error) {
      if (!(error instanceof EngineFailure)) throw error;
      return {
        reachable: false,
        version: "",
        isolation: ["none"],
        tcp: true,
        weights: true,
        volumes: "env",
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
    const secret = (value: string): boolean => workload.secretValues.some((one) => one !== "" && value.includes(one));
    const env = Object.fromEntries(Object.entries(workload.env).map(([key, value]) => [key, secret(value) ? "(secret)" : value]));
    const { secretValues: _hidden, record: _record, ...rest } = workload;
    return [{ name: `process ${refKey(workload.ref)}`, body: { ...rest, env } }];
  }

  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    if (workload.artifact.kind === "image")
      throw new EngineFailure(
        cause("image_needs_container_engine", { component: workload.ref.component, image: workload.artifact.reference }),
        { retryable: false },
      );
    await this.#agent.call("POST", "/v1/fences", { ref: workload.ref, fence } satisfies FenceCheck, signal);
    const { dir, uid, gid } = (await this.#agent.call("PUT", `/v1/stacks/${workload.stackId}`, undefined, signal)) as StackAnswer;
    const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
    for (const tool of workload.tools) {
      const answer = await findTool(
        tool.name,
        tool.wanted,
        { ...(owner === undefined ? {} : { runAs: owner }), path: [], runtimeDir: join(this.#deps.home, "runtime") },
        signal,
      );
      if ("failure" in answer) throw new EngineFailure(answer.failure, { retryable: false });
    }
    const { digest } = workload.artifact;
    const releases = join(dir, "releases");
    const open = (): Promise<Readable> =>
      this.#deps.openBlob(digest).catch((error: unknown) => {
        throw new EngineFailure(cause("artifact_missing", { digest }), { retryable: false, cause: error });
      });
    await unpackBundle(open, join(releases, digest.replace(/^sha256:/, "")), owner, signal);
    const { releases: inUse } = (await this.#agent.call("GET", `/v1/stacks/${workload.stackId}`, undefined, signal)) as StackUse;
    await pruneReleases(releases, new Set([...inUse, digest]), keptReleases, Date.now());
  }

  async ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#agent.call("PUT", "/v1/instances", { target, fence } satisfies EnsureRequest, signal);
  }

  async stop(ref: Ref, instances: readonly string[], grace: number, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#agent.call("POST", "/v1/instances/stop", { ref, instances, grace, fence } satisfies StopRequest, signal);
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#agent.call("DELETE", "/v1/components", { ref, fence } satisfies RemoveRequest, signal);
  }

  async forgetComponent(ref: Ref, signal: AbortSignal): Promise<boolean> {
    const { left } = (await this.#agent.call("GET", `/v1/left/${ref.stack}/${ref.component}`, undefined, signal)) as LeftAnswer;
    return (
      left === 0 &&
      ((await this.#logs.call("DELETE", `/v1/logs/${ref.stack}/${ref.component}`, undefined, signal)) as ForgetLogsAnswer).forgotten
    );
  }

  async observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    return ((await this.#agent.call("GET", `/v1/components/${ref.stack}/${ref.component}`, undefined, signal)) as ObserveAnswer)
      .observed[0];
  }

  async *list(signal: AbortSignal): AsyncGenerator<Observed> {
    yield* ((await this.#agent.call("GET", "/v1/components", undefined, signal)) as ObserveAnswer).observed;
  }

  async *records(signal: AbortSignal): AsyncGenerator<InstanceRecord> {
    yield* ((await this.#agent.call("GET", "/v1/records", undefined, signal)) as RecordsAnswer).records;
  }

  async raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void> {
    await this.#agent.call("PUT", "/v1/epoch", epoch, signal);
  }

  async *logs(ref: Ref, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    const query = new URLSearchParams({ follow: String(options.follow) });
    for (const key of ["instance", "since", "after"] as const) if (options[key] !== undefined) query.set(key, options[key]);
    if (options.tail !== undefined) query.set("tail", String(options.tail));
    for await (const line of this.#logs.lines(`/v1/logs/${ref.stack}/${ref.component}?${query.toString()}`, signal))
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
    return openSession(this.#deps.agentSocket, { ref, instance, command, ...(tty === undefined ? {} : { tty }) }, signal).catch(
      (error: unknown) => {
        throw error instanceof BerthError ? error : this.#agent.unreachable(error, signal);
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
    const socket = connect({ ...address, signal });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", (error) =>
        reject(
          new BerthError(
            "wrong_state",
            { verb: "forward", reason: error.message, hint: "See whether the instance is ready." },
            { cause: error },
          ),
        ),
      );
    });
    return socket;
  }

  async startTask(task: TaskRun, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#agent.call("PUT", "/v1/tasks", { task, fence } satisfies StartTaskRequest, signal);
  }

  async task(id: string, signal: AbortSignal): Promise<TaskState | undefined> {
    return (await this.#task(id, signal))?.state;
  }

  async #task(id: string, signal: AbortSignal): Promise<TaskAnswer | undefined> {
    try {
      return (await this.#agent.call("GET", `/v1/tasks/${encodeURIComponent(id)}`, undefined, signal)) as TaskAnswer;
    } catch (error) {
      if (error instanceof BerthError && error.code === "not_found") return undefined;
      throw error;
    }
  }

  async cancelTask(id: string, grace: number, signal: AbortSignal): Promise<void> {
    await this.#agent.call("POST", `/v1/tasks/${encodeURIComponent(id)}/cancel`, { grace }, signal);
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
    // The run has ended: what its pipes still held has been written by now.
    if (options.follow && !signal.aborted)
      yield* this.logs(found.ref, { ...options, follow: false, instance: id, ...(last === undefined ? {} : { after: last }) }, signal);
    ended.abort();
  }

  async #untilEnded(id: string, signal: AbortSignal): Promise<void> {
    while ((await this.#task(id, signal))?.state.phase === "running") await new Promise((resolve) => setTimeout(resolve, 200));
    // Its last lines are on their way through the collector.
    await new Promise((resolve) => setTimeout(resolve, 300));
  }

  async usage(refs: readonly Ref[], signal: AbortSignal): Promise<Usage[]> {
    return [...((await this.#agent.call("POST", "/v1/usage", { refs }, signal)) as UsageAnswer).usage];
  }

  async forget(
    { id, name, volumes }: { readonly id: string; readonly name: string; readonly volumes: "kept" | "none" },
    signal: AbortSignal,
  ): Promise<boolean> {
    const { ending } = (await this.#agent.call("GET", `/v1/stacks/${id}`, undefined, signal)) as StackUse;
    if (ending) return false;
    // The name may be given again, to somebody who must not read what was written under it before.
    const { forgotten } = (await this.#logs.call("DELETE", `/v1/logs/${name}`, undefined, signal)) as ForgetLogsAnswer;
    if (!forgotten) return false;
    const folder = dirname(this.#volumes(id));
    if (volumes === "kept") {
      for (const part of ["releases", "home", "tmp"]) await removeTree(join(folder, part));
      return true;
    }
    await removeTree(folder);
    // Its user goes last: as long as a file is left, it has an owner that is known.
    await this.#agent.call("DELETE", `/v1/stacks/${id}`, undefined, signal);
    return true;
  }

  readonly volumes: VolumePort = {
    list: async (stack) => {
      const folder = this.#volumes(stack);
      const names = await readdir(folder).catch(() => []);
      return Promise.all(
        names.map(async (name) => ({ name, bytes: await bytesBelow(join(folder, name)), usedBy: await this.#volumeUsers(stack, name) })),
      );
    },
    remove: async (stack, name) => {
      const [component] = await this.#volumeUsers(stack, name);
      if (component !== undefined) throw new BerthError("volume_in_use", { volume: name, component });
      await removeTree(join(this.#volumes(stack), name));
      // Whoever makes a volume of this name again means a new one, see Stacks.volume.
      await rm(join(dirname(this.#volumes(stack)), "volumes.made", name), { force: true });
    },
  };

  #volumes(stackId: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(stackId))
      throw new BerthError("invalid_request", { reason: `${stackId} is not a stack's id` });
    return join(this.#deps.home, "stacks", stackId, "volumes");
  }

  async #volumeUsers(stackId: string, name: string): Promise<string[]> {
    if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) throw new BerthError("invalid_request", { reason: `${name} is not a volume's name` });
    return (
      (await this.#agent.call("GET", `/v1/volumes/${stackId}/${name}`, undefined, AbortSignal.timeout(10_000))) as { usedBy: string[] }
    ).usedBy;
  }

  async watch(onChange: (ref: Ref) => void, signal: AbortSignal): Promise<void> {
    for await (const line of this.#agent.lines("/v1/watch", signal)) onChange((JSON.parse(line) as WatchLine).ref);
  }

  async close(): Promise<void> {
    await Promise.all([this.#agent.close(), this.#logs.close()]);
  }
}

async function bytesBelow(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += await bytesBelow(path);
    else if (entry.isFile()) bytes += (await stat(path).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}
