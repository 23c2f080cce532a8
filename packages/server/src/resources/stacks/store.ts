// SQL of stacks. Lists are paged by keyset and compute a stack's state from its components in the same query.
import { sql } from "kysely";
import type { Stack } from "@berth/contract/resources/stacks.ts";
import type { Db } from "../../db/pool.ts";
import { decodeCursor, likePattern } from "../page.ts";

export interface StackRow {
  readonly id: string; readonly name: string; readonly team_id: string; readonly team: string; readonly cluster_id: string; readonly cluster: string; readonly run_env: string; readonly revision: number;
  readonly last_version: number; readonly delete_requested_at: Date | null; readonly created_at: Date; readonly updated_at: Date;
}
export interface StackListRow extends StackRow { readonly state: Stack["state"]; readonly components: number; readonly hosts: { host: string; path: string }[] }

const live = sql<Stack["state"]>`case
  when s.delete_requested_at is not null then 'deleting'
  when coalesce(c.total, 0) = 0 then 'empty'
  when c.progressing then 'progressing'
  when c.degraded then 'degraded'
  when c.stopped then 'stopped'
  else 'healthy' end`;

function base(trx: Db) {
  return trx.selectFrom("stacks as s").innerJoin("teams as t", "t.id", "s.team_id").innerJoin("clusters as k", "k.id", "s.cluster_id").where("s.deleted_at", "is", null)
    .select(["s.id", "s.name", "s.team_id", "t.name as team", "s.cluster_id", "k.name as cluster", "s.run_env", "s.revision", "s.last_version", "s.delete_requested_at", "s.created_at", "s.updated_at"]);
}

export async function findStack(trx: Db, name: string): Promise<StackRow | undefined> {
  return base(trx).where("s.name", "=", name).executeTakeFirst();
}

export async function findStackById(trx: Db, id: string): Promise<StackRow | undefined> {
  return base(trx).where("s.id", "=", id).executeTakeFirst();
}

/** The same under a row lock, so that two changes of one stack follow each other. */
export async function lockStack(trx: Db, name: string): Promise<StackRow | undefined> {
  return base(trx).where("s.name", "=", name).forUpdate("s").executeTakeFirst();
}

export interface StackListQuery { readonly teams: readonly string[] | "all"; readonly search?: string; readonly state?: string; readonly sort: { readonly field: "name" | "createdAt" | "updatedAt"; readonly descending: boolean }; readonly cursor?: string; readonly limit: number }
const columns = { name: "s.name", createdAt: "s.created_at", updatedAt: "s.updated_at" } as const;

export async function listStacks(trx: Db, query: StackListQuery): Promise<StackListRow[]> {
  let select = withSummary(base(trx));
  if (query.teams !== "all") select = query.teams.length === 0 ? select.where(sql<boolean>`false`) : select.where("s.team_id", "in", [...query.teams]);
  if (query.search !== undefined) select = select.where("s.name", "ilike", likePattern(query.search));
  if (query.state !== undefined) select = select.where(live, "=", query.state as Stack["state"]);
  const direction = query.sort.descending ? "desc" : "asc";
  const column = columns[query.sort.field];
  if (query.cursor !== undefined) {
    const [value, id] = decodeCursor(query.cursor, 2);
    const typed = query.sort.field === "name" ? sql`${String(value)}` : sql`${String(value)}::timestamptz`;
    select = select.where(query.sort.descending ? sql<boolean>`(${sql.ref(column)}, s.id) < (${typed}, ${String(id)}::uuid)` : sql<boolean>`(${sql.ref(column)}, s.id) > (${typed}, ${String(id)}::uuid)`);
  }
  return select.orderBy(column, direction).orderBy("s.id", direction).limit(query.limit + 1).execute();
}

export async function stackSummary(trx: Db, id: string): Promise<StackListRow | undefined> {
  return withSummary(base(trx).where("s.id", "=", id)).executeTakeFirst();
}

