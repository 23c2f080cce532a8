// Takes Deployments that somebody else made into a stack as they run (docs/decisions/0050-imported-as-it-runs.md): they are marked, never changed in what makes their pods, so that
// no pod is replaced. From then on such a Deployment is a slot like any other, that is emptied by the next release.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { cause } from "@berth/contract/causes.ts";
import { BerthError } from "../../core/errors.ts";
import type { ForeignService } from "../../core/imports/foreign.ts";
import { portNumbers } from "../../core/ports.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring, KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import type { KubeObject, Listed } from "../../kubernetes/objects.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import { EngineFailure, type Ref, type TakeIn } from "../engine.ts";
import { writeWorkload } from "../written.ts";
import { unreachable } from "./failures.ts";
import { digest, letters, mark, namespaceOf, revisionOf, selector } from "./names.ts";
import type { Deployment, Pod } from "./objects.ts";
import { ensureRights } from "./rights.ts";
import type { Service } from "./routes.ts";

interface Slice extends Listed {
  readonly endpoints?:
    readonly { readonly targetRef?: { readonly name?: string }; readonly conditions?: { readonly ready?: boolean | null } }[] | null;
}
/** As its owner wrote it. */
type ImportedService = ForeignService & KubeObject;

/** What Services of a component choose: instances of the track that serves. */
const chosenBy = ({ stack, component }: Ref): Readonly<Record<string, string>> => ({
  [mark.stack]: stack,
  [mark.component]: component,
  [mark.role]: "instance",
  [mark.track]: "stable",
  [mark.serving]: "yes",
});

