// Volumes of stacks as claims of their namespaces. What is in them is the cluster's storage's; it goes when the claim does.
import { BerthError } from "../../core/errors.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { listed } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Workload } from "../engine.ts";
import { mark, namespaceOf, selector } from "./names.ts";
import type { Claim } from "./objects.ts";
import { volumeNames } from "./pod.ts";
import type { Pods } from "./pods.ts";

/** What a volume asks for that says no size. */
const defaultSize = "1Gi";

export function claimOf(
  installation: string,
  { ref, stackId }: Pick<Workload, "ref" | "stackId">,
  volume: string,
): Claim & { readonly spec: object } {
  return {
    apiVersion: apiVersionOf("PersistentVolumeClaim"),
    kind: "PersistentVolumeClaim",
    metadata: {
      namespace: namespaceOf(ref.stack),
      name: volume,
      labels: {
        "app.kubernetes.io/managed-by": "berth",
        "app.kubernetes.io/part-of": ref.stack,
        [mark.installation]: installation,
        [mark.stack]: ref.stack,
        [mark.stackId]: stackId,
        [mark.volume]: volume,
      },
    },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: defaultSize } } },
  };
}

export class Volumes {
  readonly #api: KubeApi;
  readonly #installation: string;
  readonly #pods: Pods;

  constructor(api: KubeApi, installation: string, pods: Pods) {
    this.#api = api;
    this.#installation = installation;
    this.#pods = pods;
  }

  async ensure(workload: Workload, signal: AbortSignal): Promise<void> {
    for (const volume of volumeNames(workload))
      await this.#api.apply(claimOf(this.#installation, workload, volume), { signal, force: true });
  }

  async list(
    stackId: string,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly bytes: number; readonly usedBy: readonly string[] }[]> {
    await this.#pods.ready(signal);
    const found: { name: string; bytes: number; usedBy: string[] }[] = [];
    for (const claim of await this.#claims(stackId, signal)) {
      const { namespace = "", name } = claim.metadata;
      found.push({ name, bytes: bytesOf(claim.status?.capacity?.storage ?? ""), usedBy: this.#usersOf(namespace, name) });
    }
    return found;
  }

  async remove(stackId: string, volume: string, signal: AbortSignal): Promise<void> {
    await this.#pods.ready(signal);
    for (const { metadata } of await this.#claims(stackId, signal)) {
      const { namespace = "", name, uid } = metadata;
      if (name !== volume) continue;
      const [component] = this.#usersOf(namespace, name);
      if (component !== undefined) throw new BerthError("volume_in_use", { volume, component });
      await this.#api.delete({ kind: "PersistentVolumeClaim", namespace, name }, { uid, signal });
      // The cluster keeps it for a moment, to see whether a pod has it.
      while ((await this.#api.find({ kind: "PersistentVolumeClaim", namespace, name }, { signal }))?.metadata.uid === uid)
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  #claims(stackId: string, signal: AbortSignal): Promise<Claim[]> {
    const labels = selector({ [mark.installation]: this.#installation, [mark.stackId]: stackId, [mark.volume]: undefined });
    return listed<Claim>(this.#api, "PersistentVolumeClaim", { labels, signal });
  }

  /** Components whose pods have it, also those that end. */
  #usersOf(namespace: string, claim: string): string[] {
    const users = new Set<string>();
    for (const pod of this.#pods.all()) if (pod.namespace === namespace && pod.claims.includes(claim)) users.add(pod.ref.component);
    return [...users].toSorted();
  }
}

const units: Readonly<Record<string, number>> = {
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
};

/** As in `1Gi`; 0 when it is no quantity. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
function bytesOf(quantity: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(quantity) ?? [];
  return Math.round(Number(number) * (unit === "" ? 1 : (units[unit] ?? 0)));
}