type Base = ReturnType<typeof base>;
function withSummary(query: Base) {
  return query
    .leftJoinLateral((eb) => eb.selectFrom("components as x").whereRef("x.stack_id", "=", "s.id").select([
      sql<number>`count(*)::int`.as("total"),
      sql<boolean>`bool_or(x.state = 'progressing')`.as("progressing"),
      sql<boolean>`bool_or(x.state in ('failed', 'degraded'))`.as("degraded"),
      sql<boolean>`bool_and(x.stopped)`.as("stopped"),
    ]).as("c"), (join) => join.onTrue())
    .leftJoinLateral((eb) => eb.selectFrom("routes as r").innerJoin("components as rc", "rc.id", "r.component_id").whereRef("rc.stack_id", "=", "s.id").select(
      sql<{ host: string; path: string }[]>`coalesce(jsonb_agg(jsonb_build_object('host', r.host, 'path', r.path) order by r.is_default, r.host, r.path), '[]')`.as("hosts"),
    ).as("u"), (join) => join.onTrue())
    .select([live.as("state"), sql<number>`coalesce(c.total, 0)`.as("components"), sql<{ host: string; path: string }[]>`u.hosts`.as("hosts")]);
}

export interface NewStack { readonly name: string; readonly teamId: string; readonly clusterId: string; readonly runEnv: string }

/** Inserts, or revives a deleted stack of the same team whose volumes were kept; undefined when the name is taken. */
export async function insertStack(trx: Db, stack: NewStack): Promise<string | undefined> {
  const row = await trx.insertInto("stacks").values({ name: stack.name, team_id: stack.teamId, cluster_id: stack.clusterId, run_env: stack.runEnv })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ deleted_at: null, delete_requested_at: null, delete_volumes: false, cluster_id: stack.clusterId, run_env: stack.runEnv, revision: sql`stacks.revision + 1`, updated_at: sql`now()` })
      .where("stacks.deleted_at", "is not", null).where("stacks.team_id", "=", stack.teamId))
    .returning("id").executeTakeFirst();
  return row?.id;
}

/** Raises the revision and sets what is given; returns false when the revision was not the expected one. */
export async function updateStack(trx: Db, id: string, change: { runEnv?: string; deleteRequested?: { volumes: boolean } }, expectedRevision?: string): Promise<boolean> {
  const result = await trx.updateTable("stacks").set({
    revision: sql`revision + 1`, updated_at: sql`now()`,
    ...(change.runEnv === undefined ? {} : { run_env: change.runEnv }),
    ...(change.deleteRequested === undefined ? {} : { delete_requested_at: sql`coalesce(delete_requested_at, now())`, delete_volumes: sql`delete_volumes or ${change.deleteRequested.volumes}` }),
  }).where("id", "=", id).$if(expectedRevision !== undefined, (query) => query.where("revision", "=", Number(expectedRevision))).executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Takes the next number of one of the stack's counters, under its row lock. */
export async function nextNumber(trx: Db, stackId: string, counter: "last_version" | "last_build" | "last_task"): Promise<number> {
  const row = await trx.updateTable("stacks").set({ [counter]: sql`${sql.ref(counter)} + 1` }).where("id", "=", stackId).returning(counter).executeTakeFirstOrThrow();
  return row[counter];
}

export async function findCluster(trx: Db, name: string): Promise<{ id: string; name: string; engine: "local" | "docker" | "kubernetes" } | undefined> {
  return trx.selectFrom("clusters").select(["id", "name", "engine"]).where("name", "=", name).executeTakeFirst();
}

export interface VersionRow { readonly number: number; readonly reason: string; readonly created_by: string; readonly created_at: Date; readonly releases: Record<string, number> }
export async function listVersions(trx: Db, stackId: string, before: number | undefined, limit: number): Promise<VersionRow[]> {
  return trx.selectFrom("stack_versions as v").where("v.stack_id", "=", stackId).$if(before !== undefined, (query) => query.where("v.number", "<", before ?? 0))
    .select(["v.number", "v.reason", "v.created_by", "v.created_at", (eb) => eb.selectFrom("stack_version_members as m").innerJoin("components as c", "c.id", "m.component_id")
      .leftJoin("rollouts as o", "o.id", "m.rollout_id").leftJoin("releases as r", (join) => join.on("r.id", "=", sql`coalesce(m.release_id, o.release_id)`))
      .whereRef("m.version_id", "=", "v.id").select(sql<Record<string, number>>`coalesce(jsonb_object_agg(c.name, coalesce(r.number, 0)), '{}')`.as("releases")).as("releases")])
    .orderBy("v.number", "desc").limit(limit + 1).execute() as Promise<VersionRow[]>;
}
