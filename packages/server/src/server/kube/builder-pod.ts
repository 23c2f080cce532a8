// The pod of a cluster's own builder: made when it is needed, waited for, and asked why it ended. Decides nothing about builds.
import { setTimeout as sleep } from "node:timers/promises";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { builderNamespace as namespace } from "@berth/contract/clusterrights.ts";
import { failureOf, refusalOf } from "../../engines/kubernetes/failures.ts";
import { hopeless, wordsOf } from "../../engines/kubernetes/helper.ts";
import { mark } from "../../engines/kubernetes/names.ts";
import type { Deployment, Pod } from "../../engines/kubernetes/objects.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring, KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import { builderName, builderObjects, builderSelector, type BuilderOrder } from "./builder-objects.ts";

/** One that answers. */
export interface BuilderPod {
  readonly name: string;
  readonly uid: string;
  readonly restarts: number;
}

export interface PodPatience {
  /** ms for it to be placed, to get its volume and its image, and to answer. */
  readonly start: number;
  /** Restarts meanwhile after which it is given up. */
  readonly restarts: number;
}
const usual: PodPatience = { start: 300_000, restarts: 3 };

/** Why there is none. */
export class BuilderUnready extends Error {
  override readonly name = "BuilderUnready";
  readonly why: Cause;
  constructor(why: Cause) {
    super(why.code);
    this.why = why;
  }
}

/** Makes what is missing of it, and nothing new where it is there already. `dryRun`: nothing is made. Errors: BuilderUnready for a refusal; KubeError, KubeUnreachable. */
export async function applyBuilder(api: KubeApi, order: BuilderOrder, signal: AbortSignal, { dryRun = false } = {}): Promise<void> {
  const { namespace: home, config, claim, policy, deployment } = builderObjects(order);
  const write = { signal, ...(dryRun ? { dryRun } : {}) };
  try {
    // Made by a POST: an apply would need the right to change every namespace of the cluster.
    if ((await api.find({ kind: "Namespace", name: namespace }, { signal })) === undefined)
      await api.create(home, { signal }).catch(ignoring(409));
    for (const one of [config, policy]) await api.apply(one, { ...write, force: true });
    // A claim that is there stays as it is: hardly any storage can be made smaller.
    if (
      claim !== undefined &&
      (await api.find({ kind: "PersistentVolumeClaim", namespace, name: claim.metadata.name }, { signal })) === undefined
    )
      await api.create(claim, write).catch(ignoring(409));
    await api.apply(deployment, { ...write, force: true });
  } catch (error) {
    const failure = error instanceof KubeError ? failureOf(api.name, error) : undefined;
    // What passes by itself is tried again by whoever asked.
    throw failure === undefined || failure.retryable ? error : new BuilderUnready(failure.failure);
  }
}

/** The one of this order, once it answers. `say`: told what it waits for, whenever that is something else. Errors: BuilderUnready, KubeError, KubeUnreachable, the signal's reason. */
export async function readyPod(
  api: KubeApi,
  { cluster, order, say }: { readonly cluster: string; readonly order: BuilderOrder; readonly say: (waitsFor: string) => void },
  signal: AbortSignal,
  patience = usual,
): Promise<BuilderPod> {
  const { revision, selector } = builderObjects(order);
  const began = performance.now();
  const before = new Map<string, number>();
  for (let told = ""; ; await sleep(200, undefined, { signal })) {
    const pods = await listed<Pod>(api, "Pod", { namespace, labels: selector, signal });
    const pod = pods.find(({ metadata }) => metadata.labels?.[mark.revision] === revision && metadata.deletionTimestamp === undefined);
    const look = pod === undefined ? await missingPod(api, order, signal) : standing(pod);
    if ("pod" in look) return look.pod;
    if (pod !== undefined && !before.has(pod.metadata.uid ?? "")) before.set(pod.metadata.uid ?? "", restartsOf(pod));
    const restarts = pod === undefined ? 0 : restartsOf(pod) - (before.get(pod.metadata.uid ?? "") ?? 0);
    if (look.over || restarts >= patience.restarts || performance.now() - began > patience.start)
      throw new BuilderUnready(look.why ?? cause("cluster_builder_unready", { cluster, reason: look.reason }));
    if (look.reason !== told) say(look.reason);
    told = look.reason;
  }
}

