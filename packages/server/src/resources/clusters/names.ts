// What clusters are called. One that was renamed keeps the name in its row for ever, and all inside of Berth goes by that: rows, what is sealed, objects in the cluster, file names.
// Names that people say are put into its place where a call comes in, and the one that they see where its answer goes out; no service, loop or engine knows of another one.
import type { Db } from "../../db/pool.ts";
import type { Views } from "../../db/views.ts";

/** Only clusters that were renamed are in it. */
export interface ClusterNames {
  /** By each name that it was given since, the one in its row. */
  readonly rows: ReadonlyMap<string, string>;
  /** By the name in its row, what it is called now. */
  readonly called: ReadonlyMap<string, string>;
}

/** What migration 0020 leaves as the note that a name changed. */
const note = "00000000-0000-0000-0000-000000000000";

/** As the database has them when `question` comes; see `Views`. */
export function clusterNames(deps: { readonly db: Db; readonly views: Views }, question: object): Promise<ClusterNames> {
  return deps.views.get(question, "cluster names", async () => ({ value: await readClusterNames(deps.db), of: [note], bytes: 1_000 }));
}

/** Read from the database now. */
export async function readClusterNames(db: Db): Promise<ClusterNames> {
  const rows = await db
    .selectFrom("cluster_names as n")
    .innerJoin("clusters as k", "k.id", "n.cluster_id")
    .select(["n.name", "k.name as row", "k.called"])
    .execute();
  return {
    rows: new Map(rows.map(({ name, row }) => [name, row])),
    called: new Map(rows.flatMap(({ row, called }): [string, string][] => (called === null ? [] : [[row, called]]))),
  };
}

export interface Named {
  readonly id: string;
  /** In its row. */
  readonly name: string;
  /** What it is called now. */
  readonly called: string;
}

/** The cluster that is there and that this name leads to: now, as it was added, or from before. */
export async function clusterBehind(trx: Db, name: string): Promise<Named | undefined> {
  const row = await trx
    .selectFrom("clusters as k")
    .select(["k.id", "k.name", "k.called"])
    .where("k.removed_at", "is", null)
    .where((is) =>
      is.or([
        is("k.name", "=", name),
        is.exists(is.selectFrom("cluster_names as n").select("n.name").whereRef("n.cluster_id", "=", "k.id").where("n.name", "=", name)),
      ]),
    )
    .executeTakeFirst();
  return row && { id: row.id, name: row.name, called: row.called ?? row.name };
}

/** From now on it is called so; who calls it as before finds it as well. Under `lockNames` (db/clusters.ts), and the row's lock. */
export async function callCluster(trx: Db, { id, name }: Pick<Named, "id" | "name">, called: string): Promise<void> {
  if (called !== name)
    await trx
      .insertInto("cluster_names")
      .values({ name: called, cluster_id: id })
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
  await trx
    .updateTable("clusters")
    .set({ called: called === name ? null : called })
    .where("id", "=", id)
    .execute();
}

/** A cluster that is removed leaves all names that it was given. */
export async function freeNames(trx: Db, id: string): Promise<void> {
  await trx.updateTable("clusters").set({ called: null }).where("id", "=", id).execute();
  await trx.deleteFrom("cluster_names").where("cluster_id", "=", id).execute();
}
