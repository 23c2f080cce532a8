// The slots of a component: one Deployment for each wave of its instances, which `ensure` fills and `stop` empties pod by pod. Two letters alternate; a third is taken only
// while a newer release overtakes one that was still coming up. What may end by itself is no Deployment's: each such instance is a Job of its own.
import { cause } from "@berth/contract/causes.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring, KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { EngineFailure, type Ref, type TrackTarget } from "../engine.ts";
import { writeWorkload, type WrittenWorkload } from "../written.ts";
import { event, refusalOf } from "./failures.ts";
import { hasEnded, type PodView } from "./instances.ts";
import { withOverlay } from "./overlays.ts";
import { componentLabels, digest, letters, mark, namespaceOf, ofComponent, revisionOf, slotName } from "./names.ts";
import type { Deployment, Job } from "./objects.ts";
import { podTemplate } from "./pod.ts";

/** The least of all costs: such a pod goes first when its Deployment shrinks. https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost */
const goesFirst = "-2147483648";
/** More than a pod that says nothing. */
const goesLast = "100";
const costKey = "controller.kubernetes.io/pod-deletion-cost";
const mostTries = 20;

/** Whether its instances are pods of a Deployment, which are started again for ever. */
export const isEndless = (target: Pick<TrackTarget, "workload">): boolean => target.workload.restart === "always";

export const revisionFor = ({ workload, restart, track }: TrackTarget): string =>
  revisionOf({ releaseHash: workload.releaseHash, restart }, track);

export function deploymentOf(installation: string, target: TrackTarget, slot: string): Deployment {
  const { workload, track, restart, replicas } = target;
  const labels = {
    ...componentLabels(installation, workload),
    "app.kubernetes.io/instance": slotName(workload.ref.component, slot),
    [mark.slot]: slot,
    [mark.track]: track,
    [mark.revision]: revisionFor(target),
    [mark.release]: String(workload.releaseNumber),
  };
  const deployment: Deployment = {
    apiVersion: apiVersionOf("Deployment"),
    kind: "Deployment",
    metadata: {
      namespace: namespaceOf(workload.ref),
      name: slotName(workload.ref.component, slot),
      labels,
      annotations: annotationsOf(target),
    },
    spec: {
      replicas,
      // A slot is never rolled over: each release has its own.
      revisionHistoryLimit: 0,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: 0 } },
      selector: { matchLabels: { [mark.stack]: workload.ref.stack, [mark.component]: workload.ref.component, [mark.slot]: slot } },
      template: podTemplate({ installation, workload, track, restart, slot }),
    },
  };
  return withOverlay(deployment, workload);
}

export function jobOf(installation: string, target: TrackTarget, name: string): Job {
  const { workload, track, restart } = target;
  const job: Job = {
    apiVersion: apiVersionOf("Job"),
    kind: "Job",
    metadata: {
      namespace: namespaceOf(workload.ref),
      name,
      labels: { ...componentLabels(installation, workload), [mark.role]: "instance", [mark.revision]: revisionFor(target) },
      annotations: annotationsOf(target),
    },
    spec: {
      // "Never" is once, "on-failure" until it ends well.
      backoffLimit: workload.restart === "never" ? 0 : 2_147_483_647,
      template: podTemplate({ installation, workload, track, restart }),
    },
  };
  return withOverlay(job, workload);
}

const annotationsOf = ({ workload, restart }: TrackTarget): Record<string, string> => ({
  [mark.releaseHash]: workload.releaseHash,
  [mark.restart]: String(restart),
  [mark.order]: JSON.stringify({ version: 1, ...writeWorkload(workload) }),
});

/** With what tells later whether somebody else changed it. */
function withMarks(deployment: Deployment): Deployment {
  const { metadata, spec } = deployment;
  const { replicas = 1, ...rest } = spec;
  const applied = JSON.stringify({ metadata: { labels: metadata.labels }, spec: rest });
  return {
    ...deployment,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [mark.applied]: applied, [mark.replicas]: String(replicas) } },
  };
}

export class Slots {
  readonly #api: KubeApi;
  readonly #installation: string;

  constructor(api: KubeApi, installation: string) {
    this.#api = api;
    this.#installation = installation;
  }

  list(ref: Ref, signal: AbortSignal): Promise<Deployment[]> {
    return listed<Deployment>(this.#api, "Deployment", {
      namespace: namespaceOf(ref),
      labels: ofComponent(this.#installation, ref),
      signal,
    });
  }