type Look = { readonly pod: BuilderPod } | { readonly reason: string; readonly over: boolean; readonly why?: Cause };

const restartsOf = ({ status }: Pod): number => status?.containerStatuses?.[0]?.restartCount ?? 0;

/** What the pod is at. */
function standing(pod: Pod): Look {
  const { metadata, status } = pod;
  const [container] = status?.containerStatuses ?? [];
  if (container?.ready === true) return { pod: { name: metadata.name, uid: metadata.uid ?? "", restarts: container.restartCount } };
  const { waiting } = container?.state ?? {};
  const terminated = container?.state?.terminated ?? container?.lastState?.terminated;
  const scheduled = status?.conditions?.find(({ type }) => type === "PodScheduled");
  const unplaced = scheduled?.status === "False" ? scheduled.message : undefined;
  const ended = terminated === undefined ? undefined : lastWords(terminated);
  const reason = ended ?? (wordsOf(waiting) || unplaced || "its pod is starting");
  return { reason: sentence(reason), over: hopeless.has(waiting?.reason ?? "") };
}

/** Why there is none yet, as its Deployment knows. */
async function missingPod(api: KubeApi, { installation }: BuilderOrder, signal: AbortSignal): Promise<Look> {
  const found = await api.find<Deployment>({ kind: "Deployment", namespace, name: builderName(installation) }, { signal });
  const failed = found?.status?.conditions?.find(({ type, status }) => type === "ReplicaFailure" && status === "True")?.message;
  if (failed === undefined) return { reason: "its pod is being made", over: false };
  const why = refusalOf(failed);
  return { reason: sentence(failed), over: why !== undefined, ...(why === undefined ? {} : { why }) };
}

/** Why this pod cannot have gone on with what it was doing; undefined: nothing is known to have happened to it. Errors: KubeError, KubeUnreachable. */
export async function endOf(api: KubeApi, { name, uid, restarts }: BuilderPod, signal: AbortSignal): Promise<string | undefined> {
  const pod = await api.find<Pod>({ kind: "Pod", namespace, name }, { signal });
  if (pod === undefined || pod.metadata.uid !== uid) return "its pod was removed";
  const { phase, reason, message, containerStatuses } = pod.status ?? {};
  if (phase === "Failed")
    return sentence(
      wordsOf({ ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) }) || "its pod failed",
    );
  const [container] = containerStatuses ?? [];
  const terminated = container?.state?.terminated ?? (restartsOf(pod) > restarts ? container?.lastState?.terminated : undefined);
  if (terminated !== undefined) return sentence(lastWords(terminated));
  return pod.metadata.deletionTimestamp === undefined ? undefined : "its pod was removed";
}

function lastWords({
  reason,
  exitCode,
  message = "",
}: {
  readonly reason?: string;
  readonly exitCode: number;
  readonly message?: string;
}): string {
  if (reason === "OOMKilled") return "it was out of memory (OOMKilled)";
  // It had no time for words then: its last ones are of something else.
  if (exitCode > 128) return `it was ended by signal ${String(exitCode - 128)}`;
  const last = message.trim().split("\n").at(-1) ?? "";
  return last === "" ? `it ended with code ${String(exitCode)}` : `it ended with code ${String(exitCode)}: ${last}`;
}

const sentence = (text: string): string => text.trim().replace(/\.$/, "").slice(0, 400);

/** Without a word of what waits for it: a question of the doctor. */
export async function builderStanding(
  api: KubeApi,
  installation: string,
  signal: AbortSignal,
): Promise<{ readonly state: "none" | "answers" | "not-ready"; readonly said: string }> {
  const [pod] = await listed<Pod>(api, "Pod", { namespace, labels: builderSelector(installation), signal });
  if (pod === undefined) return { state: "none", said: "" };
  const look = standing(pod);
  return "pod" in look ? { state: "answers", said: look.pod.name } : { state: "not-ready", said: look.reason };
}

/** All that was made of it but its namespace, which may be others' too. Absent = success. */
export async function removeBuilder(api: KubeApi, installation: string, signal: AbortSignal): Promise<void> {
  const name = builderName(installation);
  for (const kind of ["Deployment", "PersistentVolumeClaim", "ConfigMap", "NetworkPolicy"] as const)
    await api.delete({ kind, namespace, name }, { signal, propagation: "Background" });
}
