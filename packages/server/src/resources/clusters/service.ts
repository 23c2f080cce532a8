// Clusters: the configured places, with what each can do right now.
import type { Cluster } from "@berth/contract/resources/clusters.ts";
import { BerthError } from "../../core/errors.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";

export type ClusterService = ReturnType<typeof createClusterService>;
interface Row { readonly name: string; readonly engine: "local" | "docker" | "kubernetes"; readonly created_at: Date; readonly stacks: number }

export function createClusterService(deps: ResourceDeps) {
  async function rows(): Promise<Row[]> {
    return deps.db.selectFrom("clusters as k").select((eb) => ["k.name", "k.engine", "k.created_at", eb.selectFrom("stacks as s").whereRef("s.cluster_id", "=", "k.id").where("s.deleted_at", "is", null).select((inner) => inner.fn.countAll<number>().as("n")).as("stacks")]).orderBy("k.name").execute() as Promise<Row[]>;
  }

  async function present(row: Row, signal: AbortSignal): Promise<Cluster> {
    const found = await deps.places.engine(row.name).capabilities(signal);
    const { reachable, version, isolation, ...capabilities } = found;
    return { name: row.name, engine: row.engine, reachable, version, isolation: [...isolation], capabilities: { ...capabilities }, stacks: row.stacks, createdAt: row.created_at.toISOString() };
  }

  return {
    async list(call: Call): Promise<{ items: Cluster[] }> {
      return { items: await Promise.all((await rows()).map((row) => present(row, call.signal))) };
    },
    async show(call: Call, name: string): Promise<Cluster> {
      const row = (await rows()).find((candidate) => candidate.name === name);
      if (row === undefined) throw new BerthError("not_found", { kind: "cluster", name, hint: "`berth clusters list` shows them." });
      return present(row, call.signal);
    },
  };
}
