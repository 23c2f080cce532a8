// The Traffic port over the Gateway API: Services and HTTPRoutes put an entry in force, the cluster's own gateway serves it, and a probe goes through it as users do.
import { createHmac } from "node:crypto";
import { request } from "node:http";
import { BerthError } from "../../core/errors.ts";
import { probeHeader, releaseHeader } from "../../edge/probe-header.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { ignoring } from "../../kubernetes/errors.ts";
import type { Difference, Epoch, Fence, Ref, Rendered } from "../engine.ts";
import type { Applied, GivenCertificate, HostProof, ProbeAnswer, Traffic, TrafficEndpoint, TrafficEntry } from "../traffic.ts";
import { asking } from "./failures.ts";
import { Fences } from "./fences.ts";
import { mark } from "./names.ts";
import type { Pods } from "./pods.ts";
import { shown } from "./render.ts";
import { RouteLooks } from "./route-looks.ts";
import { RouteObjects } from "./route-objects.ts";
import { stableService } from "./stable-service.ts";
import {
  httpRoutesOf,
  recordOf,
  servicesOf,
  type GatewayRef,
  type HTTPRoute,
  type Print,
  type RouteOrder,
  type Service,
} from "./routes.ts";

export interface GatewayTrafficDeps {
  readonly api: KubeApi;
  readonly cluster: string;
  readonly installation: string;
  readonly pods: Pods;
  readonly gateway: GatewayRef;
  /** Where users reach the gateway, and where this server does. */
  readonly door: { readonly host: string; readonly port: number };
  /** Signs what pins a probe. */
  readonly probeKey: Buffer;
  /** For the log. */
  readonly onTrouble?: ((error: Error) => void) | undefined;
}

/** ms that gateways may take to hear of an endpoint that is gone: none that is known takes longer. */
const gatewayDelay = 2_000;

export class GatewayTraffic implements Traffic, AsyncDisposable {
  readonly #deps: GatewayTrafficDeps;
  readonly #fences: Fences;
  readonly #objects: RouteObjects;
  readonly #looks: RouteLooks;
  /** When a pod was first seen to be in no endpoint slice any more, Unix ms. */
  readonly #left = new Map<string, number>();

  constructor(deps: GatewayTrafficDeps) {
    this.#deps = deps;
    this.#fences = new Fences(deps.api, deps.installation, "routes");
    this.#looks = new RouteLooks(deps.api);
    this.#objects = new RouteObjects({ ...deps, onChange: (ref) => deps.pods.stir(ref) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#objects[Symbol.asyncDispose]();
  }