  jobs(ref: Ref, role: "instance" | "task" | "any", signal: AbortSignal): Promise<Job[]> {
    const all = ofComponent(this.#installation, ref);
    const labels = role === "any" ? all : `${all},${mark.role}=${role}`;
    return listed<Job>(this.#api, "Job", { namespace: namespaceOf(ref), labels, signal });
  }

  /**
   * At least so many of the target's revision, beside those that are `leaving` (uids). Never fewer than there are. `known`: the component's slots as they were listed just now;
   * `autoscaled`: the name of the one whose number is somebody else's.
   */
  async fill(
    target: TrackTarget,
    leaving: ReadonlySet<string>,
    known: readonly Deployment[],
    autoscaled: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const slots = attempt === 0 ? known : await this.list(target.workload.ref, signal);
      const mine = slotOfRevision(slots, revisionFor(target));
      if (mine !== undefined && mine.metadata.name === autoscaled) return;
      // Those that were stopped are counted no more; those that only leave still are.
      const counted = [...leaving].filter((uid) => !leavingOf(mine).has(uid)).length;
      const replicas = target.replicas + counted;
      if (mine === undefined ? target.replicas === 0 : (mine.spec.replicas ?? 1) >= replicas) return;
      if (await this.#fillOne(target, slots, mine, replicas, signal)) return;
      if (attempt === mostTries)
        throw new Error(`${target.workload.ref.component} was changed by somebody else ${String(mostTries)} times in a row`);
    }
  }

  /** false: somebody else was faster. */
  async #fillOne(
    target: TrackTarget,
    slots: readonly Deployment[],
    mine: Deployment | undefined,
    replicas: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      if (mine === undefined) {
        await this.#api.create(withMarks(deploymentOf(this.#installation, target, slotFor(target, slots))), { signal });
      } else
        await this.#api.merge(
          { kind: "Deployment", namespace: mine.metadata.namespace, name: mine.metadata.name },
          {
            metadata: { resourceVersion: mine.metadata.resourceVersion, annotations: { [mark.replicas]: String(replicas) } },
            spec: { replicas },
          },
          { signal },
        );
      return true;
    } catch (error) {
      if (error instanceof KubeError && (error.status === 409 || error.status === 404) && error.conflicts.length === 0) return false;
      throw error;
    }
  }

  /**
   * Ends exactly these pods, `grace` in seconds, of the component's `others`, and lets their Deployments count them no more. Asked again, after whatever came in between, it does the same and not more:
   * each pod is taken off once, because its uid is written in the same change as the new number. `told`: waits a while for the pods to be told to end. true: a Deployment or Job went with the last of its pods.
   */
  async empty(
    ref: Ref,
    pods: readonly PodView[],
    others: readonly PodView[],
    { grace, told }: { readonly grace: number; readonly told: () => Promise<unknown> },
    signal: AbortSignal,
  ): Promise<boolean> {
    let isEmptied = false;
    const inSlots = Map.groupBy(
      // What has ended, or is ending, is counted no more as it is.
      pods.filter((pod) => pod.deployment !== undefined && !pod.stopping && !hasEnded(pod)),
      ({ deployment }) => deployment ?? "",
    );
    const end = async (ending: readonly PodView[]): Promise<void> => {
      await Promise.all(
        ending.map(({ namespace, name, uid }) =>
          this.#api.delete({ kind: "Pod", namespace, name }, { grace, uid, signal }).catch(isAnother),
        ),
      );
    };
    for (const [deployment, mine] of inSlots) {
      // A Deployment that shrinks takes pods that are not ready before all others. With such a neighbour the named ones end first: the one that then comes in their
      // place is the one that goes when the number falls, since it is not ready either, and the neighbours cost more.
      const named = new Set(mine.map(({ uid }) => uid));
      const unsure = others.filter(
        (pod) => pod.deployment === deployment && !named.has(pod.uid) && !pod.stopping && pod.ready?.status !== "True",
      );
      if (unsure.length > 0) {
        await this.#setCost(unsure, goesLast, signal);
        await end(mine);
      }
      isEmptied = (await this.#shrink(ref, deployment, mine, signal)) || isEmptied;
    }
    for (const { owner, deployment, namespace } of pods)
      if (deployment === undefined && owner !== undefined)
        isEmptied = (await this.#api.delete({ kind: "Job", namespace, name: owner }, { propagation: "Background", signal })) || isEmptied;
    // Whoever ends a pod before the new number has come through to the one who counts gets another in its place, for a moment.
    if (inSlots.size > 0) await told();
    await end(pods);
    return isEmptied;
  }

  /** So many more instances that may end, each a Job of its own. */
  async addJobs(target: TrackTarget, missing: number, signal: AbortSignal): Promise<void> {
    const known = (await this.jobs(target.workload.ref, "instance", signal)).filter(
      ({ metadata }) => metadata.labels?.[mark.revision] === revisionFor(target),
    );
    const names = new Set(known.map(({ metadata }) => metadata.name));
    for (let number = 0, made = 0; made < missing; number += 1) {
      const name = jobName(target.workload.ref.component, revisionFor(target), String(number));
      if (names.has(name)) continue;
      made += 1;
      await this.#api.create(jobOf(this.#installation, target, name), { signal });
    }
  }

  /** Why a Deployment that wants pods has none, in the words of who refuses them. */
  async whyNoPods(target: TrackTarget, signal: AbortSignal): Promise<EngineFailure> {
    const slots = await this.list(target.workload.ref, signal);
    const mine = slots.find(({ metadata }) => metadata.labels?.[mark.revision] === revisionFor(target));
    const refused = mine?.status?.conditions?.find(({ type, status }) => type === "ReplicaFailure" && status === "True")?.message;
    const why = refused === undefined ? undefined : refusalOf(refused);
    const evidence = refused === undefined ? [] : [event(refused)];
    return new EngineFailure(why ?? cause("start_failed", { reason: refused ?? silenceOf(mine) }, evidence), { retryable: true });
  }

  async #setCost(pods: readonly PodView[], cost: string, signal: AbortSignal): Promise<void> {
    const patch = { metadata: { annotations: { [costKey]: cost } } };
    await Promise.all(
      pods.map(({ namespace, name }) => this.#api.merge({ kind: "Pod", namespace, name }, patch, { signal }).catch(isAnother)),
    );
  }

  /** true: the slot is gone. */
  async #shrink(ref: Ref, name: string, pods: readonly PodView[], signal: AbortSignal): Promise<boolean> {
    const namespace = namespaceOf(ref);
    // Should the Deployment be faster than the deletion, it takes these.
    await this.#setCost(pods, goesFirst, signal);
    for (let attempt = 0; attempt <= mostTries; attempt++) {
      const place = { kind: "Deployment", namespace, name } as const;
      const found = await this.#api.find<Deployment>(place, { signal });
      if (found === undefined || found.metadata.deletionTimestamp !== undefined) return true;
      const known = leavingOf(found);
      const more = pods.filter(({ uid }) => !known.has(uid));
      const replicas = Math.max(0, (found.spec.replicas ?? 1) - more.length);
      if (more.length === 0 && replicas > 0) return false;
      const { resourceVersion, uid } = found.metadata;
      try {
        if (replicas === 0) await this.#api.delete(place, { propagation: "Background", resourceVersion, uid, signal });
        else {
          const leaving = JSON.stringify([...known, ...more.map((pod) => pod.uid)].slice(-200));
          await this.#api.merge(
            place,
            {
              metadata: { resourceVersion, annotations: { [mark.leaving]: leaving, [mark.replicas]: String(replicas) } },
              spec: { replicas },
            },
            { signal },
          );
        }
        return replicas === 0;
      } catch (error) {
        if (!(error instanceof KubeError) || error.status !== 409) throw error;
      }
    }
    throw new Error(`${name} was changed by somebody else ${String(mostTries)} times in a row`);
  }
}

