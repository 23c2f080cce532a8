// What a cluster may take away of a component at once when it empties a node: one instance of those that users are led to. Only where there is more than one.
// https://kubernetes.io/docs/tasks/run-application/configure-pdb/
import type { KubeApi } from "../../kubernetes/api.ts";
import type { KubeObject } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Ref, TrackTarget } from "../engine.ts";
import { Lately } from "./lately.ts";
import { mark, namespaceOf, refLabels } from "./names.ts";
import type { Deployment } from "./objects.ts";
import { withOverlay } from "./overlays.ts";

export function budgetOf(installation: string, ref: Ref): KubeObject & { readonly spec: object } {
  return {
    apiVersion: apiVersionOf("PodDisruptionBudget"),
    kind: "PodDisruptionBudget",
    metadata: { namespace: namespaceOf(ref), name: ref.component, labels: refLabels(installation, ref) },
    spec: {
      maxUnavailable: 1,
      // One that is not ready serves nobody, and keeps no node.
      unhealthyPodEvictionPolicy: "AlwaysAllow",
      selector: {
        matchLabels: {
          [mark.installation]: installation,
          [mark.stack]: ref.stack,
          [mark.component]: ref.component,
          [mark.role]: "instance",
          [mark.track]: "stable",
        },
      },
    },
  };
}

type Growing = Pick<TrackTarget, "ref" | "track" | "replicas"> & {
  readonly workload: Pick<TrackTarget["workload"], "ref" | "kubernetes" | "securityProfile">;
};

export class Budgets {
  readonly #api: KubeApi;
  readonly #installation: string;
  /** Stack, component and the budget that was applied. */
  readonly #applied = new Lately();

  constructor(api: KubeApi, installation: string) {
    this.#api = api;
    this.#installation = installation;
  }

  /** Before a slot gets more instances: what is to be several is protected from its first pod on. `slots`: those of the component. */
  async grow({ ref, track, replicas, workload }: Growing, slots: readonly Deployment[], signal: AbortSignal): Promise<void> {
    const most = Math.max(replicas, stableOf(slots));
    if (track !== "stable" || most <= 1) return;
    const budget = withOverlay(budgetOf(this.#installation, ref), workload);
    const key = `${keyOf(ref)}${JSON.stringify(budget)}`;
    if (this.#applied.has(key)) return;
    // Another one stood before: that is so no more, whatever comes of this one.
    this.#applied.forget(keyOf(ref));
    await this.#api.apply(budget, { signal, force: true });
    this.#applied.note(key);
  }

  /** After a slot got fewer. */
  async shrink(ref: Ref, slots: readonly Deployment[], signal: AbortSignal): Promise<void> {
    if (stableOf(slots) <= 1) await this.remove(ref, signal);
  }

  async remove(ref: Ref, signal: AbortSignal): Promise<void> {
    this.#applied.forget(keyOf(ref));
    await this.#api.delete({ kind: "PodDisruptionBudget", namespace: namespaceOf(ref), name: ref.component }, { signal });
  }
}

const keyOf = ({ stack, component }: Ref): string => `${stack}/${component} `;

/** How many instances of stable are wanted. */
function stableOf(slots: readonly Deployment[]): number {
  return slots
    .filter(({ metadata }) => metadata.labels?.[mark.track] === "stable" && metadata.deletionTimestamp === undefined)
    .reduce((sum, { spec }) => sum + (spec.replicas ?? 1), 0);
}
