// SQL of clusters. What a daemon or a cluster asks for is sealed like a secret and leaves this file only through `openAdded`, for whoever connects.
import { lists } from "@berth/contract/lists.ts";
import { sql, type RawBuilder } from "kysely";
import type { HostFacts, HostTls, WantedHost } from "../../core/hosts.ts";
import { isKube, type KubeAccess, type KubeFacts, type PlaceFacts } from "../../core/kube-clusters.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { freeNames } from "./names.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

/** What a ciphertext is bound to. */
export const hostIdentity = (cluster: string): string => `host:${cluster}`;

/** What it is called. */
const called = sql<string>`coalesce(k.called, k.name)`;

export const clusterList = defineList(lists.clusters, {
  sort: { name: { by: called, type: "text" }, engine: text("k.engine"), createdAt: instant("k.created_at") },
  unique: [text("k.name")],
  search: { name: called },
});
export interface ClusterRow {
  readonly name: string;
  readonly engine: "local" | "docker" | "kubernetes";
  readonly created_at: Date;
  readonly stacks: number;
  readonly domain: string;
  readonly draining_since: Date | null;
  readonly host: PlaceFacts | null;
  /** What it was called before. */
  readonly former: readonly string[];
}
/** How many stacks have something in a cluster: those of its own, and those of which a component has a part there, or one that is like `parts`. */
const stacksIn = (cluster: RawBuilder<unknown>, parts = sql<boolean>`true`) =>
  sql<number>`(select count(*)::int from stacks s where s.deleted_at is null
    and (s.cluster_id = ${cluster} or exists (select 1 from components c where c.stack_id = s.id and c.cluster_id = ${cluster} and ${parts})))`;

export async function listClusters(
  trx: Db,
  query: { readonly name?: string; readonly engine?: ClusterRow["engine"] | undefined; readonly page: Slice },
): Promise<(ClusterRow & Keyed)[]> {
  return trx
    .selectFrom("clusters as k")
    .select([
      "k.name",
      "k.engine",
      "k.created_at",
      "k.domain",
      "k.draining_since",
      "k.host",
      sql<
        string[]
      >`array(select name from (select k.name union select n.name from cluster_names n where n.cluster_id = k.id) names where name <> ${called} order by name)`.as(
        "former",
      ),
      query.page.keys.as("cursor_keys"),
      stacksIn(sql.ref("k.id")).as("stacks"),
    ])
    .where("k.removed_at", "is", null)
    .$if(query.name !== undefined, (q) => q.where("k.name", "=", query.name ?? ""))
    .$if(query.engine !== undefined, (q) => q.where("k.engine", "=", query.engine ?? "local"))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}

export interface LockedCluster {
  readonly id: string;
  /** What it is called now. */
  readonly called: string;
  readonly host: PlaceFacts | null;
  readonly removed: boolean;
  readonly stacks: number;
  /** Without stacks of which only parts are there whose removal was asked for. */
  readonly staying: number;
}

/** A cluster's row, locked; undefined: there is none. */
export async function lockHost(trx: Db, name: string): Promise<LockedCluster | undefined> {
  const row = await trx
    .selectFrom("clusters")
    .select(["id", "called", "host", "removed_at"])
    .where("name", "=", name)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const id = sql`${row.id}::uuid`;
  const many = await trx
    .selectFrom("clusters")
    .select([stacksIn(id).as("stacks"), stacksIn(id, sql<boolean>`c.delete_requested_at is null`).as("staying")])
    .where("id", "=", row.id)
    .executeTakeFirstOrThrow();
  return { id: row.id, called: row.called ?? name, host: row.host, removed: row.removed_at !== null, ...many };
}

export interface KubeAdded {
  readonly kind: "kubernetes";
  readonly facts: KubeFacts;
  readonly access: KubeAccess;
  readonly domain: string;
}
export type Added = ({ readonly kind: "docker" } & WantedHost) | KubeAdded;

