// Takes Deployments that somebody else made into a stack as they run (docs/decisions/0050-imported-as-it-runs.md): they are marked, never changed in what makes their pods, so that
// no pod is replaced. From then on such a Deployment is a slot like any other, that is emptied by the next release.
import { setTimeout as sleep } from "node:timers/promises";
import { cause } from "@berth/contract/causes.ts";
import { BerthError } from "../../core/errors.ts";
import { portNumbers } from "../../core/ports.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring, KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import type { KubeObject, Listed } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { EngineFailure, type Ref, type TakeIn } from "../engine.ts";
import { writeWorkload } from "../written.ts";
import { digest, letters, mark, namespaceOf, revisionOf, selector } from "./names.ts";
import type { Deployment, Pod } from "./objects.ts";
import { ensureRights } from "./rights.ts";
import type { Service } from "./routes.ts";

interface Slice extends Listed {
  readonly endpoints?: readonly { readonly targetRef?: { readonly name?: string } }[] | null;
  readonly ports?: readonly { readonly name?: string }[] | null;
}

/** What Services of a component choose: instances of the track that serves. */
export const chosenBy = ({ stack, component }: Ref): Readonly<Record<string, string>> => ({
  [mark.stack]: stack,
  [mark.component]: component,
  [mark.role]: "instance",
  [mark.track]: "stable",
  [mark.serving]: "yes",
});

/** `berth.role` of Services that others made and whose pods Berth chooses: they stay as long as their component. */
const roleOfImported = "imported";
/** ms within which a cluster leads a Service to pods that it chooses. */
const patience = 30_000;
const look = 50;
/** ms within which everybody who leads requests has heard of endpoints: none that is known takes longer. */
const heard = 2_000;
const cleaning = 10_000;
const mostTries = 20;
/** https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management */
const serviceLabel = "kubernetes.io/service-name";
const managerLabel = "endpointslice.kubernetes.io/managed-by";
const bridging = "berth-import";

export class Imports {
  readonly #api: KubeApi;
  readonly #cluster: string;
  readonly #installation: string;

  constructor(deps: { readonly api: KubeApi; readonly cluster: string; readonly installation: string }) {
    this.#api = deps.api;
    this.#cluster = deps.cluster;
    this.#installation = deps.installation;
  }

