// One-off runs as Jobs, each at most once: a Job's name is its task's id, a pod of it is never made a second time, and it stays until its component goes.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { measured } from "../../core/words.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring, KubeError } from "../../kubernetes/errors.ts";
import { listAll } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { TaskRun, TaskState } from "../engine.ts";
import { statusOf, type Ended, type PodView } from "./instances.ts";
import { componentLabels, digest, mark, namespaceOf, selector } from "./names.ts";
import type { Job } from "./objects.ts";
import { withOverlay } from "./overlays.ts";
import { graceOf, podTemplate } from "./pod.ts";

const idKey = "berth.task-id";
const deadlineKey = "berth.task-deadline";

export function taskJob(installation: string, { id, workload, command, deadline, tty }: TaskRun): Job {
  const job: Job = {
    apiVersion: apiVersionOf("Job"),
    kind: "Job",
    metadata: {
      namespace: namespaceOf(workload.ref),
      name: `${workload.ref.component}--task-${digest(id)}`,
      labels: { ...componentLabels(installation, workload), [mark.role]: "task", [mark.task]: digest(id) },
      annotations: { [idKey]: id, [deadlineKey]: String(deadline) },
    },
    spec: {
      backoffLimit: 0,
      // One that is on its way out is not replaced either.
      podReplacementPolicy: "Failed",
      activeDeadlineSeconds: graceOf(deadline),
      template: podTemplate({ installation, workload, track: "stable", restart: 0, task: { id, command, tty } }),
    },
  };
  return withOverlay(job, workload);
}

export class Tasks {
  readonly #api: KubeApi;
  readonly #installation: string;

  constructor(api: KubeApi, installation: string) {
    this.#api = api;
    this.#installation = installation;
  }

  async start(task: TaskRun, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.create(taskJob(this.#installation, task), { signal });
    } catch (error) {
      if (!(error instanceof KubeError) || error.reason !== "AlreadyExists") throw error;
    }
  }

  async find(id: string, signal: AbortSignal): Promise<Job | undefined> {
    const labels = selector({ [mark.installation]: this.#installation, [mark.role]: "task", [mark.task]: digest(id) });
    for await (const job of listAll<Job>(this.#api, "Job", { labels, signal })) return job;
    return undefined;
  }

  /** Asks it to end; its pod goes, and its Job stays as what is known of it. */
  async cancel(job: Job, pods: readonly PodView[], grace: number, signal: AbortSignal): Promise<void> {
    const { namespace, name } = job.metadata;
    const at = new Date().toISOString();
    await this.#api.merge(
      { kind: "Job", namespace, name },
      { metadata: { annotations: { [mark.cancelled]: at } }, spec: { suspend: true } },
      { signal },
    );
    for (const pod of pods)
      await this.#api.delete({ kind: "Pod", namespace, name: pod.name }, { grace: graceOf(grace), uid: pod.uid, signal });
  }

  /** Writes how a pod ended on its Job, since the pod is gone. */
  async keepExit(pod: PodView): Promise<void> {
    const ended = pod.container?.state?.terminated;
    if (pod.owner === undefined || ended === undefined) return;
    const exit = JSON.stringify({ ...statusOf(ended), at: ended.finishedAt });
    await this.#api
      .merge({ kind: "Job", namespace: pod.namespace, name: pod.owner }, { metadata: { annotations: { [mark.exit]: exit } } })
      .catch(ignoring(404));
  }
}

export function taskState(id: string, job: Job, pod: PodView | undefined, why: Cause | undefined): TaskState {
  const { annotations = {}, creationTimestamp = "" } = job.metadata;
  const common = { id, startedAt: job.status?.startTime ?? creationTimestamp };
  const condition = (type: string) => job.status?.conditions?.find((one) => one.type === type && one.status === "True");
  const failed = condition("Failed") ?? condition("FailureTarget");
  const ended = pod?.container?.state?.terminated;
  const cancelled = annotations[mark.cancelled];
  const text = annotations[mark.exit];
  const kept = text === undefined ? undefined : (JSON.parse(text) as Ended & { readonly at?: string });
  const exit = kept ?? (ended === undefined ? undefined : { ...statusOf(ended), at: ended.finishedAt });
  const { at, ...status } = exit ?? {};
  const endedAt = { endedAt: at ?? failed?.lastTransitionTime ?? job.status?.completionTime ?? new Date().toISOString() };
  if (failed?.reason === "DeadlineExceeded") {
    return {
      ...common,
      phase: "failed",
      ...endedAt,
      cause: cause("task_deadline", { waited: measured(Number(annotations[deadlineKey] ?? 0)) }),
    };
  }
  if (cancelled !== undefined) {
    // It runs until its pod is gone.
    if (pod !== undefined && exit === undefined) return { ...common, phase: "running" };
    return { ...common, phase: "failed", ...(exit === undefined ? { signal: "SIGTERM" } : status), ...endedAt };
  }
  if (condition("Complete") !== undefined || condition("SuccessCriteriaMet") !== undefined)
    return { ...common, phase: "succeeded", exitCode: 0, ...endedAt };
  if (failed === undefined && ended === undefined) return { ...common, phase: "running" };
  if (status.exitCode === 0) return { ...common, phase: "succeeded", ...status, ...endedAt };
  const told = why ?? (exit === undefined ? cause("run_lost", { reason: failed?.message ?? "its pod was lost" }) : undefined);
  return { ...common, phase: "failed", ...status, ...endedAt, ...(told === undefined ? {} : { cause: told }) };
}
