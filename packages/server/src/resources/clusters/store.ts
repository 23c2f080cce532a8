// SQL of clusters.
import { lists } from "@berth/contract/lists.ts";
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, text, type Keyed, type Slice } from "../page.ts";

export const clusterList = defineList(lists.clusters, {
  sort: { name: text("k.name"), engine: text("k.engine"), createdAt: instant("k.created_at") },
  unique: [text("k.name")],
  search: { name: sql.ref("k.name") },
});
export interface ClusterRow {
  readonly name: string;
  readonly engine: "local" | "docker" | "kubernetes";
  readonly created_at: Date;
  readonly stacks: number;
}
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
      query.page.keys.as("cursor_keys"),
      sql<number>`(select count(*)::int from stacks s where s.cluster_id = k.id and s.deleted_at is null)`.as("stacks"),
    ])
    .$if(query.name !== undefined, (q) => q.where("k.name", "=", query.name ?? ""))
    .$if(query.engine !== undefined, (q) => q.where("k.engine", "=", query.engine ?? "local"))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}
