// The Kubernetes engine: a stack is a namespace, a wave of a component's instances a Deployment, an instance a pod (docs/decisions/0036-slots-are-deployments.md).
import type { Duplex } from "node:stream";
import { cause, type Evidence } from "@berth/contract/causes.ts";
import { argumentsOf } from "../../core/command.ts";
import { BerthError } from "../../core/errors.ts";
import type { RegistryAsker } from "../../docker/standing.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { listAll } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { forward } from "../../kubernetes/streams.ts";
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
  type ResolvedImage,
  type Session,
  type TaskRun,
  type TaskState,
  type TrackTarget,
  type Usage,
  type VolumePort,
  type Workload,
} from "../engine.ts";
import { Causes } from "./causes.ts";
import { failureOf, refusalOf } from "./failures.ts";
import { Fences, isTerminating } from "./fences.ts";
import { instanceOf, type PodView } from "./instances.ts";
import { Images } from "./images.ts";
import { followLines, pastLines } from "./lines.ts";
import { componentLabels, mark, namespaceOf, ofComponent, revisionOf } from "./names.ts";
import type { Secret } from "./objects.ts";
import { graceOf, podTemplate, secretOf } from "./pod.ts";
import { Pods } from "./pods.ts";
import { Recorder } from "./records.ts";
import { openSession } from "./session.ts";
import { deploymentOf, isEndless, jobName, jobOf, revisionFor, Slots } from "./slots.ts";
import { Tasks, taskState } from "./tasks.ts";
import { UsageMeter } from "./usage.ts";
import { claimOf, Volumes } from "./volumes.ts";

export interface KubernetesEngineDeps {
  readonly api: KubeApi;
  /** As people know it. */
  readonly cluster: string;
  readonly installation: string;
  /** What is asked of registries for the nodes, and as whom the nodes ask. */
  readonly registries: RegistryAsker;
  /** For the log. */
  readonly onTrouble?: (error: Error) => void;
}

/** ms within which a cluster makes the pods that it was asked for, and says that others end. */
const answers = 10_000;
/** ms that a namespace is waited for to go. */
const leaving = 30_000;

export class KubernetesEngine implements Engine, AsyncDisposable {
  readonly kind = "kubernetes";
  readonly #deps: KubernetesEngineDeps;
  readonly #api: KubeApi;
  readonly #pods: Pods;
  readonly #fences: Fences;
  readonly #slots: Slots;
  readonly #tasks: Tasks;
  readonly #causes: Causes;
  readonly #volumes: Volumes;
  readonly #usage: UsageMeter;
  readonly #images: Images;
  readonly volumes: VolumePort;