  /** The namespace becomes the stack's, with all that is in it left as it is. Errors: EngineFailure (`namespace_of_others`), KubeError. */
  async claim({ workload }: Pick<TakeIn, "workload">, signal: AbortSignal): Promise<void> {
    const { ref, stackId } = workload;
    const name = namespaceOf(ref);
    const found = await this.#api.get<KubeObject>({ kind: "Namespace", name }, { signal });
    const { labels = {}, resourceVersion } = found.metadata;
    const owner = labels[mark.installation];
    if (owner !== undefined && (owner !== this.#installation || labels[mark.stackId] !== stackId))
      throw new EngineFailure(cause("namespace_of_others", { namespace: name, cluster: this.#cluster }), { retryable: false });
    if (owner === undefined) {
      const own = { [mark.installation]: this.#installation, [mark.stack]: ref.stack, [mark.stackId]: stackId };
      await this.#api.merge({ kind: "Namespace", name }, { metadata: { resourceVersion, labels: own } }, { signal });
    }
    await ensureRights(this.#api, name, signal);
  }

  /** Marks the Deployment, then its pods, then lets its Services choose by these marks. May be repeated after whatever came in between. Answers the names of its pods. Errors: `wrong_state` when it was changed meanwhile, KubeError. */
  async take(taken: TakeIn, signal: AbortSignal): Promise<readonly string[]> {
    const { workload, deployment } = taken;
    const { ref } = workload;
    const place = { kind: "Deployment", namespace: namespaceOf(ref), name: deployment.name } as const;
    for (let attempt = 1; !(await this.#mark(taken, signal)); attempt++) if (attempt === mostTries) throw changed(deployment.name);
    const pods = await this.label(ref, [await this.#api.get<Deployment>(place, { signal })], signal);
    if (taken.services.length > 0) await this.#lead(ref, taken.services, pods, signal);
    // The last word: what has it can be taken over, now or when a database is lost.
    const annotations = { [mark.order]: JSON.stringify({ version: 1, ...writeWorkload(workload) }) };
    await this.#api.merge(place, { metadata: { annotations } }, { signal });
    return pods.map(({ metadata }) => metadata.name);
  }

  /** false: it was changed at this moment, if only its status. */
  async #mark(taken: TakeIn, signal: AbortSignal): Promise<boolean> {
    const { workload, deployment, container, templateHash } = taken;
    const place = { kind: "Deployment", namespace: namespaceOf(workload.ref), name: deployment.name } as const;
    const { metadata } = await this.#api.get<Deployment & { readonly metadata: { readonly generation?: number } }>(place, { signal });
    if (metadata.uid !== deployment.uid) throw changed(deployment.name);
    if (metadata.annotations?.[mark.order] !== undefined) return true;
    // What was looked at is what is taken. Marks of an import that was broken off are a change of it, too.
    if (metadata.labels?.[mark.installation] === undefined && metadata.generation !== deployment.generation) throw changed(deployment.name);
    const imported: Imported = { container, template: templateHash, ports: portNumbers(workload.ports) };
    const annotations = { [mark.releaseHash]: workload.releaseHash, [mark.restart]: "0", [mark.imported]: JSON.stringify(imported) };
    const patch = { metadata: { resourceVersion: metadata.resourceVersion, labels: this.#marksOf(taken), annotations } };
    return this.#api.merge(place, patch, { signal }).then(
      () => true,
      (error: unknown) => {
        if (error instanceof KubeError && error.status === 409) return false;
        throw error;
      },
    );
  }

  /**
   * Marks the pods of imported Deployments that are not yet, such as one that came in place of another. Only those that the imported template made: what somebody has made of it
   * since is another program. Answers all that are marked. Errors: KubeError.
   */
  async label(ref: Ref, slots: readonly Deployment[], signal: AbortSignal): Promise<readonly Pod[]> {
    const marked: Pod[] = [];
    for (const slot of slots) {
      const { container, template, ports } = importedOf(slot) ?? {};
      if (container === undefined || template === undefined || slot.metadata.deletionTimestamp !== undefined) continue;
      const wanted = (slot.spec["selector"] as { readonly matchLabels?: Readonly<Record<string, string>> }).matchLabels ?? {};
      const labels = selector({ ...wanted, "pod-template-hash": template });
      const pods = await listed<Pod>(this.#api, "Pod", { namespace: namespaceOf(ref), labels, signal });
      for (const pod of pods) {
        const { metadata } = pod;
        const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
        if (metadata.deletionTimestamp !== undefined || owner?.name !== `${slot.metadata.name}-${template}`) continue;
        marked.push(pod);
        const { annotations = {}, labels: own = {} } = slot.metadata;
        if (metadata.labels?.[mark.revision] === own[mark.revision]) continue;
        const patch = {
          metadata: {
            labels: { ...ofBerth(own), [mark.role]: "instance", [mark.serving]: "yes" },
            annotations: {
              [mark.releaseHash]: annotations[mark.releaseHash],
              [mark.restart]: annotations[mark.restart],
              [mark.deployment]: slot.metadata.name,
              [mark.container]: container,
              [mark.ports]: JSON.stringify(ports),
            },
          },
        };
        await this.#api.merge({ kind: "Pod", namespace: metadata.namespace, name: metadata.name }, patch, { signal }).catch(ignoring(404));
      }
    }
    return marked;
  }

  /** Services that were imported with it: with the component goes what led to it. Errors: KubeError. */
  async removeServices(ref: Ref, signal: AbortSignal): Promise<void> {
    if (ref.namespace === undefined) return;
    const labels = selector({
      [mark.installation]: this.#installation,
      [mark.stack]: ref.stack,
      [mark.component]: ref.component,
      [mark.role]: roleOfImported,
    });
    for (const { metadata } of await listed<KubeObject>(this.#api, "Service", { namespace: ref.namespace, labels, signal }))
      await this.#api.delete({ kind: "Service", namespace: ref.namespace, name: metadata.name }, { signal });
  }

  #marksOf({ workload }: TakeIn): Readonly<Record<string, string>> {
    const { ref, stackId, releaseHash, releaseNumber } = workload;
    return {
      [mark.installation]: this.#installation,
      [mark.stack]: ref.stack,
      [mark.stackId]: stackId,
      [mark.component]: ref.component,
      [mark.slot]: letters[0] ?? "a",
      [mark.track]: "stable",
      [mark.revision]: revisionOf({ releaseHash, restart: 0 }, "stable"),
      [mark.release]: String(releaseNumber),
    };
  }

  /**
   * Services choose by Berth's marks from now on. The cluster hears of a pod's labels, of what a Service chooses, and of its ports' names by several ways, any of which may be the
   * fastest: for a moment a Service would lead to nobody. So for that time endpoints of Berth's own, which nobody has to find, lead to the same pods.
   */
  async #lead(ref: Ref, services: TakeIn["services"], pods: readonly Pod[], signal: AbortSignal): Promise<void> {
    const bridges = services.flatMap((service) => pods.flatMap((pod) => bridgeOf(namespaceOf(ref), service, pod)));
    try {
      for (const bridge of bridges)
        await this.#api.create(bridge, { signal }).catch((error: unknown) => {
          if (!(error instanceof KubeError) || error.reason !== "AlreadyExists") throw error;
        });
      await sleep(heard, undefined, { signal });
      for (const service of services) await this.#choose(ref, service, signal);
      for (const service of services) await this.#whenLed(ref, service, pods, signal);
      await sleep(heard, undefined, { signal });
    } finally {
      // Should this fail, they go with their pods.
      const end = AbortSignal.timeout(cleaning);
      for (const { metadata } of bridges)
        await this.#api.delete({ kind: "EndpointSlice", namespace: metadata.namespace, name: metadata.name }, { signal: end });
    }
  }

  async #whenLed(ref: Ref, { name, ports }: TakeIn["services"][number], pods: readonly Pod[], signal: AbortSignal): Promise<void> {
    const labels = `${serviceLabel}=${name},${managerLabel}!=${bridging}`;
    for (const end = performance.now() + patience; ; await sleep(look, undefined, { signal })) {
      const slices = await listed<Slice>(this.#api, "EndpointSlice", { namespace: namespaceOf(ref), labels, signal });
      // All of its ports are in one slice, since all pods have the same ones.
      const current = slices.filter((slice) => ports.every((port) => slice.ports?.some((one) => (one.name ?? "") === port.name)));
      const known = new Set(current.flatMap(({ endpoints }) => (endpoints ?? []).flatMap(({ targetRef }) => targetRef?.name ?? [])));
      if (pods.every(({ metadata }) => known.has(metadata.name))) return;
      if (performance.now() > end) throw changed(ref.component);
    }
  }

  async #choose(ref: Ref, { name, uid, ports }: TakeIn["services"][number], signal: AbortSignal): Promise<void> {
    const labels: Record<string, string> = {
      [mark.installation]: this.#installation,
      [mark.stack]: ref.stack,
      [mark.component]: ref.component,
      [mark.role]: roleOfImported,
    };
    const operations = [
      { op: "test", path: "/metadata/uid", value: uid },
      { op: "replace", path: "/spec/selector", value: chosenBy(ref) },
      ...ports.flatMap(({ name: port, targetPort }, index) => [
        ...(port === "" ? [] : [{ op: "add", path: `/spec/ports/${String(index)}/name`, value: port } as const]),
        { op: "replace", path: `/spec/ports/${String(index)}/targetPort`, value: targetPort } as const,
      ]),
    ] as const;
    const place = { kind: "Service", namespace: namespaceOf(ref), name } as const;
    // In one change, so that it never leads to nobody. The one that is called as the component is becomes Berth's own with the first entry of traffic.
    await this.#api.jsonPatch<Service>(place, operations, { signal });
    if (name !== ref.component) await this.#api.merge(place, { metadata: { labels } }, { signal });
  }
}

/** Endpoints of one pod for one Service, by the names that its ports have and will have. */
function bridgeOf(namespace: string, { name, ports }: TakeIn["services"][number], { metadata, status }: Pod) {
  const address = status?.podIP;
  if (address === undefined || ports.length === 0) return [];
  return [
    {
      apiVersion: apiVersionOf("EndpointSlice"),
      kind: "EndpointSlice",
      metadata: {
        namespace,
        name: `berth-import-${digest(`${name} ${metadata.uid ?? ""}`)}`,
        labels: { [serviceLabel]: name, [managerLabel]: bridging },
        // What is left behind must not outlive the address.
        ownerReferences: [{ apiVersion: apiVersionOf("Pod"), kind: "Pod", name: metadata.name, uid: metadata.uid ?? "" }],
      },
      addressType: address.includes(":") ? "IPv6" : "IPv4",
      endpoints: [
        {
          addresses: [address],
          conditions: { ready: status?.conditions?.find(({ type }) => type === "Ready")?.status === "True" },
          targetRef: { kind: "Pod", namespace, name: metadata.name, uid: metadata.uid ?? "" },
        },
      ],
      ports: ports.map((port) => ({ name: port.name, port: port.targetPort, protocol: "TCP" })),
    },
  ];
}

interface Imported {
  readonly container: string;
  /** The hash of the template that its pods are made by. */
  readonly template: string;
  /** Name -> number, as the component has them. */
  readonly ports: Readonly<Record<string, number>>;
}

/** undefined: Berth made it. */
export function importedOf({ metadata }: Deployment): Imported | undefined {
  const text = metadata.annotations?.[mark.imported];
  return text === undefined ? undefined : (JSON.parse(text) as Imported);
}

const ofBerth = (labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => key.startsWith("berth.")));

const changed = (name: string): BerthError =>
  new BerthError("wrong_state", {
    verb: "Importing it",
    reason: `${name} is not as it was looked at`,
    hint: "Look at what would be imported, and import it again.",
  });
