// A component in several clusters, each with an engine and a router in memory of its own, under the real loops and the real database.
import { defaultSpec, type ComponentSpec, type Placement } from "@berth/contract/spec.ts";
import { beforeAll } from "vitest";
import { BerthError } from "../src/core/errors.ts";
import { openTombstone } from "../src/db/tombstones.ts";
import { EngineFailure, type Engine } from "../src/engines/engine.ts";
import type { Traffic } from "../src/engines/traffic.ts";
import { FakeTraffic } from "../src/engines/fake-traffic.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import { reconcileStack } from "../src/reconcile/stack.ts";
import { transaction } from "../src/db/transaction.ts";
import type { PlaceState } from "../src/resources/deps.ts";
import { Scene } from "./scene.ts";
import { useServices, type TestServices } from "./services.ts";

const clusters = ["home", "west", "north", "east"] as const;
export type ClusterName = (typeof clusters)[number];
export const second = 1_000;
export const worker = { ...defaultSpec("worker"), build: { context: "." }, command: { exec: ["app"] }, gracePeriod: 1 };
/** `worker` with as many instances as its clusters are to have. */
export const placed = (placement: Placement, more: Partial<ComponentSpec> = {}): ComponentSpec => ({
  ...worker,
  replicas: placement.clusters.reduce((all, { replicas }) => all + (replicas ?? 0), 0),
  placement,
  ...more,
});
/** Two in `home`, one in `west`. */
export const both: Placement = {
  clusters: [
    { name: "home", replicas: 2 },
    { name: "west", replicas: 1 },
  ],
  pause: 30 * second,
};

/** Services whose clusters are those of the fleet that was made last. `states`: what is told of whether its clusters answer. */
export function useFleet(): {
  readonly services: () => TestServices;
  readonly states: () => Map<string, PlaceState>;
  readonly make: () => Promise<Fleet>;
} {
  let engines: ReadonlyMap<string, FakeEngine> = new Map();
  let traffics: ReadonlyMap<string, FakeTraffic> = new Map();
  let states = new Map<string, PlaceState>();
  const services = useServices((deps) => ({
    places: {
      engine: (cluster): Engine => engines.get(cluster) ?? deps.places.engine(cluster),
      traffic: (cluster): Traffic => traffics.get(cluster) ?? deps.places.traffic(cluster),
      standard: "home",
      owns: (cluster) => cluster !== "local",
    },
    addedClusters: {
      ...deps.addedClusters,
      state: (cluster) => states.get(cluster),
      clear: (cluster) => {
        const { connected = true, reason = "" } = states.get(cluster) ?? {};
        return connected ? Promise.resolve() : Promise.reject(new BerthError("engine_unavailable", { cluster, reason }));
      },
    },
  }));
  beforeAll(async () => {
    await services()
      .database.db.insertInto("clusters")
      .values(clusters.map((name) => ({ name, engine: "kubernetes" as const, domain: `${name}.test` })))
      .execute();
  });
  return {
    services,
    states: () => states,
    make: async () => {
      const made = new Fleet(services());
      engines = made.engines;
      traffics = made.traffics;
      states = new Map();
      await made.create();
      return made;
    },
  };
}

/** Four clusters with a stack of which the first is its own. */
export class Fleet extends Scene {
  readonly engines: ReadonlyMap<string, FakeEngine>;
  readonly traffics: ReadonlyMap<string, FakeTraffic>;

  constructor(services: TestServices) {
    super(services);
    const here = new Map<string, FakeEngine>([["home", this.engine]]);
    for (const cluster of clusters.slice(1)) here.set(cluster, new FakeEngine({ now: () => this.now, cluster }));
    const traffics = new Map([...here].map(([cluster, engine]) => [cluster, cluster === "home" ? this.traffic : new FakeTraffic(engine)]));
    this.engines = here;
    this.traffics = traffics;
    Object.assign(this.deps, {
      isReachable: (cluster: string) => this.in(cluster).reachable,
      places: {
        engine: (cluster: string) => this.in(cluster),
        traffic: (cluster: string) => traffics.get(cluster) ?? this.traffic,
        standard: "home",
        owns: () => true,
      },
    });
  }

