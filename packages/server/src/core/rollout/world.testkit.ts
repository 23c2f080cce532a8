// A model of everything that the planner acts on: instances with lives of their own, an edge with requests in flight, a clock that jumps. For tests only.
// It keeps the truth, so that a test can hold the planner's actions against it; it decides nothing.
import type { Action, Desired, PlannedEndpoint, SeenInstance, SeenTraffic } from "./plan.ts";

export type Revision = NonNullable<Desired["revision"]>;
/** Of a release: whether requests come to its instances, and how long these may last once one leaves. */
export interface ReleaseTraits {
  readonly exposed: boolean;
  readonly drainTimeout: number;
}
export interface Sim extends ReleaseTraits {
  readonly id: string;
  readonly revision: Revision;
  readonly startedAt: string;
  phase: SeenInstance["phase"];
  /** It ended for good before it was told to stop. */
  over?: boolean;
  ready: boolean;
  /** By the wall clock, as an engine tells it, and by true time, at which the routers hear of it. */
  readySince: number;
  routersKnowAt: number;
  /** True time of the next change that comes by itself. */
  due: number;
}

/** A fast generator of numbers in [0, 1), the same for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export type LateOrder =
  Extract<Action, { type: "stop" | "setRoutes" }> | (Extract<Action, { type: "ensure" }> & { readonly revision: Revision });

export interface Entry {
  readonly generation: number;
  readonly endpoints: readonly PlannedEndpoint[];
}

/** What a look at the world showed; `orders` and `entries` tell how many were answered by then. */
export interface Look {
  readonly orders: number;
  readonly entries: number;
  readonly instances: readonly SeenInstance[];
  readonly traffic: SeenTraffic;
}

export class World {
  readonly random: () => number;
  /** True time in ms, and what the wall clock shows beyond it. */
  time = 0;
  skew = 0;
  lastJump = -1;
  readonly sims = new Map<string, Sim>();
  entry: Entry | undefined;
  /** End times of requests, by instance; some, like an open WebSocket, never end by themselves. */
  readonly requests = new Map<string, number[]>();
  /** Since when (true time) an instance gets no new requests. */
  readonly outSince = new Map<string, number>();
  orders = 0;
  entries = 0;
  started = 0;
  /** Releases whose instances never become ready. */
  readonly broken = new Set<string>();
  /** Orders whose sender gave up waiting, or died: they may still be done, at `at` (true time). */
  late: { readonly at: number; readonly generation: number; readonly order: LateOrder }[] = [];
  /** Instances that a late order started: nobody counted on them. */
  readonly uncounted = new Set<string>();
  /** Instances that ended for good: a stop still takes them away, but no request can come to them. */
  readonly ended = new Set<string>();
  /** The newest generations that engine and edge acted for; older orders are refused. */
  fence = 0;
  edgeFence = 0;
  readonly #longest: number;
  readonly #traits: (releaseHash: string) => ReleaseTraits;

  constructor(seed: number, longestRequest: number, traits: (releaseHash: string) => ReleaseTraits) {
    this.random = randomOf(seed);
    this.#longest = longestRequest;
    this.#traits = traits;
  }

