// Applies and removes entries under their fence: first durable on disk, then in force in every router, then answered. One change per component at a time.
import { cause, type Cause } from "@berth/contract/causes.ts";
import { contentHash } from "../../core/canonical.ts";
import { BerthError } from "../../core/errors.ts";
import type { Epoch, Fence, Ref } from "../../engines/engine.ts";
import type { TrafficEntry } from "../../engines/traffic.ts";
import type { AppliedAnswer, ListenerProblem, StoredEntry } from "../ipc.ts";
import type { Fleet } from "./fleet.ts";
import { portOwner } from "./ports.ts";
import type { Readiness } from "./readiness.ts";
import { compareFences, storeKey, type EntryStore } from "./store.ts";

/** ms that a found port owner is believed; finding it reads all of /proc. */
const ownerFor = 3_000;

export interface EntriesDeps {
  readonly installation: string;
  readonly store: EntryStore;
  readonly fleet: Fleet;
  readonly readiness: Readiness;
  readonly now: () => number;
}

export class Entries {
  readonly #deps: EntriesDeps;
  readonly #inForce = new Map<string, { readonly generation: number; readonly digest: string }>();
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #owners = new Map<string, { readonly at: number; readonly text: string }>();
  #pause: PromiseWithResolvers<void> | undefined;

  constructor(deps: EntriesDeps) {
    this.#deps = deps;
  }

  /** After the routers started with everything that is stored. */
  allInForce(): void {
    for (const stored of this.#deps.store.all())
      if (stored.entry !== null)
        this.#inForce.set(storeKey(stored.ref), { generation: stored.fence.generation, digest: contentHash(stored.entry) });
  }

  /** Errors: `stale_generation`, `wrong_state` (another installation's fence). */
  put(ref: Ref, fence: Fence, entry: TrafficEntry | null): Promise<void> {
    const key = storeKey(ref);
    const before = this.#running.get(key) ?? Promise.resolve();
    const mine = before
      .catch(() => undefined)
      .then(() => this.#pause?.promise)
      .then(() => this.#put({ ref, fence, entry }));
    this.#running.set(key, mine);
    return mine.finally(() => {
      if (this.#running.get(key) === mine) this.#running.delete(key);
    });
  }

  get(ref: Ref): TrafficEntry | null {
    return this.#deps.store.get(ref)?.entry ?? null;
  }

  /** Errors: `stale_generation`, `wrong_state` (another installation). */
  async raiseEpoch({ installation, epoch }: Epoch): Promise<void> {
    const { store } = this.#deps;
    this.#ownInstallation(installation);
    if (epoch < store.epoch()) throw new BerthError("stale_generation", { seen: `epoch ${String(store.epoch())}`, given: epoch });
    await store.raiseEpoch(epoch);
  }

  /** Changes that come from now on wait for `resume`, or for `refuse`; resolves when those that came before are done. */
  async pause(): Promise<void> {
    const before = [...this.#running.values()];
    const over = Promise.withResolvers<void>();
    // Awaited by changes, of which there may be none.
    over.promise.catch(() => undefined);
    this.#pause = over;
    await Promise.allSettled(before);
  }

  resume(): void {
    this.#pause?.resolve();
    this.#pause = undefined;
  }

  refuse(error: BerthError): void {
    this.#pause?.reject(error);
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }

  list(): { readonly ref: Ref; readonly generation: number }[] {
    return this.#deps.store
      .all()
      .flatMap(({ ref, entry }) => (entry === null ? [] : [{ ref, generation: this.#inForce.get(storeKey(ref))?.generation ?? 0 }]));
  }

  async applied(ref: Ref): Promise<AppliedAnswer> {
    const entry = this.#deps.store.get(ref)?.entry ?? null;
    // Read before the counts: a generation that comes into force meanwhile must not vouch for counts from before it.
    const { generation, digest } = this.#inForce.get(storeKey(ref)) ?? { generation: 0, digest: "" };
    if (entry === null) return { generation: 0, digest: "", endpoints: [], problems: [] };
    const counts = new Map((await this.#deps.fleet.counts(ref)).map((one) => [one.instance, one]));
    const instances = new Set(
      entry.ports.flatMap((port) => port.tracks.flatMap((track) => track.endpoints.map((endpoint) => endpoint.instance))),
    );
    const endpoints = [...instances].map((instance) => {
      const { inFlight = 0, requests = 0, errors = 0 } = counts.get(instance) ?? {};
      return { instance, ready: this.#deps.readiness.isReady(instance), inFlight, requests, errors };
    });
    const failing = this.#deps.fleet.problems().filter((problem) => storeKey(problem.ref) === storeKey(ref));
    return { generation, digest, endpoints, problems: await Promise.all(failing.map((problem) => this.#cause(problem))) };
  }

  async #put(stored: StoredEntry): Promise<void> {
    const { store, fleet } = this.#deps;
    this.#ownInstallation(stored.fence.installation);
    const known = store.get(stored.ref);
    const seenEpoch = store.epoch();
    if (stored.fence.epoch < seenEpoch || (known !== undefined && compareFences(stored.fence, known.fence) < 0)) {
      throw new BerthError("stale_generation", {
        seen: known === undefined || stored.fence.epoch < seenEpoch ? `epoch ${String(seenEpoch)}` : known.fence.generation,
        given: stored.fence.generation,
      });
    }
    if (known === undefined && stored.entry === null) return; // never seen: removed already
    await store.put(stored);
    await fleet.apply(stored);
    if (stored.entry === null) this.#inForce.delete(storeKey(stored.ref));
    else this.#inForce.set(storeKey(stored.ref), { generation: stored.fence.generation, digest: contentHash(stored.entry) });
  }

  #ownInstallation(installation: string): void {
    if (installation !== this.#deps.installation)
      throw new BerthError("wrong_state", {
        verb: "This change",
        reason: "the edge belongs to another installation",
        hint: "`berth doctor` shows which edge answers here.",
      });
  }

  async #cause(problem: ListenerProblem): Promise<Cause> {
    const { host, port, code, siblings } = problem;
    if (siblings === true) {
      const reason = code === "EADDRINUSE" ? `${await this.#owner(port, host)} listens there` : code;
      return cause("inner_address_unavailable", { address: `${host}:${String(port)}`, reason });
    }
    if (code !== "EADDRINUSE")
      return cause("port_unavailable", { port, reason: code === "EACCES" ? "this user may not use ports below 1024" : code });
    return cause("port_taken", { port, owner: await this.#owner(port) });
  }

  async #owner(port: number, host = ""): Promise<string> {
    const key = `${host}:${String(port)}`;
    const known = this.#owners.get(key);
    const now = this.#deps.now();
    if (known !== undefined && now - known.at < ownerFor) return known.text;
    const owner = await portOwner(port, host === "" ? undefined : host);
    const own = owner !== undefined && (owner.pid === process.pid || this.#deps.fleet.pids.includes(owner.pid));
    // Not which component: the reader may not know of it (promise 8).
    const text = own ? "another component" : (owner?.text ?? "another program");
    this.#owners.set(key, { at: now, text });
    return text;
  }
}