/** `berth.role` of Services that others made and that lead to a component: they stay as long as it. */
const roleOfImported = "imported";
/** ms within which a cluster knows what a Service leads to. */
const patience = 30_000;
const look = 100;
const cleaning = 10_000;
const mostTries = 20;
/** https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management */
const serviceLabel = "kubernetes.io/service-name";

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

  /** Marks the Deployment, its pods, and the Services that lead to them. May be repeated after whatever came in between. Answers the names of its pods. Errors: `wrong_state` when it was changed meanwhile, KubeError. */
  async take(taken: TakeIn, signal: AbortSignal): Promise<readonly string[]> {
    const { workload, deployment } = taken;
    const { ref } = workload;
    const place = { kind: "Deployment", namespace: namespaceOf(ref), name: deployment.name } as const;
    for (let attempt = 1; !(await this.#mark(taken, signal)); attempt++) if (attempt === mostTries) throw changed(deployment.name);
    const pods = await this.label(ref, [await this.#api.get<Deployment>(place, { signal })], signal);
    for (const service of taken.services) await this.#adopt(ref, service, signal);
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

  /**
   * Services that were imported choose by Berth's marks from now on, so that a release decides which pods have their requests. Called before a slot of Berth's own stands beside the
   * imported one; until then they choose as their owner wrote it, whether Berth is there or not. What they lead to does not change by it, so that nobody who leads requests has
   * anything to hear of. One whose owner has it choose otherwise since then is his. Errors: EngineFailure (`service_leads_elsewhere`, `cluster_unreachable`), KubeError.
   */
  async lead(ref: Ref, slots: readonly Deployment[], signal: AbortSignal): Promise<void> {
    const left = (await this.#services(ref, signal)).flatMap((service) => {
      const seen = seenOf(service);
      return seen !== undefined && isDeepStrictEqual(service.spec.selector, seen.selector) ? [{ service, seen }] : [];
    });
    if (left.length === 0) return;
    await this.#whenKnown(
      ref,
      slots,
      left.map(({ service }) => service.metadata.name),
      signal,
    );
    for (const { service, seen } of left) {
      const { metadata, spec } = service;
      const operations = [
        { op: "test", path: "/metadata/uid", value: metadata.uid },
        { op: "test", path: "/spec/selector", value: seen.selector },
        { op: "replace", path: "/spec/selector", value: chosenBy(ref) },
        // A release keeps a port's number, and may call it otherwise.
        ...(spec.ports ?? []).flatMap(({ port, targetPort }, index) => {
          const number = seen.ports[String(port)];
          return number === undefined || targetPort === number
            ? []
            : [{ op: "replace", path: `/spec/ports/${String(index)}/targetPort`, value: number } as const];
        }),
      ] as const;
      await this.#api.jsonPatch<Service>({ kind: "Service", namespace: metadata.namespace, name: metadata.name }, operations, { signal });
    }
  }

  /** Services that were imported with it: with the component goes what led to it. Errors: KubeError. */
  async removeServices(ref: Ref, signal: AbortSignal): Promise<void> {
    for (const { metadata } of await this.#services(ref, signal))
      await this.#api.delete({ kind: "Service", namespace: metadata.namespace, name: metadata.name }, { signal });
  }

  #services(ref: Ref, signal: AbortSignal): Promise<readonly ImportedService[]> {
    if (ref.namespace === undefined) return Promise.resolve([]);
    const labels = selector(this.#marksOfService(ref));
    return listed<ImportedService>(this.#api, "Service", { namespace: ref.namespace, labels, signal });
  }

  #marksOfService(ref: Ref): Readonly<Record<string, string>> {
    return {
      [mark.installation]: this.#installation,
      [mark.stack]: ref.stack,
      [mark.component]: ref.component,
      [mark.role]: roleOfImported,
    };
  }

  /** Names of pods that a Service gives requests to. */
  async #ledTo(namespace: string, service: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const slices = await listed<Slice>(this.#api, "EndpointSlice", { namespace, labels: `${serviceLabel}=${service}`, signal });
    return new Set(
      slices.flatMap(({ endpoints }) =>
        (endpoints ?? []).flatMap(({ targetRef, conditions }) =>
          conditions?.ready === false || targetRef?.name === undefined ? [] : [targetRef.name],
        ),
      ),
    );
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

  /** Its owner's choice of pods stays as it is until `lead`. */
  async #adopt(ref: Ref, { name, uid, selector: chosen, ports }: TakeIn["services"][number], signal: AbortSignal): Promise<void> {
    const seen: Seen = { selector: chosen, ports };
    // One that an import that was broken off has got to, and a release after it, has been told what it was.
    const annotations = chosen[mark.component] === undefined ? { [mark.imported]: JSON.stringify(seen) } : {};
    const patch = { metadata: { uid, labels: this.#marksOfService(ref), annotations } };
    await this.#api.merge({ kind: "Service", namespace: namespaceOf(ref), name }, patch, { signal }).catch((error: unknown) => {
      throw error instanceof KubeError && error.status === 409 ? changed(`Service ${name}`) : error;
    });
  }

  /**
   * Until whoever makes endpoints of Services knows the marks of all pods that these Services lead to. It is told so by a Service that nobody uses and that chooses by these marks:
   * what has the pods of one Service has them for every other.
   */
  async #whenKnown(ref: Ref, slots: readonly Deployment[], services: readonly string[], signal: AbortSignal): Promise<void> {
    const namespace = namespaceOf(ref);
    const place = { kind: "Service", namespace, name: `berth-import-${digest(`${ref.stack}/${ref.component}`)}` } as const;
    const owner = slots.find((slot) => importedOf(slot) !== undefined);
    const trial = {
      apiVersion: apiVersionOf("Service"),
      ...place,
      metadata: {
        namespace,
        name: place.name,
        // What is left behind goes with what was imported.
        ownerReferences:
          owner === undefined
            ? []
            : [{ apiVersion: apiVersionOf("Deployment"), kind: "Deployment", name: owner.metadata.name, uid: owner.metadata.uid ?? "" }],
      },
      spec: { clusterIP: "None", selector: chosenBy(ref) },
    };
    try {
      await this.#api.create(trial, { signal }).catch((error: unknown) => {
        if (!(error instanceof KubeError) || error.reason !== "AlreadyExists") throw error;
      });
      for (const end = performance.now() + patience; ; await sleep(look, undefined, { signal })) {
        const ours = new Set((await this.label(ref, slots, signal)).map(({ metadata }) => metadata.name));
        const known = await this.#ledTo(namespace, place.name, signal);
        const led = await Promise.all(
          services.map(async (service) => [...(await this.#ledTo(namespace, service, signal))].map((pod) => ({ service, pod }))),
        );
        const unknown = led.flat().filter(({ pod }) => !known.has(pod));
        const stranger = unknown.find(({ pod }) => !ours.has(pod));
        if (stranger !== undefined) throw new EngineFailure(cause("service_leads_elsewhere", stranger), { retryable: false });
        if (unknown.length === 0) return;
        if (performance.now() > end) throw unreachable(this.#cluster, new Error("it does not tell what Services lead to"));
      }
    } finally {
      await this.#api.delete(place, { signal: AbortSignal.timeout(cleaning) });
    }
  }
}

/** Of a Service: what its owner had it choose, and its port -> the number that it leads to. */
interface Seen {
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: Readonly<Record<string, number>>;
}

function seenOf({ metadata }: ImportedService): Seen | undefined {
  const text = metadata.annotations?.[mark.imported];
  return text === undefined ? undefined : (JSON.parse(text) as Seen);
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