  in(cluster: string): FakeEngine {
    const engine = this.engines.get(cluster);
    if (engine === undefined) throw new Error(`no cluster ${cluster}`);
    return engine;
  }

  /** Ids of the component's rows by cluster. */
  async rows(): Promise<Map<string, string>> {
    const parts = await this.services.database.db
      .selectFrom("components as c")
      .innerJoin("clusters as k", "k.id", "c.cluster_id")
      .select(["c.id", "k.name"])
      .where("c.part_of", "=", this.componentId)
      .execute();
    return new Map([["home", this.componentId], ...parts.map(({ id, name }): [string, string] => [name, id])]);
  }

  /** A pass of every row whose cluster answers, and `each` ms afterwards; one that does not fails as its loop would have it. */
  async passAll(each = 100): Promise<void> {
    for (const [cluster, id] of await this.rows())
      await this.pass(undefined, id).catch((error: unknown) => {
        if (!(error instanceof EngineFailure) || this.in(cluster).reachable) throw error;
      });
    this.now += each;
  }

  async until(holds: () => Promise<boolean>, what: string, each = 100): Promise<void> {
    for (let count = 0; count < 400; count += 1) {
      if (await holds()) return;
      await this.passAll(each);
    }
    throw new Error(`${what} did not come about: ${JSON.stringify((await this.rollouts()).items)}`);
  }

  /** One of the stack, which is told that it is to go. */
  async passStack(id: string): Promise<void> {
    const {
      database: { db },
      deps,
    } = this.services;
    await reconcileStack(
      {
        db,
        places: this.deps.places,
        builderFor: () => ({ forget: () => Promise.resolve() }),
        buildLogs: deps.buildLogs,
        clock: this.deps.clock,
      },
      id,
      { signal: this.signal, commit: (work) => transaction(db, work), fence: Number.MAX_SAFE_INTEGER },
    );
  }
  async stackId(): Promise<string> {
    const { db } = this.services.database;
    return (await db.selectFrom("stacks").select("id").where("name", "=", this.ref.stack).executeTakeFirstOrThrow()).id;
  }
  /** Whether it is decided, and not carried out yet, that the whole stack leaves the cluster. */
  async isLeaving(cluster: ClusterName): Promise<boolean> {
    return (await openTombstone(this.services.database.db, cluster, { kind: "stack", stack: this.ref.stack })) !== undefined;
  }

  rollouts() {
    return this.services.handlers.listRollouts({ params: this.ref, query: { sort: "number" } }, this.services.call());
  }
  /** Of the newest release: how it went in each cluster. */
  async went(): Promise<Record<string, string>> {
    const newest = new Map<string, string>();
    for (const { cluster, phase } of (await this.rollouts()).items.toSorted((one, other) => one.number - other.number))
      newest.set(cluster ?? "home", phase);
    return Object.fromEntries(newest);
  }
  async over(): Promise<void> {
    await this.until(
      async () => (await this.rollouts()).items.every(({ endedAt }) => endedAt !== undefined),
      "the end of all rollouts",
      second,
    );
  }
  /** How many run of each release in a cluster. */
  async running(cluster: ClusterName): Promise<Record<number, number>> {
    const seen = (await this.in(cluster).observe(this.ref, this.signal))?.instances ?? [];
    const counts: Record<number, number> = {};
    for (const { releaseNumber, phase } of seen) if (phase !== "stopping") counts[releaseNumber] = (counts[releaseNumber] ?? 0) + 1;
    return counts;
  }
  async shown() {
    return (await this.services.handlers.showComponent({ params: this.ref }, this.services.call())).body;
  }
  /** The hash of the release that is on its way, once there is one. */
  async hash(number: number): Promise<string> {
    const find = () =>
      this.services.database.db
        .selectFrom("releases")
        .select("hash")
        .where("component_id", "=", this.componentId)
        .where("number", "=", number)
        .executeTakeFirst();
    await this.until(async () => (await find()) !== undefined, `release ${String(number)}`);
    return (await find())?.hash ?? "";
  }
}