/** Makes it, or makes one again that was removed: it is this cluster's node that drives it. */
export async function putAdded(trx: Db, box: SecretBox, name: string, added: Added, driver: string): Promise<void> {
  const { config, ...node } = await trx
    .selectFrom("clusters")
    .select(["node_id", "node_host", "config"])
    .where("name", "=", driver)
    .executeTakeFirstOrThrow();
  const secret = added.kind === "docker" ? added.tls : added.access;
  const values = {
    ...node,
    // For the other servers of this database.
    config: JSON.stringify({ url: config["url"] }),
    engine: added.kind,
    host: JSON.stringify(added.facts),
    host_ciphertext: secret === undefined ? null : box.seal(JSON.stringify(secret), hostIdentity(name)),
    domain: added.domain,
    draining_since: null,
    removed_at: null,
  };
  await trx
    .insertInto("clusters")
    .values({ name, ...values })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(values))
    .execute();
}

/** Of a Kubernetes cluster: it is reached so from now on. */
export async function setAccess(
  trx: Db,
  box: SecretBox,
  { id, name }: { readonly id: string; readonly name: string },
  { facts, access }: Pick<KubeAdded, "facts" | "access">,
): Promise<void> {
  const sealed = box.seal(JSON.stringify(access), hostIdentity(name));
  await trx
    .updateTable("clusters")
    .set({ host: JSON.stringify(facts), host_ciphertext: sealed })
    .where("id", "=", id)
    .execute();
}

export async function setDraining(trx: Db, id: string, since: Date | null): Promise<void> {
  await trx.updateTable("clusters").set({ draining_since: since }).where("id", "=", id).execute();
}

/** The row stays for the history; what the host asked for does not. */
export async function removeHost(trx: Db, id: string, name: string, at: Date): Promise<void> {
  await trx.updateTable("clusters").set({ removed_at: at, host_ciphertext: null, node_id: null }).where("id", "=", id).execute();
  await freeNames(trx, id);
  await trx.deleteFrom("due").where("cluster", "=", name).execute();
}

export interface OpenHost {
  readonly kind: "docker";
  readonly cluster: string;
  readonly domain: string;
  readonly facts: HostFacts;
  /** undefined: none is needed. `unreadable`: it is sealed with a key that is not here. */
  readonly tls: HostTls | "unreadable" | undefined;
}
export interface OpenKube {
  readonly kind: "kubernetes";
  readonly cluster: string;
  readonly domain: string;
  readonly facts: KubeFacts;
  /** `unreadable`: it is sealed with a key that is not here. */
  readonly access: KubeAccess | "unreadable";
}

/** What the node of this cluster drives beside its own machine. */
export async function openAdded(db: Db, box: SecretBox, driver: string): Promise<(OpenHost | OpenKube)[]> {
  const rows = await db
    .selectFrom("clusters as k")
    .select(["k.name", "k.domain", "k.host", "k.host_ciphertext"])
    .where("k.host", "is not", null)
    .where("k.removed_at", "is", null)
    .where("k.node_id", "=", (eb) => eb.selectFrom("clusters as own").select("own.node_id").where("own.name", "=", driver))
    .orderBy("k.created_at")
    .execute();
  return rows.flatMap(({ name: cluster, domain, host: facts, host_ciphertext: sealed }): (OpenHost | OpenKube)[] => {
    if (facts === null) return [];
    if (isKube(facts)) return [{ kind: "kubernetes", cluster, domain, facts, access: opened(box, sealed ?? "", cluster) }];
    return [{ kind: "docker", cluster, domain, facts, tls: sealed === null ? undefined : opened(box, sealed, cluster) }];
  });
}

function opened<T>(box: SecretBox, sealed: string, cluster: string): T | "unreadable" {
  try {
    // The file that sealed it is this one.
    return JSON.parse(box.open(sealed, hostIdentity(cluster))) as T;
  } catch {
    return "unreadable";
  }
}
