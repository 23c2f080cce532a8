// The cluster's own autoscaler, where it decides how many instances a component has: one HorizontalPodAutoscaler over the Deployment that serves. As long as it is there the
// number of that Deployment is its alone; it goes before anything else is to change it (docs/decisions/0048-the-clusters-autoscaler-decides-between-releases.md).
// https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring } from "../../kubernetes/errors.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Autoscaling, Observed, Ref } from "../engine.ts";
import { Mirror } from "./mirror.ts";
import { mark, namespaceOf, refLabels, revisionOf, selector } from "./names.ts";
import type { Deployment } from "./objects.ts";
import { bytes, cores } from "../../core/quantity.ts";
import { slotOfRevision } from "./slots.ts";

interface Metric {
  readonly type: "Resource";
  readonly resource: { readonly name: string; readonly target: { readonly type: "AverageValue"; readonly averageValue?: string } };
}
export interface Autoscaler extends KubeObject {
  readonly spec: {
    readonly scaleTargetRef: { readonly apiVersion: string; readonly kind: string; readonly name: string };
    readonly minReplicas?: number;
    readonly maxReplicas: number;
    readonly metrics?: readonly Metric[];
  };
}

/** What is kept of one that is there. */
interface Standing {
  /** The Deployment that it scales. */
  readonly slot: string;
  readonly how: Autoscaling;
}

export function autoscalerOf(installation: string, ref: Ref, slot: string, how: Autoscaling): Autoscaler {
  const metric = (name: string, averageValue: string | undefined): readonly Metric[] =>
    averageValue === undefined ? [] : [{ type: "Resource", resource: { name, target: { type: "AverageValue", averageValue } } }];
  return {
    apiVersion: apiVersionOf("HorizontalPodAutoscaler"),
    kind: "HorizontalPodAutoscaler",
    metadata: {
      namespace: namespaceOf(ref),
      name: ref.component,
      labels: refLabels(installation, ref),
      annotations: { [mark.releaseHash]: how.revision.releaseHash, [mark.restart]: String(how.revision.restart) },
    },
    spec: {
      scaleTargetRef: { apiVersion: apiVersionOf("Deployment"), kind: "Deployment", name: slot },
      minReplicas: how.min,
      maxReplicas: how.max,
      // Amounts and not percentages: those would be of what a pod requests, of which Berth makes a part of its limit.
      metrics: [
        ...metric("cpu", how.cpu === undefined ? undefined : `${String(how.cpu)}m`),
        ...metric("memory", how.memory === undefined ? undefined : String(how.memory)),
      ],
    },
  };
}

/** The same read back, whoever has changed it since. */
export function standingOf({ metadata, spec }: Autoscaler): Standing {
  const amount = (name: string, read: (text: string) => number): number | undefined => {
    const text = spec.metrics?.find(({ resource }) => resource?.name === name)?.resource.target.averageValue;
    return text === undefined ? undefined : read(text);
  };
  const cpu = amount("cpu", (text) => Math.round(cores(text) * 1000));
  const memory = amount("memory", bytes);
  return {
    slot: spec.scaleTargetRef.name,
    how: {
      revision: { releaseHash: metadata.annotations?.[mark.releaseHash] ?? "", restart: Number(metadata.annotations?.[mark.restart] ?? 0) },
      min: spec.minReplicas ?? 1,
      max: spec.maxReplicas,
      ...(cpu === undefined ? {} : { cpu }),
      ...(memory === undefined ? {} : { memory }),
    },
  };
}

export interface AutoscalersDeps {
  readonly api: KubeApi;
  readonly cluster: string;
  readonly installation: string;
  /** One was changed or taken away, or has looked anew. */
  readonly onChange: (ref: Ref) => void;
  readonly onTrouble?: ((error: Error) => void) | undefined;
}

export class Autoscalers implements AsyncDisposable {
  readonly #deps: AutoscalersDeps;
  readonly #known: Mirror<Standing, Autoscaler>;

  constructor(deps: AutoscalersDeps) {
    this.#deps = deps;
    this.#known = new Mirror("HorizontalPodAutoscaler", {
      ...deps,
      labels: selector({ [mark.installation]: deps.installation }),
      project: standingOf,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#known[Symbol.asyncDispose]();
  }

  /** Resolves when all of them are known. Errors: as of `known`. */
  ready(signal: AbortSignal): Promise<void> {
    return this.#known.ready(signal);
  }

  /** The name of the Deployment whose number is left to the autoscaler. */
  slotOf(ref: Ref): string | undefined {
    return this.#known.of(ref).at(0)?.value.slot;
  }

  /** What it decides, and how many that is now: asked of the Deployment itself, after its pods were looked at. undefined: nothing is left to it. */
  async decided(ref: Ref, signal: AbortSignal): Promise<Observed["autoscaled"]> {
    const [standing] = this.#known.of(ref);
    if (standing === undefined) return undefined;
    const { slot, how } = standing.value;
    const found = await this.#deps.api.find<Deployment>({ kind: "Deployment", namespace: namespaceOf(ref), name: slot }, { signal });
    if (found === undefined || found.metadata.deletionTimestamp !== undefined) return undefined;
    if (found.metadata.labels?.[mark.revision] !== revisionOf(how.revision, "stable")) return undefined;
    return { replicas: found.spec.replicas ?? 1, how };
  }

  /** Leaves the number of the Deployment of that revision to it; nothing, where there is none. `slots`: those of the component. */
  async put(ref: Ref, how: Autoscaling, slots: readonly Deployment[], signal: AbortSignal): Promise<void> {
    const mine = slotOfRevision(slots, revisionOf(how.revision, "stable"));
    if (mine === undefined) return;
    const wanted = autoscalerOf(this.#deps.installation, ref, mine.metadata.name, how);
    this.#known.wrote(await this.#deps.api.apply<Autoscaler>(wanted, { force: true, signal }));
  }

  /** Absent = success. What it said last is Berth's number from there on. */
  async remove(ref: Ref, signal: AbortSignal): Promise<void> {
    const namespace = namespaceOf(ref);
    for (const { name, value } of this.#known.of(ref)) {
      await this.#deps.api.delete({ kind: "HorizontalPodAutoscaler", namespace, name }, { signal }).catch(ignoring(404));
      await this.#takeBack(namespace, value.slot, signal);
      this.#known.removed(ref, namespace, name);
    }
  }

  async #takeBack(namespace: string, slot: string, signal: AbortSignal): Promise<void> {
    const place = { kind: "Deployment", namespace, name: slot } as const;
    const found = await this.#deps.api.find<Deployment>(place, { signal });
    if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
    const annotations = { [mark.replicas]: String(found.spec.replicas ?? 1) };
    await this.#deps.api.merge(place, { metadata: { annotations } }, { signal }).catch(ignoring(404));
  }
}
