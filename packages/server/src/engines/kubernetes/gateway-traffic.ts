// The Traffic port over the Gateway API: Services and HTTPRoutes put an entry in force, the cluster's own gateway serves it, and a probe goes through it as users do.
import { createHmac } from "node:crypto";
import { request } from "node:http";
import { cause, type Cause } from "@berth/contract/causes.ts";
import { contentHash } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import { probeHeader, releaseHeader } from "../../edge/probe-header.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring } from "../../kubernetes/errors.ts";
import { listAll } from "../../kubernetes/list.ts";
import type { Listed } from "../../kubernetes/objects.ts";
import type { Epoch, Fence, Ref } from "../engine.ts";
import type { Applied, GivenCertificate, HostProof, ProbeAnswer, Traffic, TrafficEndpoint, TrafficEntry } from "../traffic.ts";
import { asking } from "./failures.ts";
import { Fences } from "./fences.ts";
import { mark, namespaceOf, ofComponent, selector } from "./names.ts";
import type { ConfigMap } from "./objects.ts";
import type { Pods } from "./pods.ts";
import { printOf, type Standing } from "./standing.ts";
import {
  httpRoutesOf,
  roleOfRoutes,
  recordName,
  recordOf,
  servicesOf,
  type GatewayRef,
  type HTTPRoute,
  type Prints,
  type RouteOrder,
  type Service,
} from "./routes.ts";

export interface GatewayTrafficDeps {
  readonly api: KubeApi;
  readonly cluster: string;
  readonly installation: string;
  readonly pods: Pods;
  readonly standing: Standing;
  readonly gateway: GatewayRef;
  /** Where users reach the gateway, and where this server does. */
  readonly door: { readonly host: string; readonly port: number };
  /** Signs what pins a probe. */
  readonly probeKey: Buffer;
}

/** ms that gateways may take to hear of an endpoint that is gone: none that is known takes longer. */
const gatewayDelay = 2_000;

interface Slice extends Listed {
  readonly endpoints?: readonly { readonly addresses: readonly string[]; readonly targetRef?: { readonly name?: string } }[] | null;
}

export class GatewayTraffic implements Traffic {
  readonly #deps: GatewayTrafficDeps;
  readonly #fences: Fences;
  /** When a pod was first seen to be in no endpoint slice any more, Unix ms. */
  readonly #left = new Map<string, number>();

  constructor(deps: GatewayTrafficDeps) {
    this.#deps = deps;
    this.#fences = new Fences(deps.api, deps.installation, "routes");
  }

  async apply(entry: TrafficEntry, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      const { pods, api } = this.#deps;
      await pods.ready(signal);
      await this.#fences.pass(entry.ref, fence, signal);
      const order = this.#orderOf(entry);
      const services = servicesOf(order);
      // Before any rule names them.
      const prints: Record<string, string> = {};
      const put = async (object: Service | HTTPRoute): Promise<void> => {
        prints[nameOf(object)] = printOf(await api.apply<typeof object>(object, { force: true, signal }));
        this.#deps.standing.made(namespaceOf(entry.ref.stack), prints);
      };
      for (const service of services) await put(service);
      await this.#setServing(entry, signal);
      const routes = httpRoutesOf(order);
      for (const route of routes) await put(route);
      await this.#removeOthers(entry.ref, new Set([...services, ...routes].map(nameOf)), signal);
      // The last word: an entry is in force when all of it is.
      await api.apply(recordOf(this.#deps.installation, entry, fence, prints), { force: true, signal });
    });
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#fences.pass(ref, fence, signal);
      await this.#removeOthers(ref, new Set(), signal);
      if ((await this.#record(ref, signal)) !== undefined)
        await this.#deps.api.delete({ kind: "ConfigMap", namespace: namespaceOf(ref.stack), name: recordName(ref) }, { signal });
    });
  }