/** The letter of the slot that has the target's revision, or that will: the first that none of the component's slots has. */
export function slotFor(target: TrackTarget, slots: readonly Deployment[]): string {
  const revision = revisionFor(target);
  const mine = slotOfRevision(slots, revision);
  const taken = new Set(slots.map(({ metadata }) => metadata.labels?.[mark.slot]));
  return mine?.metadata.labels?.[mark.slot] ?? letters.find((letter) => !taken.has(letter)) ?? "z";
}

/** The slot that has this revision, and is not on its way out. */
export const slotOfRevision = (slots: readonly Deployment[], revision: string): Deployment | undefined =>
  slots.find(({ metadata }) => metadata.labels?.[mark.revision] === revision && metadata.deletionTimestamp === undefined);

/** The workload that a slot was made by, without the values of its variables. */
export function orderedBy(slot: Deployment | undefined): WrittenWorkload["workload"] | undefined {
  const text = slot?.metadata.annotations?.[mark.order];
  return text === undefined ? undefined : (JSON.parse(text) as WrittenWorkload).workload;
}

/** Uids of pods that the number of replicas counts no more. */
function leavingOf(slot: Deployment | undefined): ReadonlySet<string> {
  const text = slot?.metadata.annotations?.[mark.leaving];
  return new Set(text === undefined ? [] : (JSON.parse(text) as string[]));
}

/** What is known of a Deployment that nobody refuses and that has no pods. */
function silenceOf(slot: Deployment | undefined): string {
  const { observedGeneration = 0 } = slot?.status ?? {};
  // https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/#DeploymentStatus
  return slot !== undefined && observedGeneration < (slot.metadata.generation ?? 0)
    ? "the cluster's controllers are behind: they have not looked at it yet"
    : "the cluster made no pods of it";
}

/** A pod that is not there any more, or another one of its name, is as good as ended. */
const isAnother = ignoring(404, 409);

/** A name for the nth instance of a revision that may end. */
export const jobName = (component: string, revision: string, unique: string): string =>
  `${component}--${digest(`${revision} ${unique}`).slice(0, 10)}`;
