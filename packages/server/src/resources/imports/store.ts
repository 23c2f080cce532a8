// SQL of imports: what is asked of the database before anything is taken over. Changes nothing.
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import { openSecrets } from "../secrets/store.ts";

export interface KnownStack {
  readonly id: string;
  readonly cluster: string;
  readonly namespace: string | null;
  readonly deleting: boolean;
  /** Names of its components. */
  readonly components: readonly string[];
}

/** The stack of that name; one that is deleted and has volumes left counts too. */
export async function stackNamed(db: Db, name: string): Promise<KnownStack | undefined> {
  const row = await db
    .selectFrom("stacks as s")
    .innerJoin("clusters as k", "k.id", "s.cluster_id")
    .select(["s.id", "k.name as cluster", "s.namespace", "s.delete_requested_at", "s.deleted_at"])
    .where("s.name", "=", name)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const components = await db.selectFrom("components").select("name").where("stack_id", "=", row.id).execute();
  return {
    id: row.id,
    cluster: row.cluster,
    namespace: row.namespace,
    deleting: row.delete_requested_at !== null || row.deleted_at !== null,
    components: components.map((component) => component.name),
  };
}

export async function clusterNamed(db: Db, name: string): Promise<{ readonly called: string; readonly draining: boolean } | undefined> {
  const row = await db.selectFrom("clusters").select(["called", "draining_since"]).where("name", "=", name).executeTakeFirst();
  return row === undefined ? undefined : { called: row.called ?? name, draining: row.draining_since !== null };
}

/** Name -> what its first version says, of those that the stack has. Errors: `secret_unreadable`. */
export const firstSecrets = (
  db: Db,
  secretBox: SecretBox,
  stackId: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> =>
  openSecrets(db, secretBox, stackId, Object.fromEntries(names.map((secret) => [secret, { secret, version: 1 }])));

/** The team that was there first. */
export async function firstTeam(db: Db): Promise<string> {
  return (await db.selectFrom("teams").select("name").orderBy("created_at").orderBy("name").limit(1).executeTakeFirstOrThrow()).name;
}

/** The order by which a cluster tells this from what came before. */
export async function nextFence(db: Db): Promise<number> {
  const { rows } = await sql<{ next: number }>`select nextval('fences') as next`.execute(db);
  return rows[0]?.next ?? 0;
}

export async function epochOf(db: Db): Promise<number> {
  const { rows } = await sql<{ epoch: number }>`select epoch from installation`.execute(db);
  return rows[0]?.epoch ?? 1;
}