  applied(ref: Ref, signal: AbortSignal): Promise<Applied> {
    return this.#asking(async () => {
      await this.#deps.pods.ready(signal);
      const record = await this.#record(ref, signal);
      const entry = entryIn(record);
      if (entry === undefined) return { generation: 0, digest: "", endpoints: [], problems: [] };
      const endpoints = new Map(
        entry.ports.flatMap(({ tracks }) => tracks.flatMap((track) => track.endpoints.map((one) => [one.instance, one] as const))),
      );
      const inSlices = [...endpoints.values()].some(({ state }) => state === "draining")
        ? await this.#inSlices(ref, signal)
        : new Set<string>();
      const now = Date.now();
      const ready = new Set(this.#deps.pods.instances(ref).flatMap((pod) => (pod.ready?.status === "True" ? [pod.name] : [])));
      const stands = await this.#stands(ref, record, signal);
      return {
        // What is not there as it was put is not in force, whatever was written down.
        generation: stands ? Number(record?.data?.["generation"] ?? 0) : 0,
        digest: stands ? contentHash(entry) : "",
        endpoints: [...endpoints.values()].map((endpoint) => ({
          instance: endpoint.instance,
          ready: ready.has(endpoint.instance),
          inFlight: endpoint.state === "draining" ? this.#mayHaveRequests(endpoint.instance, inSlices, now) : 0,
          requests: 0,
          errors: 0,
        })),
        problems: await this.#problems(ref, signal),
      };
    });
  }

  list(signal: AbortSignal): Promise<readonly { readonly ref: Ref; readonly generation: number }[]> {
    return this.#asking(async () => {
      const found: { ref: Ref; generation: number }[] = [];
      for await (const { metadata, data } of listAll<ConfigMap>(this.#deps.api, "ConfigMap", { ...this.#selection(undefined), signal })) {
        const { [mark.stack]: stack, [mark.component]: component } = metadata.labels ?? {};
        if (stack !== undefined && component !== undefined)
          found.push({
            ref: { stack, component },
            generation: this.#deps.standing.has(namespaceOf(stack), printsIn(data)) === false ? 0 : Number(data?.["generation"] ?? 0),
          });
      }
      return found;
    });
  }

  readEntry(ref: Ref, signal: AbortSignal): Promise<TrafficEntry | undefined> {
    return this.#asking(async () => entryIn(await this.#record(ref, signal)));
  }

  raiseEpoch(epoch: Epoch, signal: AbortSignal): Promise<void> {
    return this.#asking(() => this.#fences.raise(epoch, signal));
  }

  /** The gateway's own listeners have its certificates. Errors: `wrong_state` for one that is given. */
  setCertificates(certificates: readonly GivenCertificate[]): Promise<void> {
    return certificates.length === 0 ? Promise.resolve() : Promise.reject(ofTheGateway("certificate"));
  }

  setProof(_proof: HostProof): Promise<void> {
    return Promise.reject(ofTheGateway("proof"));
  }

  removeProof(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * Never throws for what the component does: a refused connection or a time-out is an answer with status 0 and `error`. What proves a release is led by a rule of its own; that
   * users are led to it too shows when somebody asks as they do, so that a gateway that does not know of its endpoints yet has not answered.
   */
  async probe(
    target: { readonly ref: Ref; readonly port: string; readonly host: string; readonly path: string; readonly releaseHash: string },
    signal: AbortSignal,
  ): Promise<ProbeAnswer> {
    const proof = await this.#ask(target, { [probeHeader]: this.#pin(target.releaseHash) }, signal);
    if (proof.status === 0) return proof;
    const { releaseHash: _none, ...asUsers } = await this.#ask(target, {}, signal);
    const isLed = asUsers.status === proof.status || (asUsers.status > 0 && asUsers.status < 400);
    return isLed ? proof : asUsers;
  }

  #ask(
    { host, path }: { readonly host: string; readonly path: string },
    more: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ProbeAnswer> {
    const url = this.publicUrl(host, path);
    const started = performance.now();
    const took = (): number => performance.now() - started;
    const headers = { host: this.#authority(host), "user-agent": "berth-probe", ...more };
    return new Promise((resolve, reject) => {
      const asked = request({ ...this.#deps.door, path, headers, signal, agent: false }, (answer) => {
        answer.resume();
        const releaseHash = answer.headers[releaseHeader];
        answer.once("close", () =>
          resolve({ status: answer.statusCode ?? 0, ...(typeof releaseHash === "string" ? { releaseHash } : {}), url, took: took() }),
        );
      });
      asked.once("error", (error) => {
        if (signal.aborted) reject(signal.reason as Error);
        else resolve({ status: 0, error: error.message, url, took: took() });
      });
      asked.end();
    });
  }

  readonly publicUrl = (host: string, path: string): string => `http://${this.#authority(host)}${path}`;

  #authority(host: string): string {
    return this.#deps.door.port === 80 ? host : `${host}:${String(this.#deps.door.port)}`;
  }

  #orderOf(entry: TrafficEntry): RouteOrder {
    const { installation, gateway, pods } = this.#deps;
    const releases = new Map(pods.instances(entry.ref).map(({ releaseHash, releaseNumber }) => [releaseHash, releaseNumber]));
    return { installation, entry, gateway, pinOf: (hash) => this.#pin(hash), releaseOf: (hash) => releases.get(hash) };
  }

  #pin(releaseHash: string): string {
    return createHmac("sha256", this.#deps.probeKey).update(releaseHash).digest("hex");
  }

  /** Takes pods out of all Services, or back into them; nothing else says which pods get requests. */
  async #setServing({ ref, ports }: TrafficEntry, signal: AbortSignal): Promise<void> {
    const wanted = new Map<string, TrafficEndpoint["state"]>(
      ports.flatMap(({ tracks }) => tracks.flatMap(({ endpoints }) => endpoints.map(({ instance, state }) => [instance, state] as const))),
    );
    for (const { name, namespace, serving, stopping } of this.#deps.pods.instances(ref)) {
      const state = wanted.get(name);
      if (state === undefined || stopping || serving === (state === "active")) continue;
      const metadata = { labels: { [mark.serving]: state === "active" ? "yes" : "no" } };
      await this.#deps.api.merge({ kind: "Pod", namespace, name }, { metadata }, { signal }).catch(ignoring(404));
    }
  }

  /** 1 as long as the gateway may not have heard yet that the instance takes none. What it sent before that, the program ends by itself after SIGTERM. */
  #mayHaveRequests(instance: string, inSlices: ReadonlySet<string>, now: number): number {
    if (inSlices.has(instance)) {
      this.#left.delete(instance);
      return 1;
    }
    const since = this.#left.get(instance) ?? now;
    this.#left.set(instance, since);
    return now - since < gatewayDelay ? 1 : 0;
  }

  /** Names of pods that some Service of the component leads to. */
  async #inSlices(ref: Ref, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    const labels = ofComponent(this.#deps.installation, ref);
    for await (const { endpoints } of listAll<Slice>(this.#deps.api, "EndpointSlice", {
      namespace: namespaceOf(ref.stack),
      labels,
      signal,
    }))
      for (const { targetRef } of endpoints ?? []) if (targetRef?.name !== undefined) found.add(targetRef.name);
    return found;
  }

  /** What the gateway says of routes that it does not serve as they are. */
  async #problems(ref: Ref, signal: AbortSignal): Promise<Cause[]> {
    const problems: Cause[] = [];
    for await (const { metadata, status } of this.#routes(ref, signal))
      for (const { conditions = [] } of status?.parents ?? [])
        for (const { type, status: holds, reason = "", message = "", observedGeneration } of conditions)
          if (holds === "False" && (type === "Accepted" || type === "ResolvedRefs") && observedGeneration === metadata.generation)
            problems.push(cause("route_refused", { route: metadata.name, reason: message === "" ? reason : message }));
    return problems;
  }

  /** Whether all Services and routes of an entry are as they were put. */
  async #stands(ref: Ref, record: ConfigMap | undefined, signal: AbortSignal): Promise<boolean> {
    const prints = printsIn(record?.data);
    if (this.#deps.standing.has(namespaceOf(ref.stack), prints) === true) return true;
    // A watch may not have heard yet of what was just put: only a look of its own says that something is not there.
    const found: Record<string, string> = {};
    for await (const one of this.#services(ref, signal)) found[`Service/${one.metadata.name}`] = printOf(one);
    for await (const one of this.#routes(ref, signal)) found[`HTTPRoute/${one.metadata.name}`] = printOf(one);
    return Object.entries(prints).every(([name, print]) => found[name] === print);
  }

  async #record(ref: Ref, signal: AbortSignal): Promise<ConfigMap | undefined> {
    const found = await this.#deps.api.find<ConfigMap>(
      { kind: "ConfigMap", namespace: namespaceOf(ref.stack), name: recordName(ref) },
      { signal },
    );
    return found?.metadata.labels?.[mark.installation] === this.#deps.installation ? found : undefined;
  }

  #services(ref: Ref, signal: AbortSignal): AsyncGenerator<Service, unknown> {
    return listAll<Service>(this.#deps.api, "Service", { ...this.#selection(ref), signal });
  }

  #routes(ref: Ref, signal: AbortSignal): AsyncGenerator<HTTPRoute, unknown> {
    return listAll<HTTPRoute>(this.#deps.api, "HTTPRoute", { ...this.#selection(ref), signal });
  }

  #selection(ref: Ref | undefined): { readonly namespace?: string; readonly labels: string } {
    const { installation } = this.#deps;
    if (ref === undefined) return { labels: selector({ [mark.installation]: installation, [mark.role]: roleOfRoutes }) };
    return { namespace: namespaceOf(ref.stack), labels: `${ofComponent(installation, ref)},${mark.role}=${roleOfRoutes}` };
  }

  async #removeOthers(ref: Ref, keep: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const namespace = namespaceOf(ref.stack);
    for await (const { metadata } of this.#routes(ref, signal))
      if (!keep.has(`HTTPRoute/${metadata.name}`)) {
        this.#deps.standing.removing(namespace, `HTTPRoute/${metadata.name}`);
        await this.#deps.api.delete({ kind: "HTTPRoute", namespace, name: metadata.name }, { signal });
      }
    for await (const { metadata } of this.#services(ref, signal))
      if (!keep.has(`Service/${metadata.name}`)) {
        this.#deps.standing.removing(namespace, `Service/${metadata.name}`);
        await this.#deps.api.delete({ kind: "Service", namespace, name: metadata.name }, { signal });
      }
  }

  #asking<T>(ask: () => Promise<T>): Promise<T> {
    return asking(this.#deps.cluster, this.#deps.api, ask);
  }
}

const nameOf = ({ kind, metadata }: Service | HTTPRoute): string => `${kind}/${metadata.name}`;

/** None for an entry that was put before they were written down. */
function printsIn(data: ConfigMap["data"]): Prints {
  const text = data?.["objects"];
  return text === undefined ? {} : (JSON.parse(text) as Prints);
}

function entryIn(record: ConfigMap | undefined): TrafficEntry | undefined {
  const text = record?.data?.["entry"];
  return text === undefined ? undefined : (JSON.parse(text) as TrafficEntry);
}

function ofTheGateway(what: string): BerthError {
  return new BerthError("wrong_state", {
    verb: "set",
    reason: `a ${what} of this cluster belongs to its gateway`,
    hint: "Give the gateway's listener a certificate of its own, by cert-manager for instance.",
  });
}