  async apply(entry: TrafficEntry, fence: Fence, signal: AbortSignal, options: { readonly leaves?: boolean } = {}): Promise<void> {
    await this.#asking(async () => {
      await this.#ready(signal);
      await this.#fences.pass(entry.ref, fence, signal);
      const order = await this.#orderOf(entry, signal);
      const services = servicesOf(order);
      // Before any rule names them.
      const prints: Record<string, Print> = {};
      const put = async (object: Service | HTTPRoute): Promise<void> => {
        prints[nameOf(object)] = await this.#objects.apply(object, signal, options);
      };
      for (const service of services) await put(service);
      for (const left of this.#gone(entry)) this.#left.delete(left);
      await this.#setServing(entry, signal);
      const routes = httpRoutesOf(order);
      for (const route of routes) await put(route);
      await this.#objects.removeOthers(entry.ref, new Set([...services, ...routes].map(nameOf)), signal);
      // The last word: an entry is in force when all of it is.
      await this.#objects.writeRecord(recordOf(this.#deps.installation, entry, fence, prints), signal);
    });
  }

  async remove(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    await this.#asking(async () => {
      await this.#ready(signal);
      await this.#fences.pass(ref, fence, signal);
      await this.#objects.removeOthers(ref, new Set(), signal);
      await this.#objects.removeRecord(ref, signal);
    });
  }

  applied(ref: Ref, signal: AbortSignal): Promise<Applied> {
    return this.#asking(async () => {
      await this.#ready(signal);
      const record = this.#objects.record(ref);
      if (record === undefined) return { generation: 0, digest: "", endpoints: [], problems: [] };
      const endpoints = new Map(
        record.entry.ports.flatMap(({ tracks }) => tracks.flatMap((track) => track.endpoints.map((one) => [one.instance, one] as const))),
      );
      const behind = this.#objects.podsBehind(ref);
      const now = Date.now();
      const pods = this.#deps.pods.instances(ref);
      const ready = new Set(pods.flatMap((pod) => (pod.ready?.status === "True" ? [pod.name] : [])));
      // What is not there as it was put is not in force, whatever was written down.
      const stands = this.#objects.stands(ref);
      return {
        generation: stands ? record.generation : 0,
        digest: stands ? record.digest : "",
        ...(this.#objects.isChanged(ref) ? { changed: { generation: record.generation, digest: record.digest } } : {}),
        endpoints: [...endpoints.values()].map(({ instance, state }) => ({
          instance,
          ready: ready.has(instance),
          ...(state === "draining" ? this.#leaving(instance, behind, now) : { inFlight: 0 }),
          requests: 0,
          errors: 0,
        })),
        problems: this.#objects.problems(ref),
      };
    });
  }

  list(signal: AbortSignal): Promise<readonly { readonly ref: Ref; readonly generation: number }[]> {
    return this.#asking(async () => {
      await this.#ready(signal);
      return [...this.#objects.records()];
    });
  }

  readEntry(ref: Ref, signal: AbortSignal): Promise<TrafficEntry | undefined> {
    return this.#asking(async () => {
      await this.#ready(signal);
      return this.#objects.record(ref)?.entry;
    });
  }

  manifests(ref: Ref, signal: AbortSignal): Promise<Rendered[]> {
    return this.#asking(async () => {
      await this.#ready(signal);
      const entry = this.#objects.record(ref)?.entry;
      if (entry === undefined) return [];
      const order = await this.#orderOf(entry, signal);
      return [...servicesOf(order), ...httpRoutesOf(order)].map(shown);
    });
  }

  drift(ref: Ref, signal: AbortSignal): Promise<readonly Difference[]> {
    return this.#asking(async () => {
      await this.#ready(signal);
      const entry = this.#objects.record(ref)?.entry;
      const changed = this.#objects.changed(ref);
      if (entry === undefined || changed.size === 0) return [];
      const order = await this.#orderOf(entry, signal);
      const objects = [...servicesOf(order), ...httpRoutesOf(order)].filter((object) => changed.has(nameOf(object)));
      return (await Promise.all(objects.map((object) => this.#looks.differences(object, signal)))).flat();
    });
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

  async #orderOf(entry: TrafficEntry, signal: AbortSignal): Promise<RouteOrder> {
    const { api, installation, gateway, pods } = this.#deps;
    const stable = await stableService(api, installation, entry.ref, signal);
    const releases = new Map(pods.instances(entry.ref).map(({ releaseHash, releaseNumber }) => [releaseHash, releaseNumber]));
    return { installation, entry, gateway, stable, pinOf: (hash) => this.#pin(hash), releaseOf: (hash) => releases.get(hash) };
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

  /** In flight is one request as long as the gateway may not have heard yet that the instance takes none. What it sent before that, the program ends by itself after SIGTERM. */
  #leaving(instance: string, behind: ReadonlySet<string>, now: number): { readonly inFlight: number; readonly listed: boolean } {
    if (behind.has(instance)) {
      this.#left.delete(instance);
      return { inFlight: 1, listed: true };
    }
    const since = this.#left.get(instance) ?? now;
    this.#left.set(instance, since);
    return { inFlight: now - since < gatewayDelay ? 1 : 0, listed: false };
  }

  /** Instances of the entry in force that the next one has no more. */
  #gone(entry: TrafficEntry): string[] {
    const before = this.#objects.record(entry.ref)?.entry;
    const stay = new Set(instancesOf(entry));
    return before === undefined ? [] : instancesOf(before).filter((instance) => !stay.has(instance));
  }

  async #ready(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#deps.pods.ready(signal), this.#objects.ready(signal)]);
  }

  #asking<T>(ask: () => Promise<T>): Promise<T> {
    return asking(this.#deps.cluster, this.#deps.api, ask);
  }
}

const instancesOf = ({ ports }: TrafficEntry): string[] =>
  ports.flatMap(({ tracks }) => tracks.flatMap(({ endpoints }) => endpoints.map(({ instance }) => instance)));

const nameOf = ({ kind, metadata }: Service | HTTPRoute): string => `${kind}/${metadata.name}`;

function ofTheGateway(what: string): BerthError {
  return new BerthError("wrong_state", {
    verb: "set",
    reason: `a ${what} of this cluster belongs to its gateway`,
    hint: "Give the gateway's listener a certificate of its own, by cert-manager for instance.",
  });
}