  constructor(deps: KubernetesEngineDeps) {
    this.#deps = deps;
    this.#api = deps.api;
    this.#fences = new Fences(deps.api, deps.installation);
    this.#slots = new Slots(deps.api, deps.installation);
    this.#tasks = new Tasks(deps.api, deps.installation);
    this.#causes = new Causes(deps.api);
    this.#pods = new Pods({ ...deps, onGone: (pod) => this.#gone(pod) });
    this.#volumes = new Volumes(deps.api, deps.installation, this.#pods);
    this.#usage = new UsageMeter(deps.api);
    this.#images = new Images(deps);
    this.volumes = {
      list: (stackId, signal) => this.#asking(() => this.#volumes.list(stackId, signal)),
      remove: (stackId, name, signal) => this.#asking(() => this.#volumes.remove(stackId, name, signal)),
      snapshot: () => Promise.reject(withoutArchives()),
      restore: (_volume, archive) => {
        archive.destroy();
        return Promise.reject(withoutArchives());
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pods[Symbol.asyncDispose]();
  }

  async capabilities(signal: AbortSignal): Promise<Capabilities> {
    const common = {
      isolation: ["namespace"],
      tcp: true,
      weights: true,
      volumes: "mount",
      limits: { memory: true, cpu: true, processes: false },
    } as const;
    try {
      const { gitVersion = "" } = await this.#api.request<{ readonly gitVersion?: string }>("GET", "/version", { signal, timeout: 10_000 });
      return { ...common, reachable: true, version: gitVersion, notices: [] };
    } catch (error) {
      const failure = failureOf(this.#deps.cluster, error)?.failure;
      if (failure?.code !== "cluster_unreachable") throw error;
      const params = Object.fromEntries(Object.entries(failure.params).map(([name, value]) => [name, String(value)]));
      return { ...common, reachable: false, version: "", notices: [{ code: failure.code, params }] };
    }
  }

  /** The objects as they are applied; where the values of secrets stand, their names do. */
  render(workload: Workload): { readonly name: string; readonly body: unknown }[] {
    const { installation } = this.#deps;
    const target: TrackTarget = { ref: workload.ref, track: "stable", workload, restart: 0, replicas: 1 };
    const secret = secretOf(installation, workload);
    const main = isEndless(target)
      ? deploymentOf(installation, target, "a")
      : jobOf(installation, target, jobName(workload.ref.component, revisionFor(target), ""));
    const { [mark.order]: _order, ...annotations } = main.metadata.annotations ?? {};
    const shown = [
      { ...main, metadata: { ...main.metadata, annotations } },
      ...(secret === undefined
        ? []
        : [
            {
              ...this.#secret(workload, secret.name),
              data: Object.fromEntries(Object.keys(secret.data).map((name) => [name, "(secret)"])),
            },
          ]),
      ...workload.volumes.map(({ volume }) => claimOf(installation, workload, volume)),
    ];
    return shown.map((body) => ({ name: `${body.kind} ${body.metadata.name}`, body }));
  }

  /** The namespace, what the pods read, and the cluster's word that it would take them. Images are pulled by the nodes, when a pod is there. */
  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      const namespace = namespaceOf(workload.ref.stack);
      await this.#namespace(workload, signal);
      await this.#fences.pass(workload.ref, fence, signal);
      if (workload.artifact.kind === "image") await this.#images.allow(namespace, workload.artifact.reference, signal);
      const secret = secretOf(this.#deps.installation, workload);
      if (secret !== undefined) {
        const data = Object.fromEntries(Object.entries(secret.data).map(([name, value]) => [name, Buffer.from(value).toString("base64")]));
        const object: Secret = { ...this.#secret(workload, secret.name), data };
        await this.#api.apply(object, { signal, force: true });
      }
      await this.#volumes.ensure(workload, signal);
      const { metadata, spec } = podTemplate({ installation: this.#deps.installation, workload, track: "stable", restart: 0, slot: "a" });
      const pod = {
        apiVersion: apiVersionOf("Pod"),
        kind: "Pod",
        metadata: { ...metadata, namespace, name: `${workload.ref.component}--try` },
        spec,
      };
      // A Deployment would be taken, and say later, where few look, that its pods are not.
      await this.#api.create(pod, { dryRun: true, signal });
    });
  }

  async ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      const { ref } = target.workload;
      await this.#pods.ready(signal);
      await this.#fences.pass(ref, fence, signal);
      const left = new Set(target.leaving ?? []);
      const ofRevision = (): PodView[] => this.#pods.instances(ref).filter((pod) => isOf(pod, target) && !pod.stopping);
      const there = (): number =>
        ofRevision().filter(
          ({ name, phase }) => !left.has(name) && (isEndless(target) ? phase !== "Failed" && phase !== "Succeeded" : true),
        ).length;
      if (isEndless(target)) {
        const uids = new Set(ofRevision().flatMap(({ name, uid }) => (left.has(name) ? [uid] : [])));
        await this.#slots.fill(target, uids, signal);
      } else await this.#addJobs(target, target.replicas - there(), signal);
      if (await this.#pods.until(ref, () => there() >= target.replicas, answers, signal)) return;
      throw await this.#whyNoPods(target, signal);
    });
  }

  async stop(ref: Ref, instances: readonly string[], grace: number, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      await this.#fences.pass(ref, fence, signal);
      const named = new Set(instances);
      const pods = this.#pods.instances(ref).filter(({ name }) => named.has(name));
      if (pods.length === 0) return;
      await this.#slots.empty(ref, pods, this.#pods.instances(ref), graceOf(grace), signal);
      const uids = new Set(pods.map(({ uid }) => uid));
      const told = (): boolean => this.#pods.instances(ref).every(({ uid, stopping }) => stopping || !uids.has(uid));
      await this.#pods.until(ref, told, answers, signal);
    });
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      await this.#fences.pass(ref, fence, signal);
      const namespace = namespaceOf(ref.stack);
      const gone = { propagation: "Background", signal } as const;
      for (const { metadata } of await this.#slots.list(ref, signal))
        await this.#api.delete({ kind: "Deployment", namespace, name: metadata.name }, gone);
      for (const { metadata } of await this.#slots.jobs(ref, "instance", signal))
        await this.#api.delete({ kind: "Job", namespace, name: metadata.name }, gone);
      for (const { name, uid, stopping } of this.#pods.instances(ref))
        if (!stopping) await this.#api.delete({ kind: "Pod", namespace, name }, { uid, signal }).catch(ignoreConflict);
      const labels = ofComponent(this.#deps.installation, ref);
      for await (const { metadata } of listAll<Secret>(this.#api, "Secret", { namespace, labels, signal }))
        await this.#api.delete({ kind: "Secret", namespace, name: metadata.name }, { signal });
    });
  }

  forgetComponent(ref: Ref, signal: AbortSignal): Promise<boolean> {
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      if (this.#pods.instances(ref).length > 0) return false;
      const namespace = namespaceOf(ref.stack);
      for (const { metadata } of await this.#slots.jobs(ref, "task", signal))
        await this.#api.delete({ kind: "Job", namespace, name: metadata.name }, { propagation: "Background", signal });
      return true;
    });
  }

  observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      return this.#observed(ref, signal);
    });
  }

  async *list(signal: AbortSignal): AsyncGenerator<Observed> {
    await this.#asking(() => this.#pods.ready(signal));
    const refs = new Map([...this.#pods.all()].map(({ ref }) => [`${ref.stack}/${ref.component}`, ref]));
    for (const ref of refs.values()) {
      const observed = await this.#observed(ref, signal);
      if (observed !== undefined) yield observed;
    }
  }

  async *records(signal: AbortSignal): AsyncGenerator<InstanceRecord> {
    await this.#asking(() => this.#pods.ready(signal));
    const recorder = new Recorder(this.#api, this.#deps.installation, signal);
    for (const pod of [...this.#pods.all()].filter(({ role }) => role === "instance")) {
      const record = await this.#asking(() => recorder.recordOf(pod));
      if (record !== undefined) yield record;
    }
  }

  raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void> {
    return this.#asking(() => this.#fences.raise(epoch, signal));
  }

  async *logs(ref: Ref, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    await this.#asking(() => this.#pods.ready(signal));
    const pods = (): PodView[] =>
      this.#pods.instances(ref).filter(({ name }) => options.instance === undefined || name === options.instance);
    if (options.follow) yield* followLines(this.#api, pods, options, signal);
    else yield* await this.#asking(() => pastLines(this.#api, pods(), options, signal));
  }

  exec(
    ref: Ref,
    instance: string,
    command: Parameters<Engine["exec"]>[2],
    tty: { readonly columns: number; readonly rows: number } | undefined,
    signal: AbortSignal,
  ): Promise<Session> {
    return this.#asking(async () => {
      const pod = await this.#pod(ref, instance, signal);
      const options = { namespace: pod.namespace, pod: pod.name, container: ref.component, command: argumentsOf(command) };
      return openSession(this.#api, options, tty, signal);
    });
  }

  forward(ref: Ref, instance: string, port: number, signal: AbortSignal): Promise<Duplex> {
    return this.#asking(async () => {
      const pod = await this.#pod(ref, instance, signal);
      return forward(this.#api, { namespace: pod.namespace, pod: pod.name, port }, signal);
    });
  }

  async startTask(task: TaskRun, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      await this.#fences.pass(task.workload.ref, fence, signal);
      await this.#tasks.start(task, signal);
    });
  }

  task(id: string, signal: AbortSignal): Promise<TaskState | undefined> {
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      const job = await this.#tasks.find(id, signal);
      if (job === undefined) return undefined;
      const pod = this.#podsOfJob(job.metadata).at(-1);
      return taskState(id, job, pod, pod === undefined ? undefined : await this.#causes.ofEnd(pod, signal));
    });
  }

  async cancelTask(id: string, grace: number, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      const job = await this.#tasks.find(id, signal);
      if (job !== undefined) await this.#tasks.cancel(job, this.#podsOfJob(job.metadata), grace, signal);
    });
  }

  async *taskLogs(id: string, options: LogOptions, signal: AbortSignal): AsyncGenerator<LogLine> {
    await this.#asking(() => this.#pods.ready(signal));
    const job = await this.#asking(() => this.#tasks.find(id, signal));
    if (job === undefined) return;
    const pods = (): PodView[] => this.#podsOfJob(job.metadata);
    if (options.follow) yield* followLines(this.#api, pods, options, signal);
    else yield* await this.#asking(() => pastLines(this.#api, pods(), options, signal));
  }

  usage(refs: readonly Ref[], signal: AbortSignal): Promise<Usage[]> {
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      return this.#usage.read(
        refs.flatMap((ref) => this.#pods.instances(ref)),
        signal,
      );
    });
  }

  forget(stack: { readonly id: string; readonly name: string; readonly volumes: "kept" | "none" }, signal: AbortSignal): Promise<boolean> {
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      const namespace = namespaceOf(stack.name);
      if ([...this.#pods.all()].some((pod) => pod.namespace === namespace && pod.role === "instance")) return false;
      if (stack.volumes === "kept") return true;
      const place = { kind: "Namespace", name: namespace } as const;
      const found = await this.#api.find(place, { signal });
      if (found === undefined) return true;
      if (found.metadata.labels?.[mark.installation] !== this.#deps.installation) return true;
      await this.#api.delete(place, { signal });
      for (const end = Date.now() + leaving; Date.now() < end;) {
        if ((await this.#api.find(place, { signal })) === undefined) return true;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      return false;
    });
  }

  resolveImage(name: string, signal: AbortSignal): Promise<ResolvedImage> {
    return this.#images.resolve(name, signal);
  }

  holdsImage(reference: string, signal: AbortSignal): Promise<boolean> {
    return this.#images.holds(reference, signal);
  }

  /** Siblings reach it by its Service's name. */
  door(ref: Ref): Promise<string> {
    return Promise.resolve(`${ref.component}.${namespaceOf(ref.stack)}.svc`);
  }

  /** For who routes to them. */
  get pods(): Pods {
    return this.#pods;
  }

  async watch(onChange: (ref: Ref) => void, signal: AbortSignal): Promise<void> {
    const deafen = this.#pods.listen(onChange);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    deafen();
  }

  async #observed(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    const pods = this.#pods.instances(ref);
    if (pods.length === 0) return undefined;
    const instances: Instance[] = [];
    for (const pod of pods) instances.push(instanceOf(pod, await this.#causes.of(pod, signal), await this.#causes.ofEnd(pod, signal)));
    const fence = this.#fences.seen(ref) ?? { installation: this.#deps.installation, epoch: 0, generation: 0 };
    return { ref, fence, instances };
  }

  #podsOfJob({ namespace, name }: { readonly namespace?: string; readonly name: string }): PodView[] {
    return [...this.#pods.all()].filter((pod) => pod.role === "task" && pod.namespace === namespace && pod.owner === name);
  }

  async #pod(ref: Ref, instance: string, signal: AbortSignal): Promise<PodView> {
    await this.#pods.ready(signal);
    const pod = this.#pods.instances(ref).find(({ name }) => name === instance);
    if (pod === undefined) throw new BerthError("not_found", { kind: "instance", name: instance });
    return pod;
  }

  async #addJobs(target: TrackTarget, missing: number, signal: AbortSignal): Promise<void> {
    const known = (await this.#slots.jobs(target.workload.ref, "instance", signal)).filter(
      ({ metadata }) => metadata.labels?.[mark.revision] === revisionFor(target),
    );
    const names = new Set(known.map(({ metadata }) => metadata.name));
    for (let number = 0, made = 0; made < missing; number += 1) {
      const name = jobName(target.workload.ref.component, revisionFor(target), String(number));
      if (names.has(name)) continue;
      made += 1;
      await this.#api.create(jobOf(this.#deps.installation, target, name), { signal });
    }
  }

  /** Why a Deployment that wants pods has none, in the words of who refuses them. */
  async #whyNoPods(target: TrackTarget, signal: AbortSignal): Promise<EngineFailure> {
    const slots = await this.#slots.list(target.workload.ref, signal);
    const mine = slots.find(({ metadata }) => metadata.labels?.[mark.revision] === revisionFor(target));
    const refused = mine?.status?.conditions?.find(({ type, status }) => type === "ReplicaFailure" && status === "True")?.message;
    const why = refused === undefined ? undefined : refusalOf(refused);
    const evidence: Evidence[] = refused === undefined ? [] : [{ kind: "event", text: refused.slice(0, 4_096) }];
    return new EngineFailure(why ?? cause("start_failed", { reason: refused ?? "the cluster made no pods of it" }, evidence), {
      retryable: true,
    });
  }

  async #namespace({ ref, stackId }: Workload, signal: AbortSignal): Promise<void> {
    const name = namespaceOf(ref.stack);
    const found = await this.#api.find({ kind: "Namespace", name }, { signal });
    const owner = found?.metadata.labels?.[mark.installation];
    if (found !== undefined && owner !== this.#deps.installation)
      throw new EngineFailure(cause("namespace_of_others", { namespace: name, cluster: this.#deps.cluster }), { retryable: false });
    if (found?.metadata.deletionTimestamp !== undefined)
      throw new EngineFailure(cause("namespace_terminating", { namespace: name }), { retryable: true });
    const labels = {
      "app.kubernetes.io/managed-by": "berth",
      [mark.installation]: this.#deps.installation,
      [mark.stack]: ref.stack,
      [mark.stackId]: stackId,
    };
    if (found === undefined || found.metadata.labels?.[mark.stackId] !== stackId)
      await this.#api.apply({ apiVersion: apiVersionOf("Namespace"), kind: "Namespace", metadata: { name, labels } }, { signal });
  }

  #secret(workload: Workload, name: string): Omit<Secret, "data"> & { readonly immutable: true; readonly type: string } {
    return {
      apiVersion: apiVersionOf("Secret"),
      kind: "Secret",
      metadata: { namespace: namespaceOf(workload.ref.stack), name, labels: componentLabels(this.#deps.installation, workload) },
      immutable: true,
      type: "Opaque",
    };
  }

  #gone(pod: PodView): void {
    this.#causes.forget(pod);
    if (pod.role === "task") this.#tasks.keepExit(pod).catch((error: unknown) => this.#deps.onTrouble?.(error as Error));
  }

  /** What a cluster's refusals and silence are to whoever asked. */
  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof KubeError && isTerminating(error))
        throw new EngineFailure(cause("namespace_terminating", { namespace: error.details.name ?? "" }), { retryable: true, cause: error });
      throw failureOf(this.#deps.cluster, error) ?? error;
    }
  }
}

const isOf = (pod: PodView, { workload, restart, track }: TrackTarget): boolean =>
  pod.revision === revisionOf({ releaseHash: workload.releaseHash, restart }, track);

function ignoreConflict(error: unknown): undefined {
  if (error instanceof KubeError && error.status === 409) return undefined;
  throw error;
}

function withoutArchives(): BerthError {
  return new BerthError("wrong_state", {
    verb: "archive",
    reason: "this engine does not read volumes yet",
    hint: "Take a snapshot with what the cluster's storage has for that (VolumeSnapshot).",
  });
}
