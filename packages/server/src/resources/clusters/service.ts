// Clusters: the configured places, with what each can do right now.
import type { Cluster } from "@berth/contract/resources/clusters.ts";
import { BerthError } from "../../core/errors.ts";
import type { Page } from "../../core/page.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import * as store from "./store.ts";

export type ClusterService = ReturnType<typeof createClusterService>;

export function createClusterService(deps: ResourceDeps) {
  async function present(row: store.ClusterRow, signal: AbortSignal): Promise<Cluster> {
    const found = await deps.places.engine(row.name).capabilities(signal);
    const { reachable, version, isolation, ...capabilities } = found;
    return {
      name: row.name,
      engine: row.engine,
      reachable,
      version,
      isolation: [...isolation],
      capabilities: { ...capabilities },
      stacks: row.stacks,
      createdAt: row.created_at.toISOString(),
    };
  }

  return {
    async list(call: Call, query: ListRequest & { engine?: Cluster["engine"] }): Promise<Page<Cluster>> {
      const wanted = slice(store.clusterList, query);
      const { items, ...rest } = toPage(await store.listClusters(deps.db, { page: wanted, engine: query.engine }), wanted, (row) => row);
      return { ...rest, items: await Promise.all(items.map((row) => present(row, call.signal))) };
    },
    async show(call: Call, name: string): Promise<Cluster> {
      const [row] = await store.listClusters(deps.db, { name, page: slice(store.clusterList, { limit: 1 }) });
      if (row === undefined) throw new BerthError("not_found", { kind: "cluster", name, hint: "`berth clusters list` shows them." });
      return present(row, call.signal);
    },
  };
}
