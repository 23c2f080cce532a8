// The Kubernetes engine: a stack is a namespace, a wave of a component's instances a Deployment, an instance a pod (docs/decisions/0036-slots-are-deployments.md).
import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import { argumentsOf } from "../../core/command.ts";
import { BerthError } from "../../core/errors.ts";
import type { Foreign } from "../../core/imports/foreign.ts";
import type { RegistryAsker } from "../../docker/standing.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring } from "../../kubernetes/errors.ts";
import { forward } from "../../kubernetes/streams.ts";
import {
  type Autoscaling,
  type Capabilities,
  type Drift,
  refOf,
  type Engine,
  type Epoch,
  type Fence,
  type Instance,
  type InstanceRecord,
  type LogLine,
  type LogOptions,
  type Observed,
  type OverlayRefusal,
  type Ref,
  type Rendered,
  type ResolvedImage,
  type Session,
  type TakeIn,
  type TaskRun,
  type TaskState,
  type TrackTarget,
  type Usage,
  type VolumePort,
  type Workload,
} from "../engine.ts";
import { Archives } from "./archives.ts";
import { Autoscalers } from "./autoscaler.ts";
import { Budgets } from "./budgets.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { Causes } from "./causes.ts";
import { Drifts } from "./drifts.ts";
import { asking, unreachable } from "./failures.ts";
import { Fences } from "./fences.ts";
import { hasEnded, instanceOf, type PodView } from "./instances.ts";
import { Images } from "./images.ts";
import { readForeign } from "./foreign.ts";
import { importedOf, Imports } from "./imports.ts";
import { stableService } from "./stable-service.ts";
import { Lately } from "./lately.ts";
import { followLines, pastLines } from "./lines.ts";
import { namespaceOf, revisionOf } from "./names.ts";
import { Namespaces } from "./namespaces.ts";
import type { Deployment, PodTemplate } from "./objects.ts";
import { graceOf } from "./pod.ts";
import { Pods } from "./pods.ts";
import { Recorder } from "./records.ts";
import { overlayRefusalsOf, renderedOf, standingOf, trialsOf } from "./render.ts";
import { applySecret, lacksSecret, sweepSecrets } from "./secrets.ts";
import { openSession } from "./session.ts";
import { isEndless, orderedBy, revisionFor, slotFor, slotOfRevision, Slots } from "./slots.ts";
import type { Doors } from "./surroundings.ts";
import { Tasks, taskState } from "./tasks.ts";
import { tryOut } from "./trials.ts";
import { UsageMeter } from "./usage.ts";
import { Volumes } from "./volumes.ts";

export interface KubernetesEngineDeps {
  readonly api: KubeApi;
  /** As people know it. */
  readonly cluster: string;
  readonly installation: string;
  /** What is asked of registries for the nodes, and as whom the nodes ask. */
  readonly registries: RegistryAsker;
  /** What volumes are read and filled with: an image that has GNU tar, a shell and coreutils, and that the nodes can fetch. Absent: Debian's. */
  readonly archiveImage?: string;
  /** Who may open connections to instances from outside of their stack. */
  readonly doors?: Doors;
  /** For the log. */
  readonly onTrouble?: (error: Error) => void;
}

/** ms within which a cluster makes the pods that it was asked for, and says that others end. */
const answers = 10_000;
/** ms within which a cluster that is well ends the pods that a number does not count any more. */
const counts = 3_000;

export class KubernetesEngine implements Engine, AsyncDisposable {
  readonly kind = "kubernetes";
  readonly #deps: KubernetesEngineDeps;
  readonly #api: KubeApi;
  readonly #pods: Pods;
  readonly #fences: Fences;
  readonly #slots: Slots;
  readonly #budgets: Budgets;
  readonly #autoscalers: Autoscalers;
  readonly #imports: Imports;
  readonly #tasks: Tasks;
  readonly #causes: Causes;
  readonly #volumes: Volumes;
  readonly #usage: UsageMeter;
  readonly #images: Images;
  readonly #namespaces: Namespaces;
  /** A rollout asks before each of its waves. */
  readonly #prepared = new Lately();
  readonly #drifts: Drifts;
  readonly volumes: VolumePort;

