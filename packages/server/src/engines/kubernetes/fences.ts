// Whose orders a cluster still obeys: the epoch of an installation, and the newest generation of each of its components, kept in ConfigMaps of the cluster itself, so that
// every replica of the control plane, and every clone of it, meets the same answer. Written with the version that was read: of two only one passes.
import { ownNamespace } from "@berth/contract/clusterrights.ts";
import { BerthError } from "../../core/errors.ts";
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { listAll } from "../../kubernetes/list.ts";
import { apiVersionOf } from "../../kubernetes/paths.ts";
import type { Epoch, Fence, Ref } from "../engine.ts";
import { isTerminating } from "./failures.ts";
import { digest, mark, namespaceOf } from "./names.ts";
import type { ConfigMap } from "./objects.ts";
import { Rounds } from "./rounds.ts";

const epochKey = "epoch";
/** ms that an order which passed need not pass again: what is worked on is held for longer by whoever gave it. */
const passed = 2_000;
/** ms for which what the cluster remembers is not read again to be told, a little longer than everything is looked at; who orders reads it always. */
const remembered = 45_000;

interface Order {
  /** Stack and component. */
  readonly own: string;
  readonly key: string;
  readonly fence: Fence;
  readonly signal: AbortSignal;
  readonly passed: PromiseWithResolvers<void>;
}

export class Fences {
  readonly #api: KubeApi;
  readonly #installation: string;
  /** What this process has seen; never the only answer. */
  readonly #seen = new Map<string, Fence>();
  /** When the newest order passed, ms of this process. */
  readonly #passed = new Map<string, number>();
  /** Namespace -> the orders that the cluster remembers, as they were read last, and when that was, ms of this process. */
  readonly #read = new Map<string, { readonly orders: Readonly<Record<string, string>>; readonly at: number }>();

  /** Namespace -> orders that the next round takes. */
  readonly #waiting = new Map<string, readonly Order[]>();
  readonly #rounds = new Rounds<void>();
  readonly #epochs = new Rounds<number>();
  readonly #about: string;

  /** `about`: orders of one kind do not make those of another stale. */
  constructor(api: KubeApi, installation: string, about: "instances" | "routes" = "instances") {
    this.#api = api;
    this.#installation = installation;
    this.#about = about;
  }

  /** The newest order that was obeyed for a component; as this process gave it, or as the cluster remembers it. */
  async newest(ref: Ref, signal: AbortSignal): Promise<Fence> {
    const seen = this.#seen.get(`${ref.stack}/${ref.component}`);
    if (seen !== undefined) return seen;
    const { namespace, name, key } = this.#place(ref);
    const read = this.#read.get(namespace);
    if (read !== undefined && performance.now() - read.at < remembered) return this.#known(read.orders[key]);
    const found = await this.#api.find<ConfigMap>({ kind: "ConfigMap", namespace, name }, { signal });
    const orders = found?.data ?? {};
    this.#read.set(namespace, { orders, at: performance.now() });
    return this.#known(orders[key]);
  }

