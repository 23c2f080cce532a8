// Volumes of stacks as claims of their namespaces. What is in them is the cluster's storage's; it goes when the claim does.
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "../../core/errors.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Workload } from "../engine.ts";
import { hasEnded } from "./instances.ts";
import { mark, namespaceOf, selector } from "./names.ts";
import type { Claim } from "./objects.ts";
import { withOverlay } from "./overlays.ts";
import { volumeNames } from "./pod.ts";
import type { Pods } from "./pods.ts";
import { bytes } from "../../core/quantity.ts";

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
      namespace: namespaceOf(ref),
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
    for (const volume of volumeNames(workload)) await this.#ensureOne(workload, volume, signal);
  }

  /** One that is there keeps its size and its storage, unless this component has a word on them: another one that shares it may have had. */
  async #ensureOne(workload: Workload, volume: string, signal: AbortSignal): Promise<void> {
    const claim = withOverlay(claimOf(this.#installation, workload, volume), workload);
    const found =
      workload.kubernetes?.PersistentVolumeClaim === undefined
        ? await this.#api.find<Claim>({ kind: "PersistentVolumeClaim", namespace: claim.metadata.namespace, name: volume }, { signal })
        : undefined;
    if (found === undefined) await this.#api.apply(claim, { signal, force: true });
    else if (found.metadata.labels?.[mark.stackId] !== workload.stackId)
      await this.#api.merge(
        { kind: "PersistentVolumeClaim", namespace: claim.metadata.namespace, name: volume },
        { metadata: { labels: claim.metadata.labels } },
        { signal },
      );
  }

  async list(
    stackId: string,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly bytes: number; readonly usedBy: readonly string[] }[]> {
    await this.#pods.ready(signal);
    const found: { name: string; bytes: number; usedBy: string[] }[] = [];
    for (const claim of await this.#claims(stackId, signal)) {
      const { namespace = "", name } = claim.metadata;
      found.push({ name, bytes: Math.round(bytes(claim.status?.capacity?.storage ?? "")), usedBy: this.#usersOf(namespace, name) });
    }
    return found;
  }

  async remove(stackId: string, volume: string, signal: AbortSignal): Promise<void> {
    await this.#pods.ready(signal);
    for (const { metadata } of await this.#claims(stackId, signal)) {
      const { namespace = "", name } = metadata;
      if (name !== volume) continue;
      this.#throwIfUsed(namespace, name);
      await this.removeClaim({ metadata }, signal);
    }
  }

  /** Resolves once it is gone. */
  async removeClaim({ metadata }: Pick<Claim, "metadata">, signal: AbortSignal): Promise<void> {
    const { namespace = "", name, uid } = metadata;
    await this.#api.delete({ kind: "PersistentVolumeClaim", namespace, name }, { uid, signal });
    // The cluster keeps it for a moment, to see whether a pod has it.
    while ((await this.#api.find({ kind: "PersistentVolumeClaim", namespace, name }, { signal }))?.metadata.uid === uid)
      await sleep(50, undefined, { signal });
  }

  /** One that is there, and not on its way out. */
  async find(stackId: string, volume: string, signal: AbortSignal): Promise<Claim | undefined> {
    await this.#pods.ready(signal);
    const all = await this.#claims(stackId, signal);
    return all.find(({ metadata }) => metadata.name === volume && metadata.deletionTimestamp === undefined);
  }

  /** Errors: `volume_in_use`. */
  async checkFree(stackId: string, volume: string, signal: AbortSignal): Promise<void> {
    await this.#pods.ready(signal);
    for (const { metadata } of await this.#claims(stackId, signal))
      if (metadata.name === volume) this.#throwIfUsed(metadata.namespace ?? "", volume);
  }

  /** The volume's claim, made where there is none. `isNew`: it was made now. */
  async make(
    of: Pick<Workload, "ref" | "stackId">,
    volume: string,
    signal: AbortSignal,
  ): Promise<{ readonly claim: Claim; readonly isNew: boolean }> {
    for (;;) {
      const found = await this.find(of.stackId, volume, signal);
      if (found !== undefined) return { claim: found, isNew: false };
      try {
        return { claim: await this.#api.create<Claim>(claimOf(this.#installation, of, volume), { signal }), isNew: true };
      } catch (error) {
        // One that is going is waited for; one that was made meanwhile is found.
        if (!(error instanceof KubeError) || error.reason !== "AlreadyExists") throw error;
        await sleep(100, undefined, { signal });
      }
    }
  }

  /** The node of a pod that has it, or had it last and has not gone: what one node has, others may not have as well. */
  nodeOf(namespace: string, claim: string): string | undefined {
    for (const pod of this.#pods.all())
      if (pod.namespace === namespace && pod.claims.includes(claim) && pod.node !== undefined && !hasEnded(pod)) return pod.node;
    return undefined;
  }

  #throwIfUsed(namespace: string, volume: string): void {
    const [component] = this.#usersOf(namespace, volume);
    if (component !== undefined) throw new BerthError("volume_in_use", { volume, component });
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
