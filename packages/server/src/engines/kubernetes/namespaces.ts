// The namespace of a stack: made with whose it is and with Berth's rights in it, never taken from others, and removed when nothing of the stack is to be kept.
import { setTimeout as sleep } from "node:timers/promises";
import { cause } from "@berth/contract/causes.ts";
import { fieldManager, type KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { EngineFailure, type Workload } from "../engine.ts";
import { terminating, type Namespace } from "./failures.ts";
import { mark, namespaceOf } from "./names.ts";
import { ensureRights } from "./rights.ts";
import { Rounds } from "./rounds.ts";
import { levelFor, levelKey, levelOf, namespaceObject, networkPolicyOf, type Doors, type SecurityLevel } from "./surroundings.ts";

/** ms that a namespace is waited for to go: most are gone by then, and for one that is stuck nobody's hands are held. */
const patience = 2_000;

export interface NamespacesDeps {
  readonly api: KubeApi;
  /** As people know it. */
  readonly cluster: string;
  readonly installation: string;
  readonly doors?: Doors | undefined;
}

export class Namespaces {
  readonly #deps: NamespacesDeps;
  readonly #made = new Rounds<void>();
  readonly #protected = new Rounds<void>();

  constructor(deps: NamespacesDeps) {
    this.#deps = deps;
  }

  /** With Berth's rights in it, and the level of security that the pods in it keep to. Errors: EngineFailure (`namespace_of_others`; `namespace_terminating`, retryable), KubeError. */
  async ensure(of: Pick<Workload, "ref" | "stackId"> & Partial<Pick<Workload, "securityProfile">>, signal: AbortSignal): Promise<void> {
    // The components of a stack come at once, and each of them finds what the first one made.
    const key = `${of.ref.stack} ${of.stackId} ${levelFor(of.securityProfile)}`;
    const make = async (each: AbortSignal): Promise<void> => {
      while (!(await this.#ensureOne(of, each)));
    };
    await this.#made.join(key, make, signal);
  }

  /** The level of security that it has or would get; undefined where somebody else has set it. Errors: KubeError. */
  async level(
    { ref, securityProfile }: Pick<Workload, "ref" | "securityProfile">,
    signal: AbortSignal,
  ): Promise<SecurityLevel | undefined> {
    const found = await this.#deps.api.find({ kind: "Namespace", name: namespaceOf(ref) }, { signal });
    return ref.namespace === undefined ? levelOf(found, levelFor(securityProfile)) : undefined;
  }

  /** Says who may connect to the pods in it. Errors: KubeError. */
  async protect(stack: Pick<Workload["ref"], "stack" | "namespace">, signal: AbortSignal): Promise<void> {
    // Who may connect to what is in a namespace of others is their affair.
    if (stack.namespace !== undefined) return;
    const { api, installation, doors } = this.#deps;
    const put = async (each: AbortSignal): Promise<void> => {
      await api.apply(networkPolicyOf(installation, stack, doors), { force: true, signal: each });
    };
    await this.#protected.join(namespaceOf(stack), put, signal);
  }

  /** false: it is new, or somebody else changed it meanwhile. */
  async #ensureOne(
    { ref, stackId, securityProfile }: Pick<Workload, "ref" | "stackId"> & Partial<Pick<Workload, "securityProfile">>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { api, cluster, installation } = this.#deps;
    const name = namespaceOf(ref);
    const found = await api.find<Namespace>({ kind: "Namespace", name }, { signal });
    const { labels, resourceVersion = "", deletionTimestamp } = found?.metadata ?? {};
    if (found !== undefined && labels?.[mark.installation] !== installation)
      throw new EngineFailure(cause("namespace_of_others", { namespace: name, cluster }), { retryable: false });
    if (found !== undefined && deletionTimestamp !== undefined) throw new EngineFailure(terminating(found), { retryable: true });
    const level = ref.namespace === undefined ? levelOf(found, levelFor(securityProfile)) : undefined;
    try {
      if (found === undefined) {
        // Made by a POST: an apply would need the right to change every namespace of the cluster.
        await api.create(namespaceObject(installation, { ref, stackId }, undefined), { signal });
        return false;
      }
      await ensureRights(api, name, signal);
      if (labels?.[mark.stackId] === stackId && (level === undefined || labels[levelKey] === level)) return true;
      // At the version that was read: of two components that come at once, the level of the one that needs more stays.
      const wanted = namespaceObject(installation, { ref, stackId }, level);
      const changed = { ...wanted, metadata: { ...wanted.metadata, resourceVersion } };
      await api.apply(changed, { signal }).catch((error: unknown) => {
        // It was kept for its volumes, and a stack of the same name has it now: what Berth wrote as it made it is in the way of what it applies.
        const isOwn =
          error instanceof KubeError && error.conflicts.length > 0 && error.conflicts.every(({ manager }) => manager === fieldManager);
        if (!isOwn) throw error;
        return api.apply(changed, { signal, force: true });
      });
      return true;
    } catch (error) {
      if (!(error instanceof KubeError) || error.conflicts.length > 0) throw error;
      if (error.reason === "AlreadyExists" || error.reason === "Conflict") return false;
      throw error;
    }
  }

  /** Whether it is gone; one of others was never there. false: it is still going. */
  async remove(stack: Pick<Workload["ref"], "stack" | "namespace">, signal: AbortSignal): Promise<boolean> {
    const { api, installation } = this.#deps;
    const place = { kind: "Namespace", name: namespaceOf(stack) } as const;
    const found = await api.find(place, { signal });
    if (found?.metadata.labels?.[mark.installation] !== installation) return true;
    if (found.metadata.deletionTimestamp !== undefined) return false;
    if (stack.namespace !== undefined) {
      // Others made it, and have more in it: it is only no stack's any more.
      const labels = { [mark.installation]: null, [mark.stack]: null, [mark.stackId]: null };
      await api.merge(place, { metadata: { labels } }, { signal });
      return true;
    }
    await api.delete(place, { signal });
    for (const end = performance.now() + patience; performance.now() < end; await sleep(200, undefined, { signal }))
      if ((await api.find(place, { signal })) === undefined) return true;
    return false;
  }
}
