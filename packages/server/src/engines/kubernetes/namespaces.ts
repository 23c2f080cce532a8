// The namespace of a stack: made with whose it is, never taken from others, and removed when nothing of the stack is to be kept.
import { setTimeout as sleep } from "node:timers/promises";
import { cause } from "@berth/contract/causes.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { EngineFailure, type Workload } from "../engine.ts";
import { mark, namespaceOf } from "./names.ts";

/** ms that a namespace is waited for to go. */
const patience = 30_000;

export interface NamespacesDeps {
  readonly api: KubeApi;
  /** As people know it. */
  readonly cluster: string;
  readonly installation: string;
}

export class Namespaces {
  readonly #deps: NamespacesDeps;

  constructor(deps: NamespacesDeps) {
    this.#deps = deps;
  }

  /** Errors: EngineFailure (`namespace_of_others`; `namespace_terminating`, retryable), KubeError. */
  async ensure({ ref, stackId }: Pick<Workload, "ref" | "stackId">, signal: AbortSignal): Promise<void> {
    const { api, cluster, installation } = this.#deps;
    const name = namespaceOf(ref.stack);
    const found = await api.find({ kind: "Namespace", name }, { signal });
    const owner = found?.metadata.labels?.[mark.installation];
    if (found !== undefined && owner !== installation)
      throw new EngineFailure(cause("namespace_of_others", { namespace: name, cluster }), { retryable: false });
    if (found?.metadata.deletionTimestamp !== undefined)
      throw new EngineFailure(cause("namespace_terminating", { namespace: name }), { retryable: true });
    if (found?.metadata.labels?.[mark.stackId] === stackId) return;
    const labels = {
      "app.kubernetes.io/managed-by": "berth",
      [mark.installation]: installation,
      [mark.stack]: ref.stack,
      [mark.stackId]: stackId,
    };
    await api.apply({ apiVersion: apiVersionOf("Namespace"), kind: "Namespace", metadata: { name, labels } }, { signal });
  }

  /** Whether it is gone; one of others was never there. false: it is still going. */
  async remove(stack: string, signal: AbortSignal): Promise<boolean> {
    const { api, installation } = this.#deps;
    const place = { kind: "Namespace", name: namespaceOf(stack) } as const;
    const found = await api.find(place, { signal });
    if (found?.metadata.labels?.[mark.installation] !== installation) return true;
    await api.delete(place, { signal });
    for (const end = performance.now() + patience; performance.now() < end; await sleep(200, undefined, { signal }))
      if ((await api.find(place, { signal })) === undefined) return true;
    return false;
  }
}
