// Which cluster is reached how from this server: its own through its edge, Docker hosts elsewhere through their tunnels, Kubernetes clusters through their APIs, and those
// of other nodes not at all, with words that say where to ask.
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Builder } from "../builders/builder.ts";
import type { HostFacts, HostTls } from "../core/hosts.ts";
import type { KubeAccess, KubeFacts } from "../core/kube-clusters.ts";
import { clusterOwners, type ClusterOwner } from "../db/clusters.ts";
import type { Db } from "../db/pool.ts";
import { AwayEngine, AwayTraffic } from "../engines/away.ts";
import type { Doors } from "../engines/edge-traffic.ts";
import type { Engine } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";
import type { Places } from "../resources/deps.ts";

export interface OwnPlace {
  readonly cluster: string;
  readonly engine: Engine;
  readonly traffic: Traffic;
}

/** A Docker host elsewhere that this server's node drives. All of it can be handed to another thread. */
export interface HostPlace {
  readonly kind: "docker";
  readonly cluster: string;
  readonly facts: HostFacts;
  readonly tls?: HostTls;
  readonly connected: boolean;
  readonly doors: Doors;
}

/** A Kubernetes cluster that this server's node drives; as above. */
export interface KubePlace {
  readonly kind: "kubernetes";
  readonly cluster: string;
  readonly facts: KubeFacts;
  readonly access: KubeAccess;
  readonly connected: boolean;
}

export type AddedPlace = HostPlace | KubePlace;

/** What reaches one of them, and builds for it. */
export interface OpenPlace extends OwnPlace {
  readonly builder: Builder;
  setDoors?(doors: Doors): void;
  close(): Promise<void>;
}

export interface ServerPlaces extends Places {
  /** undefined = this server's own, or one that nobody drives. */
  owner(cluster: string): ClusterOwner | undefined;
  /** All clusters beside the own one that there are now. */
  setAdded(places: readonly AddedPlace[]): void;
  /** What builds for an added cluster; undefined for the own one. */
  builder(cluster: string): Builder | undefined;
  /** Those that work can be done for now. */
  reachable(): readonly string[];
  /** Since when one is, without a break; unix ms, 0 = since before this server. */
  reachableSince(cluster: string): number;
  /** Looks again at who drives what, until the signal. */
  run(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

const period = 5_000;
const unknownRouter = { host: "127.0.0.1", port: 8080 };

export async function createPlaces(db: Db, own: OwnPlace | undefined, open: (place: AddedPlace) => OpenPlace): Promise<ServerPlaces> {
  let owners = await clusterOwners(db);
  const added = new Map<string, { of: AddedPlace; since: number; readonly place: OpenPlace }>();
  const closing: Promise<void>[] = [];
  const drop = (cluster: string): void => {
    const gone = added.get(cluster)?.place.close();
    added.delete(cluster);
    if (gone !== undefined) closing.push(gone);
  };
  const driven = (cluster: string): OwnPlace | undefined => (cluster === own?.cluster ? own : added.get(cluster)?.place);
  const owner = (cluster: string): ClusterOwner | undefined =>
    driven(cluster) === undefined ? owners.find((one) => one.cluster === cluster) : undefined;
  return {
    standard: own?.cluster ?? owners[0]?.cluster ?? "local",
    owns: (cluster) => driven(cluster) !== undefined,
    owner,
    engine: (cluster) => driven(cluster)?.engine ?? new AwayEngine(cluster, whereIs(owner(cluster))),
    traffic: (cluster) =>
      driven(cluster)?.traffic ?? new AwayTraffic(cluster, whereIs(owner(cluster)), owner(cluster)?.router ?? unknownRouter),
    builder: (cluster) => added.get(cluster)?.place.builder,
    setAdded(now) {
      for (const [cluster, { of }] of added) {
        const next = now.find((one) => one.cluster === cluster);
        if (next === undefined || !isDeepStrictEqual(identityOf(next), identityOf(of))) drop(cluster);
      }
      for (const of of now) {
        const known = added.get(of.cluster);
        if (known === undefined) added.set(of.cluster, { of, since: Date.now(), place: open(of) });
        else {
          if (of.connected && !known.of.connected) known.since = Date.now();
          known.of = of;
        }
        if (of.kind === "docker") added.get(of.cluster)?.place.setDoors?.(of.doors);
      }
    },
    reachable: () => [
      ...(own === undefined ? [] : [own.cluster]),
      ...[...added.values()].flatMap(({ of }) => (of.connected ? [of.cluster] : [])),
    ],
    reachableSince: (cluster) => added.get(cluster)?.since ?? 0,
    async run(signal) {
      while (!signal.aborted) {
        await delay(period, undefined, { signal }).catch(() => undefined);
        // A database that is away changes no owner.
        if (!signal.aborted) owners = await clusterOwners(db).catch(() => owners);
      }
    },
    async close() {
      for (const cluster of added.keys()) drop(cluster);
      await Promise.all(closing);
    },
  };
}

/** What it takes to open it anew. */
const identityOf = (place: AddedPlace): readonly unknown[] => [place.kind, place.facts, place.kind === "docker" ? place.tls : place.access];

/** `http://127.0.0.1:7420 on host alpha`. */
export function whereIs(owner: ClusterOwner | undefined): string {
  return owner === undefined
    ? "none has taken it yet"
    : [owner.url, owner.host === "" ? undefined : `on host ${owner.host}`].filter((part) => part !== undefined).join(" ");
}