  now(): number {
    return 1_700_000_000_000 + this.time + this.skew;
  }
  between(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1));
  }

  /** Lets time pass: instances live on, requests come and end, late orders arrive. */
  tick(ms: number): void {
    this.time += ms;
    for (const sim of this.sims.values()) while (sim.due <= this.time && this.sims.has(sim.id)) this.#live(sim);
    const due = this.late.filter(({ at }) => at <= this.time);
    this.late = this.late.filter(({ at }) => at > this.time);
    for (const { order, generation } of due) this.#arrive(order, generation);
    for (const [id, ends] of this.requests)
      this.requests.set(
        id,
        ends.filter((end) => end > this.time),
      );
    const usable = (this.entry?.endpoints ?? []).filter(({ instance, state }) => state === "active" && this.routersSayReady(instance));
    for (let count = usable.length === 0 ? 0 : this.between(0, 2); count > 0; count -= 1) {
      const taker = usable[this.between(0, usable.length - 1)];
      if (taker === undefined) continue;
      this.requests.set(taker.instance, [
        ...(this.requests.get(taker.instance) ?? []),
        this.random() < 0.02 ? Number.POSITIVE_INFINITY : this.time + this.between(1, this.#longest),
      ]);
    }
  }

  /** An order that nobody waits for any more; its answer tells nobody that looks have to be newer now. */
  #arrive(order: LateOrder, generation: number): void {
    const { orders, entries } = this;
    switch (order.type) {
      case "stop":
        if (generation >= this.fence) this.stop(order.instances, generation);
        break;
      case "ensure": {
        if (generation < this.fence) break;
        const before = new Set(this.sims.keys());
        this.ensure(order.revision, order.replicas, order.leaving, generation);
        for (const id of this.sims.keys()) if (!before.has(id)) this.uncounted.add(id);
        break;
      }
      case "setRoutes":
        if (generation >= this.edgeFence) this.apply(order.endpoints, generation);
        break;
      default:
        order satisfies never;
    }
    Object.assign(this, { orders, entries });
  }

  #live(sim: Sim): void {
    switch (sim.phase) {
      case "starting":
        sim.phase = "running";
        sim.due = this.time + this.between(0, 800);
        return;
      case "running":
        if (this.broken.has(sim.revision.releaseHash)) {
          if (this.random() < 0.5) this.endRun(sim, false);
          else sim.due = this.time + 1_000;
        } else this.#becomeReady(sim);
        return;
      case "backoff":
        sim.phase = "starting";
        sim.due = this.time + this.between(0, 300);
        return;
      case "stopping":
        this.sims.delete(sim.id);
        this.requests.delete(sim.id);
        return;
      case "exited":
        sim.due = Number.POSITIVE_INFINITY;
        return;
      default:
        sim.phase satisfies never;
    }
  }

  #becomeReady(sim: Sim): void {
    Object.assign(sim, {
      ready: true,
      readySince: this.now(),
      routersKnowAt: this.time + this.between(0, 100),
      due: Number.POSITIVE_INFINITY,
    });
  }

  /** It ends by itself: started again after a pause, or over for good. */
  endRun(sim: Sim, forGood: boolean): void {
    if (sim.phase === "stopping" || sim.phase === "exited") return;
    this.requests.delete(sim.id);
    if (forGood) this.ended.add(sim.id);
    Object.assign(sim, {
      phase: forGood ? "exited" : "backoff",
      ready: false,
      due: forGood ? Number.POSITIVE_INFINITY : this.time + this.between(50, 1_500),
    });
  }

  /** Its readiness probe fails for a while. */
  unready(sim: Sim): void {
    if (sim.phase === "running") Object.assign(sim, { ready: false, due: this.time + this.between(50, 1_500) });
  }

  routersSayReady(id: string): boolean {
    const sim = this.sims.get(id);
    return sim !== undefined && sim.ready && sim.phase === "running" && sim.routersKnowAt <= this.time;
  }

  /** As the local engine does it: what stops does not count, nor does what leaves; what is over does. Answers how many it started. */
  ensure(revision: Revision, replicas: number, leaving: readonly string[], generation: number): number {
    this.fence = Math.max(this.fence, generation);
    this.orders += 1;
    const alike = [...this.sims.values()].filter(
      (sim) =>
        sim.revision.releaseHash === revision.releaseHash &&
        sim.revision.restart === revision.restart &&
        sim.phase !== "stopping" &&
        !leaving.includes(sim.id),
    );
    const missing = Math.max(0, replicas - alike.length);
    for (let count = missing; count > 0; count -= 1) {
      this.started += 1;
      const id = `i${String(this.started).padStart(4, "0")}`;
      this.sims.set(id, {
        id,
        revision,
        startedAt: new Date(this.now()).toISOString(),
        phase: "starting",
        ready: false,
        readySince: 0,
        routersKnowAt: 0,
        due: this.time + this.between(0, 300),
        ...this.#traits(revision.releaseHash),
      });
    }
    return missing;
  }

  stop(ids: readonly string[], generation: number): void {
    this.fence = Math.max(this.fence, generation);
    this.orders += 1;
    for (const id of ids) {
      const sim = this.sims.get(id);
      if (sim !== undefined && sim.phase !== "stopping")
        Object.assign(sim, { over: sim.phase === "exited", phase: "stopping", ready: false, due: this.time + this.between(0, 800) });
    }
  }

  apply(endpoints: readonly PlannedEndpoint[], generation: number): void {
    this.entries += 1;
    this.edgeFence = Math.max(this.edgeFence, generation);
    this.entry = { generation, endpoints };
    for (const id of this.sims.keys()) {
      if (this.isActive(id)) this.outSince.delete(id);
      else this.outSince.set(id, this.outSince.get(id) ?? this.time);
    }
  }

  /** The entry is removed for good. */
  drop(generation: number): void {
    this.entries += 1;
    this.edgeFence = Math.max(this.edgeFence, generation);
    this.wipe();
  }

  /** The edge starts again without what it knew. */
  wipe(): void {
    this.entry = undefined;
    this.requests.clear();
    for (const id of this.sims.keys()) this.outSince.set(id, this.outSince.get(id) ?? this.time);
  }

  isActive(id: string): boolean {
    return this.entry?.endpoints.some(({ instance, state }) => instance === id && state === "active") === true;
  }
  inFlight(id: string): number {
    return this.requests.get(id)?.length ?? 0;
  }

  look(): Look {
    const entry = this.entry;
    return {
      orders: this.orders,
      entries: this.entries,
      instances: [...this.sims.values()].map(({ id, revision, phase, ready, readySince, startedAt, exposed, drainTimeout }) => ({
        id,
        revision,
        phase,
        ready,
        startedAt,
        exposed,
        drainTimeout,
        ...(ready ? { readySince: new Date(readySince).toISOString() } : {}),
      })),
      traffic: {
        generation: entry?.generation ?? 0,
        endpoints: (entry?.endpoints ?? []).map(({ instance }) => ({
          instance,
          ready: this.routersSayReady(instance),
          inFlight: this.inFlight(instance),
        })),
        carries: (endpoints) =>
          entry !== undefined &&
          endpoints.length === entry.endpoints.length &&
          endpoints.every(
            ({ instance, state }, index) => entry.endpoints[index]?.instance === instance && entry.endpoints[index].state === state,
          ),
      },
    };
  }
}
