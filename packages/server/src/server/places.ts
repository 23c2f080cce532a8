// Which cluster is reached how from this server: its own through its edge, those of other nodes not at all, with words that say where to ask.
import { setTimeout as delay } from "node:timers/promises";
import { clusterOwners, type ClusterOwner } from "../db/clusters.ts";
import type { Db } from "../db/pool.ts";
import { AwayEngine, AwayTraffic } from "../engines/away.ts";
import type { Engine } from "../engines/engine.ts";
import type { Traffic } from "../engines/traffic.ts";
import type { Places } from "../resources/deps.ts";

export interface OwnPlace {
  readonly cluster: string;
  readonly engine: Engine;
  readonly traffic: Traffic;
}

export interface ServerPlaces extends Places {
  /** undefined = this server's own, or one that nobody drives. */
  owner(cluster: string): ClusterOwner | undefined;
  /** Looks again at who drives what, until the signal. */
  run(signal: AbortSignal): Promise<void>;
}

const period = 5_000;
const unknownRouter = { host: "127.0.0.1", port: 8080 };

export async function createPlaces(db: Db, own: OwnPlace | undefined): Promise<ServerPlaces> {
  let owners = await clusterOwners(db);
  const owner = (cluster: string): ClusterOwner | undefined =>
    cluster === own?.cluster ? undefined : owners.find((one) => one.cluster === cluster);
  return {
    standard: own?.cluster ?? owners[0]?.cluster ?? "local",
    owns: (cluster) => cluster === own?.cluster,
    owner,
    engine: (cluster) => (own !== undefined && cluster === own.cluster ? own.engine : new AwayEngine(cluster, whereIs(owner(cluster)))),
    traffic: (cluster) =>
      own !== undefined && cluster === own.cluster
        ? own.traffic
        : new AwayTraffic(cluster, whereIs(owner(cluster)), owner(cluster)?.router ?? unknownRouter),
    async run(signal) {
      while (!signal.aborted) {
        await delay(period, undefined, { signal }).catch(() => undefined);
        // A database that is away changes no owner.
        if (!signal.aborted) owners = await clusterOwners(db).catch(() => owners);
      }
    },
  };
}

/** `http://127.0.0.1:7420 on host alpha`. */
export function whereIs(owner: ClusterOwner | undefined): string {
  return owner === undefined
    ? "none has taken it yet"
    : [owner.url, owner.host === "" ? undefined : `on host ${owner.host}`].filter((part) => part !== undefined).join(" ");
}