  /** Reads what the cluster remembers of all components at once: whoever goes on to ask for `newest` of each of them costs no request. */
  async readAll(signal: AbortSignal): Promise<void> {
    const fields = `metadata.name=${this.#ordersName}`;
    const read = new Map<string, Readonly<Record<string, string>>>();
    for await (const { metadata, data = {} } of listAll<ConfigMap>(this.#api, "ConfigMap", { fields, signal }))
      read.set(metadata.namespace ?? "", data);
    const at = performance.now();
    this.#read.clear();
    for (const [namespace, orders] of read) this.#read.set(namespace, { orders, at });
  }

  #known(order: string | undefined): Fence {
    return { installation: this.#installation, ...(readOrder(order) ?? { epoch: 0, generation: 0 }) };
  }

  /** Obeys the order unless a newer one was. Without a namespace of its own there is nothing to obey it for, nor to remember it by. Errors: `stale_generation`. */
  async pass(ref: Ref, fence: Fence, signal: AbortSignal): Promise<void> {
    const { namespace, name, key } = this.#place(ref);
    const own = `${ref.stack}/${ref.component}`;
    const seen = this.#seen.get(own);
    if (seen !== undefined && isSame(seen, fence) && performance.now() - (this.#passed.get(own) ?? -passed) < passed) return;
    signal.throwIfAborted();
    const order: Order = { own, key, fence, signal, passed: Promise.withResolvers() };
    // Whoever gave up does not hear of it.
    order.passed.promise.catch(() => undefined);
    // The orders of a stack are in one object: those that come at once are one change of it, or each would be in the way of all others.
    this.#waiting.set(namespace, [...(this.#waiting.get(namespace) ?? []), order]);
    await this.#rounds.join(namespace, (each) => this.#passAll(namespace, name, each), signal);
    await order.passed.promise;
  }

  /** Those that wait. Each is told by itself. */
  async #passAll(namespace: string, name: string, signal: AbortSignal): Promise<void> {
    let open = this.#waiting.get(namespace) ?? [];
    this.#waiting.delete(namespace);
    try {
      while (open.length > 0) open = await this.#passSome(open, { namespace, name }, signal);
    } catch (error) {
      for (const { passed: told } of open) told.reject(error);
    }
  }

  /** Those that have to be looked at again, since somebody else wrote first. */
  async #passSome(
    all: readonly Order[],
    place: { readonly namespace: string; readonly name: string },
    signal: AbortSignal,
  ): Promise<readonly Order[]> {
    const [epoch, orders] = await Promise.all([
      this.#epochs.join("", (each) => this.#epoch(each), signal),
      this.#api.find<ConfigMap>({ kind: "ConfigMap", ...place }, { signal }),
    ]);
    const data: Record<string, string> = {};
    const passing = all.filter(({ key, fence, signal: own, passed: told }) => {
      const known = readOrder(data[key] ?? orders?.data?.[key]);
      if (own.aborted) return false;
      if (fence.epoch < epoch) told.reject(stale(`epoch ${String(epoch)}`, fence));
      else if (known !== undefined && isOlder(fence, known))
        told.reject(stale(`${String(known.epoch)}/${String(known.generation)}`, fence));
      else {
        if (known === undefined || !isSame(known, fence)) data[key] = JSON.stringify({ epoch: fence.epoch, generation: fence.generation });
        return true;
      }
      return false;
    });
    // A namespace of others is nobody's to obey orders in, and nothing is left there.
    const isToWrite = Object.keys(data).length > 0 && (orders !== undefined || (await this.#isOwn(place.namespace, signal)));
    if (isToWrite && !(await this.#write(orders, place, data, signal))) return passing;
    for (const { own, fence, passed: told } of passing) {
      this.#seen.set(own, fence);
      this.#passed.set(own, performance.now());
      told.resolve();
    }
    return [];
  }

  /** Errors: `stale_generation` when a newer epoch was announced. */
  async raise({ epoch }: Epoch, signal: AbortSignal): Promise<void> {
    this.#passed.clear();
    for (;;) {
      const found = await this.#find(signal);
      const known = Number(found?.data?.[epochKey] ?? 0);
      if (epoch < known) throw stale(`epoch ${String(known)}`, { epoch });
      if (epoch === known) return;
      const place = { namespace: ownNamespace, name: this.#marker };
      if (await this.#write(found, place, { [epochKey]: String(epoch) }, signal)) return;
      if (found === undefined)
        await this.#api.apply(
          { apiVersion: apiVersionOf("Namespace"), kind: "Namespace", metadata: { name: ownNamespace, ...managed } },
          { signal, force: true },
        );
    }
  }

  async #isOwn(namespace: string, signal: AbortSignal): Promise<boolean> {
    const found = await this.#api.find({ kind: "Namespace", name: namespace }, { signal });
    return found?.metadata.labels?.[mark.installation] === this.#installation;
  }

  #place(ref: Ref): { readonly namespace: string; readonly name: string; readonly key: string } {
    return { namespace: namespaceOf(ref), name: this.#ordersName, key: `${this.#about}.${ref.component}` };
  }

  get #ordersName(): string {
    return `berth-orders-${digest(this.#installation).slice(0, 8)}`;
  }

  get #marker(): string {
    return markerOf(this.#installation);
  }

  #find(signal: AbortSignal): Promise<ConfigMap | undefined> {
    return this.#api.find<ConfigMap>({ kind: "ConfigMap", namespace: ownNamespace, name: this.#marker }, { signal });
  }

  async #epoch(signal: AbortSignal): Promise<number> {
    return Number((await this.#find(signal))?.data?.[epochKey] ?? 0);
  }

  /** false: somebody else wrote first, or the namespace is not there; what there is has to be read again. */
  async #write(
    before: ConfigMap | undefined,
    place: { readonly namespace: string; readonly name: string },
    data: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const labels = { "app.kubernetes.io/managed-by": "berth", [mark.installation]: this.#installation };
    const object: ConfigMap = { apiVersion: apiVersionOf("ConfigMap"), kind: "ConfigMap", metadata: { ...place, labels }, data };
    try {
      if (before === undefined) await this.#api.create(object, { signal });
      else {
        const changed: ConfigMap = { ...before, data: { ...before.data, ...data } };
        await this.#api.replace(changed, { signal });
      }
      return true;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      // A namespace that is not there, or is just going, has nothing in it that an order could reach.
      if (place.namespace !== ownNamespace && (error.status === 404 || isTerminating(error))) return true;
      if (error.reason === "Conflict" || error.reason === "AlreadyExists" || error.status === 404) return false;
      throw error;
    }
  }
}

/** The epoch of an installation is forgotten: it works there no more. */
export async function removeMarkers(api: KubeApi, installation: string, signal: AbortSignal): Promise<void> {
  await api.delete({ kind: "ConfigMap", namespace: ownNamespace, name: markerOf(installation) }, { signal });
}

/** Whether the installation has ever been at work in this cluster. */
export async function isMarked(api: KubeApi, installation: string, signal: AbortSignal): Promise<boolean> {
  return (await api.find({ kind: "ConfigMap", namespace: ownNamespace, name: markerOf(installation) }, { signal })) !== undefined;
}

const markerOf = (installation: string): string => `installation-${digest(installation)}`;

const managed = { labels: { "app.kubernetes.io/managed-by": "berth" } };

const isSame = (one: Pick<Fence, "epoch" | "generation">, other: Pick<Fence, "epoch" | "generation">): boolean =>
  one.epoch === other.epoch && one.generation === other.generation;

function isOlder(one: Pick<Fence, "epoch" | "generation">, other: Pick<Fence, "epoch" | "generation">): boolean {
  return one.epoch < other.epoch || (one.epoch === other.epoch && one.generation < other.generation);
}

function readOrder(text: string | undefined): Pick<Fence, "epoch" | "generation"> | undefined {
  if (text === undefined) return undefined;
  const { epoch, generation } = JSON.parse(text) as Partial<Fence>;
  return { epoch: Number(epoch), generation: Number(generation) };
}

function stale(seen: string, { epoch, generation }: { readonly epoch: number; readonly generation?: number }): BerthError {
  return new BerthError("stale_generation", { seen, given: `${String(epoch)}${generation === undefined ? "" : `/${String(generation)}`}` });
}
