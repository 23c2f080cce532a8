// Why a pod is not ready, or ended: what the cluster says of it, and the last words of its container (promise 6). Found once for each run and kept until the pod goes.
import { cause, type Cause, type Evidence } from "@berth/contract/causes.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { logs } from "../../kubernetes/streams.ts";
import { exitCause, type Ended } from "../exitcause.ts";
import { ranFor, ranOutOfMemory, startCause, statusOf, type PodView } from "./instances.ts";
import type { Terminated } from "./objects.ts";

/** As many lines as the other engines show under a cause. */
const evidenceLines = 30;

export class Causes {
  readonly #api: KubeApi;
  /** uid -> the run that it is of, and its cause. */
  readonly #ends = new Map<string, { readonly run: string; readonly why: Cause }>();

  constructor(api: KubeApi) {
    this.#api = api;
  }

  forget({ uid }: PodView): void {
    this.#ends.delete(uid);
  }

  /** Of one that is neither ready nor stopping; undefined while it is not known. */
  async of(pod: PodView, signal: AbortSignal): Promise<Cause | undefined> {
    if (pod.stopping || pod.ready?.status === "True") return undefined;
    const start = startCause(pod, pod.container?.image ?? "");
    return start ?? this.ofEnd(pod, signal);
  }

  /** Of its last run that ended; undefined: none did. */
  async ofEnd(pod: PodView, signal: AbortSignal): Promise<Cause | undefined> {
    const { container } = pod;
    const now = container?.state?.terminated;
    const ended = now ?? container?.lastState?.terminated;
    if (container === undefined || ended === undefined) return undefined;
    const run = `${String(container.restartCount)} ${ended.finishedAt ?? ""}`;
    const known = this.#ends.get(pod.uid);
    if (known?.run === run) return known.why;
    // What ended because it was told to is asked nothing: a release would wait for the last words of each instance that it replaces.
    if (pod.stopping && pod.role !== "task") return this.#causeOf(pod, ended, []);
    const why = this.#causeOf(pod, ended, await this.#lastLines(pod, now === undefined, signal));
    this.#ends.set(pod.uid, { run, why });
    return why;
  }

  #causeOf(pod: PodView, ended: Terminated, lines: readonly Evidence[]): Cause {
    const status = statusOf(ended);
    const text = ended.message ?? "";
    if (ended.reason === "StartError" || ended.reason === "ContainerCannotRun") {
      const evidence: Evidence[] = [{ kind: "event", text: text.slice(0, 4_096) }];
      const missing = /exec: "([^"]+)": (?:executable file not found|stat .*: no such file)/.exec(text)?.[1];
      if (missing !== undefined) return cause("command_not_found", { command: missing }, evidence);
      return cause("start_failed", { reason: text.split("\n")[0]?.slice(0, 300) ?? "" }, evidence);
    }
    const memoryKills = ranOutOfMemory(ended) ? 1 : 0;
    // Of the release only its kind, its command and its limits are asked for; what is not written on a pod is left out.
    const workload: Ended["workload"] = {
      kind: "worker",
      command: { exec: [] },
      ports: [],
      resources: pod.memory === undefined ? {} : { memory: pod.memory },
    };
    const lastExit = { at: ended.finishedAt ?? "", ...status, ranFor: ranFor(ended), outOfMemory: memoryKills > 0 };
    return exitCause(
      { workload, ports: {}, ownerOf: () => "another process of the same pod", ...(pod.role === "task" ? { task: true } : {}) },
      {
        lastExit,
        lastEnd: { trouble: { memoryKills, memoryPeak: undefined, processesRefused: 0 } },
        everReady: false,
        restarts: pod.container?.restartCount ?? 0,
      },
      status,
      lines,
    );
  }

  async #lastLines(pod: PodView, previous: boolean, signal: AbortSignal): Promise<Evidence[]> {
    const found = await this.#linesOf(pod, previous, signal);
    // It may have been started again since it was looked at, and has said nothing yet.
    return found.length > 0 || previous ? found : this.#linesOf(pod, true, signal);
  }

  async #linesOf(pod: PodView, previous: boolean, signal: AbortSignal): Promise<Evidence[]> {
    const found: Evidence[] = [];
    try {
      const read = { namespace: pod.namespace, pod: pod.name, container: pod.main, previous, tail: evidenceLines };
      for await (const { at, text } of logs(this.#api, read, signal))
        if (at !== undefined) found.push({ kind: "log", at: at.replace(/(\.\d{3})\d*Z$/, "$1Z"), text: text.slice(0, 4_096) });
    } catch (error) {
      // What the kubelet has no more, nobody has.
      if (!(error instanceof KubeError)) throw error;
    }
    return found;
  }
}
