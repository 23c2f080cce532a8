// Whose cluster it is, in words, and the watch over it: a server whose cluster was taken over stops at once, so that two never act on one.
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../config.ts";
import { goneAfter, keepCluster, takeCluster, type ClusterOwner } from "../db/clusters.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";
import { DatabaseRefused } from "../db/refused.ts";
import type { Paths } from "../paths.ts";
import { openNode, rememberCluster, type Node } from "./node.ts";
import { whereIs } from "./places.ts";

const period = 5_000;

/** The cluster that this home drives or would drive. Throws when another one is asked for than the home has: what runs here belongs to that one. */
export function clusterOf(config: Config, node: Node): string {
  if (node.cluster !== undefined && config.cluster.chosen && config.cluster.name !== node.cluster) {
    throw new DatabaseRefused(
      "cluster_taken",
      `The home folder ${config.home} is cluster ${node.cluster}, and what runs here belongs to that.`,
      `Leave BERTH_CLUSTER out, or use another home for cluster ${config.cluster.name}.`,
    );
  }
  return node.cluster ?? config.cluster.name;
}

/** What a server that drives nothing says of itself. */
export function noteOf(owner: ClusterOwner, node: Node): string {
  const here =
    node.cluster === owner.cluster
      ? `Cluster ${owner.cluster}, which this home drove, was taken over by another server`
      : `Cluster ${owner.cluster} belongs to another server`;
  return `${here}: ${whereIs(owner)}. This one answers the API and runs nothing here. ${node.cluster === undefined ? "BERTH_CLUSTER=NAME" : "BERTH_CLUSTER=NAME with another home"} gives this machine a cluster of its own; when the other server is gone for good, \`berth server claim\` takes its cluster over.`;
}

/** Gives signs of life, and says when the cluster is no longer this node's. A database that is away changes nothing. */
export async function watchClaim(
  options: { readonly db: Db; readonly cluster: string; readonly node: Node; readonly log: Log; readonly onLost: (error: Error) => void },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      if (!(await keepCluster(options.db, options.cluster, options.node))) {
        options.onLost(
          new DatabaseRefused(
            "cluster_taken",
            `Cluster ${options.cluster} was taken over by another server.`,
            "What runs here goes on, and this server must not act on it any more. `berth server start` starts it without a cluster.",
          ),
        );
        return;
      }
    } catch (error) {
      if (!signal.aborted) options.log.warn({ error: String(error) }, "no sign of life could be given; trying again");
    }
    await delay(period, undefined, { signal }).catch(() => undefined);
  }
}

/** `berth server claim`: takes the cluster over from a server that is gone for good. The sentence to print, or DatabaseRefused. */
export async function claim(config: Config, paths: Paths, db: Db): Promise<string> {
  const node = openNode(paths.nodeFile);
  const cluster = clusterOf(config, node);
  const taken = await takeCluster(db, cluster, node);
  if (taken === "absent")
    throw new DatabaseRefused("cluster_taken", `There is no local cluster ${cluster} in this database.`, "`berth server start` makes it.");
  if (taken !== "taken")
    throw new DatabaseRefused(
      "cluster_taken",
      `The server of cluster ${cluster} showed a sign of life ${ago(taken)}: ${whereIs(taken)}.`,
      `Stop it first (\`berth server stop --all\` there); ${goneAfter / 1000} s later its cluster can be taken over.`,
    );
  rememberCluster(paths.nodeFile, node, cluster, config.engine);
  return `Cluster ${cluster} is this home's now: \`berth server start\` drives it from here.\nBundles, volumes and the key of the secrets lie in the home folder of the server before (blobs/, stacks/, secrets.key): what is not brought along from there has to be deployed and set again. \`berth server key --add FILE\` adds the keys of that file to this home's; \`berth server key --accept-loss\` goes on without them.`;
}

function ago(owner: ClusterOwner): string {
  return owner.seenAt === undefined ? "just now" : `${Math.max(0, Math.round((Date.now() - owner.seenAt.getTime()) / 1000))} s ago`;
}
