// Which node drives a cluster. A cluster is never taken from a node that was there a moment ago: two servers must never act on one cluster's rows.
import { sql } from "kysely";
import { isKube } from "../core/kube-clusters.ts";
import type { Db } from "./pool.ts";
import { DatabaseRefused } from "./refused.ts";
import { transaction } from "./transaction.ts";

/** The home folder that a server works for, and the machine that it lies on. */
export interface NodeIdentity {
  readonly id: string;
  readonly host: string;
}

export interface ClusterOwner {
  readonly cluster: string;
  readonly node: string;
  readonly host: string;
  readonly seenAt: Date | undefined;
  /** Where its server and its router answered last. */
  readonly url: string | undefined;
  readonly router: { readonly host: string; readonly port: number } | undefined;
}

interface ClusterConfig {
  readonly url?: string;
  readonly router?: { readonly host: string; readonly port: number };
}

/** ms without a sign of life after which a node counts as gone. */
export const goneAfter = 60_000;

/** What drives a node's own machine. */
export type NodeEngine = "local" | "docker";

/** Who gives a cluster a name waits for whoever does the same, until the transaction's end. Comes before the lock on any cluster. */
export async function lockNames(trx: Db): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('cluster names', 0))`.execute(trx);
}

/** Makes the cluster this node's when it is nobody's yet (or `always`), and says whose it is. Errors: `engine_changed`, `cluster_taken`. */
export async function claimCluster(
  db: Db,
  cluster: string,
  node: NodeIdentity,
  options: { readonly engine: NodeEngine; readonly always: boolean },
): Promise<"mine" | ClusterOwner> {
  const known = await db.selectFrom("clusters").select(["engine", "host"]).where("name", "=", cluster).executeTakeFirst();
  if (known !== undefined && known.host !== null)
    throw new DatabaseRefused(
      "cluster_taken",
      `Cluster ${cluster} is ${isKube(known.host) ? `a Kubernetes cluster, ${known.host.server}` : `a Docker host elsewhere, at ${known.host.endpoint}`}, and not this machine.`,
      "Choose another name with BERTH_CLUSTER.",
    );
  if (known !== undefined && known.engine !== options.engine)
    throw new DatabaseRefused(
      "engine_changed",
      `Cluster ${cluster} is of the ${known.engine} engine, and what runs there stays there.`,
      `Start the server with BERTH_ENGINE=${known.engine}, or with another home folder (BERTH_HOME) for ${options.engine}.`,
    );
  await transaction(db, async (trx) => {
    await lockNames(trx);
    if (known === undefined) await refuseGiven(trx, cluster);
    await sql`
    insert into clusters (name, engine, node_id, node_host, seen_at) values (${cluster}, ${options.engine}, ${node.id}, ${node.host}, now())
    on conflict (name) do update set node_id = excluded.node_id, node_host = excluded.node_host, seen_at = now()
    where clusters.engine = excluded.engine and (clusters.node_id is null or clusters.node_id = excluded.node_id or ${options.always})`.execute(
      trx,
    );
  });
  const owner = (await clusterOwners(db)).find((one) => one.cluster === cluster);
  if (owner === undefined) throw new Error(`cluster ${cluster} belongs to no node`);
  return owner.node === node.id ? "mine" : owner;
}

/** A name that a cluster was given later leads there, and is no other machine's. Errors: `cluster_taken`. */
async function refuseGiven(trx: Db, name: string): Promise<void> {
  const given = await trx
    .selectFrom("cluster_names as n")
    .innerJoin("clusters as k", "k.id", "n.cluster_id")
    .select("k.name")
    .where("n.name", "=", name)
    .executeTakeFirst();
  if (given !== undefined)
    throw new DatabaseRefused(
      "cluster_taken",
      `${name} is what cluster ${given.name} is called, or was.`,
      `Start that cluster's own server with BERTH_CLUSTER=${given.name}, as before it was renamed; any other with another name.`,
    );
}

/** A sign of life for all that the node drives. False when another node took the cluster meanwhile: then this one must stop. */
export async function keepCluster(db: Db, cluster: string, node: NodeIdentity): Promise<boolean> {
  const kept = await db
    .updateTable("clusters")
    .set({ seen_at: sql<Date>`now()` })
    .where("node_id", "=", node.id)
    .returning("name")
    .execute();
  return kept.some(({ name }) => name === cluster);
}

/** The node's server ends in good order: it is not waited for when somebody takes its cluster over. */
export async function leaveCluster(db: Db, cluster: string, node: NodeIdentity): Promise<void> {
  await db
    .updateTable("clusters")
    .set({ seen_at: null })
    .where((eb) => eb.or([eb("name", "=", cluster), eb("host", "is not", null)]))
    .where("node_id", "=", node.id)
    .execute();
}

/** Where the cluster's server and router answer, for the other servers of this database; and the server of all else that its node drives. */
export async function announce(db: Db, cluster: string, at: ClusterConfig): Promise<void> {
  await db
    .updateTable("clusters")
    .set({ config: sql`config || ${JSON.stringify({ url: at.url })}::jsonb` as never })
    .where("host", "is not", null)
    .where("node_id", "=", (eb) => eb.selectFrom("clusters as own").select("own.node_id").where("own.name", "=", cluster))
    .execute();
  await db
    .updateTable("clusters")
    .set({ config: sql`config || ${JSON.stringify(at)}::jsonb` as never })
    .where("name", "=", cluster)
    .execute();
}

/** Names of all clusters whose edge serves certificates; the gateway of a Kubernetes cluster has its own. */
export async function edgeClusters(db: Db): Promise<string[]> {
  const rows = await db.selectFrom("clusters").select("name").where("engine", "!=", "kubernetes").where("removed_at", "is", null).execute();
  return rows.map(({ name }) => name);
}

/** The owners of all clusters that belong to a node. */
export async function clusterOwners(db: Db): Promise<ClusterOwner[]> {
  const rows = await db
    .selectFrom("clusters")
    .select(["name", "node_id", "node_host", "seen_at", "config"])
    .where("node_id", "is not", null)
    .orderBy("created_at")
    .execute();
  return rows.map((row) => {
    const config = row.config as ClusterConfig;
    return {
      cluster: row.name,
      node: row.node_id ?? "",
      host: row.node_host ?? "",
      seenAt: row.seen_at ?? undefined,
      url: config.url,
      router: config.router,
    };
  });
}

/** Takes a cluster over from a node that is gone for good. Refused, with its owner, while that node shows signs of life. */
export async function takeCluster(db: Db, cluster: string, node: NodeIdentity): Promise<"taken" | "absent" | ClusterOwner> {
  const before = await db.selectFrom("clusters").select("node_id").where("name", "=", cluster).executeTakeFirst();
  const taken = await sql`
    update clusters set node_id = ${node.id}, node_host = ${node.host}, seen_at = now()
    where name = ${cluster} and host is null and (node_id is null or node_id = ${node.id} or seen_at is null or seen_at < now() - ${goneAfter} * interval '1 millisecond')`.execute(
    db,
  );
  if ((taken.numAffectedRows ?? 0n) > 0n) {
    // What else it drove comes with it.
    if (before?.node_id != null)
      await db
        .updateTable("clusters")
        .set({ node_id: node.id, node_host: node.host })
        .where("host", "is not", null)
        .where("node_id", "=", before.node_id)
        .execute();
    return "taken";
  }
  return (await clusterOwners(db)).find((owner) => owner.cluster === cluster) ?? "absent";
}