  constructor(deps: KubernetesEngineDeps) {
    this.#deps = deps;
    this.#api = deps.api;
    this.#fences = new Fences(deps.api, deps.installation);
    this.#slots = new Slots(deps.api, deps.installation);
    this.#budgets = new Budgets(deps.api, deps.installation);
    this.#imports = new Imports(deps);
    this.#tasks = new Tasks(deps.api, deps.installation);
    this.#causes = new Causes(deps.api);
    this.#pods = new Pods({ ...deps, onGone: (pod) => this.#gone(pod) });
    this.#autoscalers = new Autoscalers({ ...deps, onChange: (ref) => this.#pods.stir(ref) });
    this.#volumes = new Volumes(deps.api, deps.installation, this.#pods);
    this.#usage = new UsageMeter(deps.api);
    this.#images = new Images(deps);
    this.#namespaces = new Namespaces(deps);
    this.#drifts = new Drifts({ ...deps, autoscaled: (ref) => this.#autoscalers.slotOf(ref), onChange: (ref) => this.#pods.stir(ref) });
    const archives = new Archives({ ...deps, volumes: this.#volumes, images: this.#images, namespaces: this.#namespaces });
    this.volumes = {
      list: (stackId, signal) => this.#asking(() => this.#volumes.list(stackId, signal)),
      remove: (stackId, name, signal) => this.#asking(() => this.#volumes.remove(stackId, name, signal)),
      snapshot: (stackId, name, signal) => this.#asking(() => archives.snapshot(stackId, name, signal)),
      restore: (volume, archive, signal) => this.#asking(() => archives.restore(volume, archive, signal)),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#autoscalers[Symbol.asyncDispose]();
    await this.#drifts[Symbol.asyncDispose]();
    await this.#pods[Symbol.asyncDispose]();
  }

  capabilities(signal: AbortSignal): Promise<Capabilities> {
    return capabilitiesOf(this.#api, this.#deps.cluster, signal);
  }

  render(workload: Workload): Rendered[] {
    return renderedOf(this.#deps.installation, standingOf(workload), this.#deps.doors);
  }

  overlayRefusals(workload: Workload): OverlayRefusal[] {
    return overlayRefusalsOf(this.#deps.installation, workload);
  }

  manifests(target: TrackTarget, signal: AbortSignal): Promise<Rendered[]> {
    const { installation, doors } = this.#deps;
    return this.#asking(async () => {
      const slots = await this.#slots.list(target.ref, signal);
      const level = await this.#namespaces.level(target.workload, signal);
      return renderedOf(installation, { target, slot: slotFor(target, slots), level }, doors);
    });
  }

  /** The namespace, what the pods read, and the cluster's word that it would take them. Images are pulled by the nodes, when a pod is there. */
  async prepare(workload: Workload, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      const namespace = namespaceOf(workload.ref);
      await this.#namespaces.ensure(workload, signal);
      await this.#fences.pass(workload.ref, fence, signal);
      // Before anything is changed. A Deployment would be taken, and say later, where few look, that its pods are not: so a pod is tried too.
      await tryOut(this.#api, trialsOf(this.#deps.installation, workload), () => this.#namespaces.level(workload, signal), signal);
      await this.#namespaces.protect(workload.ref, signal);
      if (workload.artifact.kind === "image") await this.#images.allow(namespace, workload.artifact.reference, signal);
      await applySecret(this.#api, this.#deps.installation, workload, new Date(), signal);
      await this.#volumes.ensure(workload, signal);
      this.#prepared.note(preparedKey(workload));
    });
  }

  prepared(workload: Workload): boolean {
    return this.#prepared.has(preparedKey(workload));
  }

  async ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void> {
    const { ref } = target.workload;
    await this.#asking(() => this.#ensure(target, fence, signal)).catch((error: unknown) => {
      // What was prepared may be gone.
      this.#prepared.forget(`${ref.stack}/`);
      throw error;
    });
  }

  async #ensure(target: TrackTarget, fence: Fence, signal: AbortSignal): Promise<void> {
    const { ref } = target.workload;
    await this.#ready(signal);
    await this.#fences.pass(ref, fence, signal);
    const left = new Set(target.leaving ?? []);
    const revision = revisionFor(target);
    const ofRevision = (): PodView[] => this.#pods.instances(ref).filter((pod) => pod.revision === revision && !pod.stopping);
    // One that may end is there also when it has.
    const there = (): number => ofRevision().filter((pod) => !left.has(pod.name) && !(isEndless(target) && hasEnded(pod))).length;
    if (isEndless(target)) {
      const uids = new Set(ofRevision().flatMap(({ name, uid }) => (left.has(name) ? [uid] : [])));
      const slots = await this.#slots.list(ref, signal);
      if (slotOfRevision(slots, revision) === undefined) await this.#imports.lead(ref, slots, signal);
      await this.#budgets.grow(target, slots, signal);
      await this.#slots.fill(target, uids, slots, this.#autoscalers.slotOf(ref), signal);
      const mine = slotOfRevision(slots, revision);
      if (
        mine !== undefined &&
        importedOf(mine) !== undefined &&
        (await this.#imported(ref, mine, () => there() >= target.replicas, signal))
      )
        return;
    } else await this.#slots.addJobs(target, target.replicas - there(), signal);
    if (await this.#pods.until(ref, () => there() >= target.replicas, answers, signal)) return;
    throw await this.#slots.whyNoPods(target, signal);
  }

  /** Pods of an imported Deployment come without Berth's marks. true: as many as are wanted have them. */
  async #imported(ref: Ref, slot: Deployment, holds: () => boolean, signal: AbortSignal): Promise<boolean> {
    for (const end = performance.now() + answers; performance.now() < end;) {
      await this.#imports.label(ref, [slot], signal);
      if (await this.#pods.until(ref, holds, 300, signal)) return true;
    }
    return false;
  }

  async autoscale(ref: Ref, how: Autoscaling | undefined, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#ready(signal);
      await this.#fences.pass(ref, fence, signal);
      if (how === undefined) await this.#autoscalers.remove(ref, signal);
      else await this.#leave(ref, how, signal);
    });
  }

  async stop(ref: Ref, instances: readonly string[], grace: number, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#pods.ready(signal);
      await this.#fences.pass(ref, fence, signal);
      const named = new Set(instances);
      const pods = this.#pods.instances(ref).filter(({ name }) => named.has(name));
      if (pods.length === 0) return;
      const uids = new Set(pods.map(({ uid }) => uid));
      const areTold = (): boolean => this.#pods.instances(ref).every(({ uid, stopping }) => stopping || !uids.has(uid));
      const told = (): Promise<boolean> => this.#pods.until(ref, areTold, counts, signal);
      const isEmptied = await this.#slots.empty(ref, pods, this.#pods.instances(ref), { grace: graceOf(grace), told }, signal);
      await this.#budgets.shrink(ref, await this.#slots.list(ref, signal), signal);
      await this.#pods.until(ref, areTold, answers, signal);
      if (!isEmptied) return;
      const templates = async (): Promise<readonly PodTemplate[]> =>
        [...(await this.#slots.list(ref, signal)), ...(await this.#slots.jobs(ref, "any", signal))].map(({ spec }) => spec.template);
      await sweepSecrets(this.#api, { installation: this.#deps.installation, ref, now: new Date() }, templates, signal);
    });
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#ready(signal);
      await this.#fences.pass(ref, fence, signal);
      const namespace = namespaceOf(ref);
      const gone = { propagation: "Background", signal } as const;
      await this.#autoscalers.remove(ref, signal);
      for (const { metadata } of await this.#slots.list(ref, signal))
        await this.#api.delete({ kind: "Deployment", namespace, name: metadata.name }, gone);
      for (const { metadata } of await this.#slots.jobs(ref, "instance", signal))
        await this.#api.delete({ kind: "Job", namespace, name: metadata.name }, gone);
      for (const { name, uid, stopping } of this.#pods.instances(ref))
        if (!stopping) await this.#api.delete({ kind: "Pod", namespace, name }, { uid, signal }).catch(ignoring(409));
      await this.#budgets.remove(ref, signal);
      await this.#imports.removeServices(ref, signal);
      await sweepSecrets(this.#api, { installation: this.#deps.installation, ref, now: new Date() }, "all", signal);
    });
  }

  forgetComponent(ref: Ref, signal: AbortSignal): Promise<boolean> {
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      if (this.#pods.instances(ref).length > 0) return false;
      const namespace = namespaceOf(ref);
      for (const { metadata } of await this.#slots.jobs(ref, "task", signal))
        await this.#api.delete({ kind: "Job", namespace, name: metadata.name }, { propagation: "Background", signal });
      return true;
    });
  }

  observe(ref: Ref, signal: AbortSignal): Promise<Observed | undefined> {
    return this.#asking(async () => {
      await this.#ready(signal);
      return this.#observed(ref, signal);
    });
  }

  drift(ref: Ref, signal: AbortSignal): Promise<Drift> {
    return this.#asking(async () => {
      await this.#ready(signal);
      return this.#drifts.of(ref, signal);
    });
  }

