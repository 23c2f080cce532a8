// Which cluster is reached how from this server: its own through its edge, Docker hosts elsewhere through their tunnels, and those of other nodes not at all,
// with words that say where to ask.
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { HostFacts, HostTls } from "../core/hosts.ts";
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
  readonly cluster: string;
  readonly facts: HostFacts;
  readonly tls?: HostTls;
  readonly connected: boolean;
  readonly doors: Doors;
}

/** What reaches a host. */
export interface OpenPlace extends OwnPlace {
  readonly traffic: Traffic & { setDoors(doors: Doors): void };
  close(): Promise<void>;
}

export interface ServerPlaces extends Places {
  /** undefined = this server's own, or one that nobody drives. */
  owner(cluster: string): ClusterOwner | undefined;
  /** All hosts that there are now. */
  setHosts(hosts: readonly HostPlace[]): void;
  /** Those that work can be done for now. */
  reachable(): readonly string[];
  /** Looks again at who drives what, until the signal. */
  run(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

const period = 5_000;
const unknownRouter = { host: "127.0.0.1", port: 8080 };

export async function createPlaces<P extends OpenPlace>(
  db: Db,
  own: OwnPlace | undefined,
  openHost: (host: HostPlace) => P,
): Promise<ServerPlaces & { host(cluster: string): P | undefined }> {
  let owners = await clusterOwners(db);
  const hosts = new Map<string, { of: HostPlace; readonly place: P }>();
  const closing: Promise<void>[] = [];
  const drop = (cluster: string): void => {
    const gone = hosts.get(cluster)?.place.close();
    hosts.delete(cluster);
    if (gone !== undefined) closing.push(gone);
  };
  const driven = (cluster: string): OwnPlace | undefined => (cluster === own?.cluster ? own : hosts.get(cluster)?.place);
  const owner = (cluster: string): ClusterOwner | undefined =>
    driven(cluster) === undefined ? owners.find((one) => one.cluster === cluster) : undefined;
  return {
    standard: own?.cluster ?? owners[0]?.cluster ?? "local",
    owns: (cluster) => driven(cluster) !== undefined,
    owner,
    engine: (cluster) => driven(cluster)?.engine ?? new AwayEngine(cluster, whereIs(owner(cluster))),
    traffic: (cluster) =>
      driven(cluster)?.traffic ?? new AwayTraffic(cluster, whereIs(owner(cluster)), owner(cluster)?.router ?? unknownRouter),
    host: (cluster) => hosts.get(cluster)?.place,
    setHosts(now) {
      for (const [cluster, { of }] of hosts) {
        const next = now.find((one) => one.cluster === cluster);
        if (next === undefined || !isDeepStrictEqual([next.facts, next.tls], [of.facts, of.tls])) drop(cluster);
      }
      for (const of of now) {
        const known = hosts.get(of.cluster);
        if (known === undefined) hosts.set(of.cluster, { of, place: openHost(of) });
        else known.of = of;
        hosts.get(of.cluster)?.place.traffic.setDoors(of.doors);
      }
    },
    reachable: () => [
      ...(own === undefined ? [] : [own.cluster]),
      ...[...hosts.values()].flatMap(({ of }) => (of.connected ? [of.cluster] : [])),
    ],
    async run(signal) {
      while (!signal.aborted) {
        await delay(period, undefined, { signal }).catch(() => undefined);
        // A database that is away changes no owner.
        if (!signal.aborted) owners = await clusterOwners(db).catch(() => owners);
      }
    },
    async close() {
      for (const cluster of hosts.keys()) drop(cluster);
      await Promise.all(closing);
    },
  };
}

/** `http://127.0.0.1:7420 on host alpha`. */
export function whereIs(owner: ClusterOwner | undefined): string {
  return owner === undefined
    ? "none has taken it yet"
    : [owner.url, owner.host === "" ? undefined : `on host ${owner.host}`].filter((part) => part !== undefined).join(" ");
}
