// Secrets of a component's releases: made before its pods, immutable, and removed once nothing refers to them and nobody is about to.
import type { KubeApi } from "../../kubernetes/api.ts";
import { listed } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Ref, Workload } from "../engine.ts";
import { missedSecret, type PodView } from "./instances.ts";
import { componentLabels, namespaceOf, ofComponent } from "./names.ts";
import type { PodTemplate, Secret } from "./objects.ts";
import { secretOf } from "./pod.ts";

/** When it was last asked for, which its immutability does not keep from changing. */
const preparedKey = "berth.prepared-at";
/** ms between `prepare` and the `ensure` that refers to it: far more than any rollout waits between the two. */
const keptFor = 3_600_000;

/** As it is applied, but for the values. */
export function secretObject(
  installation: string,
  workload: Workload,
  name: string,
): Omit<Secret, "data"> & { readonly immutable: true; readonly type: string } {
  return {
    apiVersion: apiVersionOf("Secret"),
    kind: "Secret",
    metadata: { namespace: namespaceOf(workload.ref), name, labels: componentLabels(installation, workload) },
    immutable: true,
    type: "Opaque",
  };
}

export async function applySecret(api: KubeApi, installation: string, workload: Workload, now: Date, signal: AbortSignal): Promise<void> {
  const secret = secretOf(installation, workload);
  if (secret === undefined) return;
  const { metadata, ...rest } = secretObject(installation, workload, secret.name);
  const data = Object.fromEntries(Object.entries(secret.data).map(([name, value]) => [name, Buffer.from(value).toString("base64")]));
  const object: Secret = { ...rest, metadata: { ...metadata, annotations: { [preparedKey]: now.toISOString() } }, data };
  await api.apply(object, { signal, force: true });
}

/** Whether the Secret that its next start waits for is not there: somebody removed it. */
export async function lacksSecret(api: KubeApi, pod: PodView, signal: AbortSignal): Promise<boolean> {
  const name = missedSecret(pod);
  return name !== undefined && (await api.find({ kind: "Secret", namespace: pod.namespace, name }, { signal })) === undefined;
}

/** Removes those of a component that none of the templates refers to, which are asked for only when one is old enough to go; `all`: whatever refers to them. */
export async function sweepSecrets(
  api: KubeApi,
  { installation, ref, now }: { readonly installation: string; readonly ref: Ref; readonly now: Date },
  templates: (() => Promise<readonly PodTemplate[]>) | "all",
  signal: AbortSignal,
): Promise<void> {
  const namespace = namespaceOf(ref);
  const all = await listed<Secret>(api, "Secret", { namespace, labels: ofComponent(installation, ref), signal });
  const isOld = ({ metadata }: Secret): boolean => !(now.getTime() - Date.parse(metadata.annotations?.[preparedKey] ?? "") < keptFor);
  const able = templates === "all" ? all : all.filter(isOld);
  const used = new Set(templates === "all" || able.length === 0 ? [] : (await templates()).flatMap(namesIn));
  for (const { metadata } of able) {
    const { name, resourceVersion } = metadata;
    // Unless somebody prepares it again just now.
    if (!used.has(name)) await api.delete({ kind: "Secret", namespace, name }, { resourceVersion, signal });
  }
}

const namesIn = ({ spec }: PodTemplate): string[] =>
  spec.containers.flatMap(({ env = [] }) => env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? []));