  repair(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    return this.#asking(async () => {
      await this.#fences.pass(ref, fence, signal);
      await this.#drifts.repair(ref, signal);
    });
  }

  foreign(namespace: string, signal: AbortSignal): Promise<Foreign | undefined> {
    return this.#asking(() => readForeign(this.#api, this.#deps.installation, namespace, signal));
  }

  takeIn(taken: TakeIn, fence: Fence, signal: AbortSignal): Promise<void> {
    const { ref } = taken.workload;
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      await this.#imports.claim(taken, signal);
      await this.#fences.pass(ref, fence, signal);
      const marked = await this.#imports.take(taken, signal);
      const isKnown = (): boolean => marked.every((pod) => this.#pods.instances(ref).some(({ name }) => name === pod));
      if (!(await this.#pods.until(ref, isKnown, answers, signal)))
        throw unreachable(this.#deps.cluster, new Error("it tells no changes of pods"));
    });
  }

  async *list(signal: AbortSignal): AsyncGenerator<Observed> {
    await this.#asking(async () => {
      await this.#ready(signal);
      await this.#fences.readAll(signal);
    });
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
    const never = (): Promise<boolean> => Promise.resolve(false);
    if (options.follow) yield* followLines(this.#api, pods, never, options, signal);
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
      const options = { namespace: pod.namespace, pod: pod.name, container: pod.main, command: argumentsOf(command) };
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
    const isOver = async (): Promise<boolean> => (await this.task(id, signal))?.phase !== "running";
    if (options.follow) yield* followLines(this.#api, pods, isOver, options, signal);
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

  forget(stack: Parameters<Engine["forget"]>[0], signal: AbortSignal): Promise<boolean> {
    const home = refOf(stack, "");
    this.#prepared.forget(`${stack.name}/`);
    return this.#asking(async () => {
      await this.#pods.ready(signal);
      const namespace = namespaceOf(home);
      if ([...this.#pods.all()].some((pod) => pod.namespace === namespace && pod.role === "instance")) return false;
      if (stack.volumes === "kept") return true;
      return this.#namespaces.remove(home, signal);
    });
  }

  resolveImage(name: string, signal: AbortSignal): Promise<ResolvedImage> {
    return this.#images.resolve(name, signal);
  }

  holdsImage(reference: string, signal: AbortSignal): Promise<boolean> {
    return this.#images.holds(reference, signal);
  }

  /** Siblings reach it by its Service's name. */
  door(ref: Ref, _stackId: string, signal: AbortSignal): Promise<string> {
    return this.#asking(async () => {
      const name = await stableService(this.#api, this.#deps.installation, ref, signal);
      return `${name}.${namespaceOf(ref)}.svc`;
    });
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
    for (const pod of pods) {
      const instance = instanceOf(pod, await this.#causes.of(pod, signal), await this.#causes.ofEnd(pod, signal));
      instances.push((await lacksSecret(this.#api, pod, signal)) ? { ...instance, unprepared: true } : instance);
    }
    // After the pods: a number that grew since then is known to be one.
    const autoscaled = await this.#autoscalers.decided(ref, signal);
    return { ref, fence: await this.#fences.newest(ref, signal), instances, ...(autoscaled === undefined ? {} : { autoscaled }) };
  }

  /** What may become several is protected before it does. */
  async #leave(ref: Ref, how: Autoscaling, signal: AbortSignal): Promise<void> {
    const slots = await this.#slots.list(ref, signal);
    const workload = orderedBy(slotOfRevision(slots, revisionOf(how.revision, "stable")));
    if (workload === undefined) return;
    await this.#budgets.grow({ ref, track: "stable", replicas: how.max, workload }, slots, signal);
    await this.#autoscalers.put(ref, how, slots, signal);
  }

  async #ready(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#pods.ready(signal), this.#autoscalers.ready(signal)]);
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

  #gone(pod: PodView): void {
    this.#causes.forget(pod);
    if (pod.role === "task") this.#tasks.keepExit(pod).catch((error: unknown) => this.#deps.onTrouble?.(error as Error));
  }

  /** What a cluster's refusals and silence are to whoever asked. */
  #asking<T>(ask: () => Promise<T>): Promise<T> {
    return asking(this.#deps.cluster, this.#api, ask);
  }
}

/** Values of secrets are part of it, and not to be read from it. */
function preparedKey(workload: Workload): string {
  return `${workload.ref.stack}/${workload.ref.component} ${createHash("sha256").update(JSON.stringify(workload)).digest("hex")}`;
}
