// SQL of stacks. Lists are paged by keyset and compute a stack's state from its components in the same query.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { Quota, Stack } from "@berth/contract/resources/stacks.ts";
import type { Counted } from "../../core/quota.ts";
import type { StackDrift } from "@berth/contract/resources/drift.ts";
import { stackIsWithin, type StackScope } from "../../db/permissions.ts";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, number, text, uuid, revisionOf, type Keyed, type Slice } from "../page.ts";

export interface StackRow {
  readonly id: string;
  readonly name: string;
  readonly team_id: string;
  readonly team: string;
  readonly cluster_id: string;
  readonly cluster: string;
  readonly domain: string;
  readonly run_env: string;
  readonly drift: StackDrift;
  /** Of an imported stack. */
  readonly namespace: string | null;
  readonly revision: number;
  readonly last_version: number;
  readonly delete_requested_at: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
}
export interface StackListRow extends StackRow {
  readonly state: Stack["state"];
  readonly components: number;
  readonly hosts: { host: string; path: string }[];
}

const live = sql<Stack["state"]>`case
  when s.delete_requested_at is not null then 'deleting'
  when coalesce(c.total, 0) = 0 then 'empty'
  when c.progressing then 'progressing'
  when c.degraded then 'degraded'
  when c.stopped then 'stopped'
  else 'healthy' end`;

function base(trx: Db) {
  return trx
    .selectFrom("stacks as s")
    .innerJoin("teams as t", "t.id", "s.team_id")
    .innerJoin("clusters as k", "k.id", "s.cluster_id")
    .where("s.deleted_at", "is", null)
    .select([
      "s.id",
      "s.name",
      "s.team_id",
      "t.name as team",
      "s.cluster_id",
      "k.name as cluster",
      "k.domain",
      "s.run_env",
      "s.drift",
      "s.namespace",
      "s.revision",
      "s.last_version",
      "s.delete_requested_at",
      "s.created_at",
      "s.updated_at",
    ]);
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

export const stackList = defineList(lists.stacks, {
  sort: { name: text("s.name"), team: text("t.name"), createdAt: instant("s.created_at"), updatedAt: instant("s.updated_at") },
  unique: [uuid("s.id")],
  search: { name: sql.ref("s.name"), team: sql.ref("t.name") },
});
export interface StackListQuery {
  readonly within: StackScope;
  readonly state?: string | undefined;
  readonly team?: string | undefined;
  readonly cluster?: string | undefined;
  readonly page: Slice;
}

/** Of its own, or with a part of a component there. */
const isIn = (cluster: string) =>
  sql<boolean>`(k.name = ${cluster} or exists (select 1 from components p join clusters q on q.id = p.cluster_id where p.stack_id = s.id and q.name = ${cluster}))`;

export async function listStacks(trx: Db, query: StackListQuery): Promise<(StackListRow & Keyed)[]> {
  let select = withSummary(base(trx));
  select = select.where(stackIsWithin(query.within));
  if (query.state !== undefined) select = select.where(live, "=", query.state as Stack["state"]);
  if (query.team !== undefined) select = select.where("t.name", "=", query.team);
  if (query.cluster !== undefined) select = select.where(isIn(query.cluster));
  const rows = await select
    .where(query.page.where)
    .select(query.page.keys.as("cursor_keys"))
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
  return withHosts(trx, rows);
}

export async function stackSummary(trx: Db, id: string): Promise<StackListRow | undefined> {
  return (await withHosts(trx, await withSummary(base(trx).where("s.id", "=", id)).execute()))[0];
}

type Base = ReturnType<typeof base>;
function withSummary(query: Base) {
  return query
    .leftJoinLateral(
      (eb) =>
        eb
          .selectFrom("components as x")
          .whereRef("x.stack_id", "=", "s.id")
          .select([
            sql<number>`(count(*) filter (where x.part_of is null))::int`.as("total"),
            sql<boolean>`bool_or(x.state = 'progressing')`.as("progressing"),
            sql<boolean>`bool_or(x.state in ('failed', 'degraded'))`.as("degraded"),
            sql<boolean>`bool_and(x.stopped)`.as("stopped"),
          ])
          .as("c"),
      (join) => join.onTrue(),
    )
    .select([live.as("state"), sql<number>`coalesce(c.total, 0)`.as("components")]);
}

/** With the hosts of these stacks alone: joined to the list itself, those of all others would be gathered too, only to be cut off. */
async function withHosts<Row extends { readonly id: string }>(
  trx: Db,
  rows: readonly Row[],
): Promise<(Row & Pick<StackListRow, "hosts">)[]> {
  if (rows.length === 0) return [];
  const found = await trx
    .selectFrom("components as c")
    .innerJoin("routes as r", "r.component_id", "c.id")
    .where("c.stack_id", "=", sql<string>`any(${rows.map((row) => row.id)}::uuid[])`)
    // Those of parts lead to other clusters: they are shown with their component.
    .where("c.part_of", "is", null)
    // One row for each stack: hundreds of small ones take longer to read than to find. Of texts and not of JSON, which takes twice as long to make.
    .select(["c.stack_id", sql<string[]>`array_agg(r.host || r.path order by r.is_default, r.host, r.path)`.as("hosts")])
    .groupBy("c.stack_id")
    .execute();
  const hosts = new Map(found.map((one) => [one.stack_id, one.hosts.map(hostAndPath)]));
  return rows.map((row) => ({ ...row, hosts: hosts.get(row.id) ?? [] }));
}

/** No host has a slash, and every path begins with one. */
function hostAndPath(text: string): StackListRow["hosts"][number] {
  const slash = text.indexOf("/");
  return { host: text.slice(0, slash), path: text.slice(slash) };
}

export interface NewStack {
  readonly name: string;
  readonly teamId: string;
  readonly clusterId: string;
  readonly runEnv: string;
}

/** Inserts, or revives a deleted stack of the same team whose volumes were kept; undefined when the name is taken. */
export async function insertStack(trx: Db, stack: NewStack): Promise<string | undefined> {
  const row = await trx
    .insertInto("stacks")
    .values({ name: stack.name, team_id: stack.teamId, cluster_id: stack.clusterId, run_env: stack.runEnv })
    .onConflict((conflict) =>
      conflict
        .column("name")
        .doUpdateSet({
          deleted_at: null,
          delete_requested_at: null,
          delete_volumes: false,
          cluster_id: stack.clusterId,
          run_env: stack.runEnv,
          drift: "repair",
          revision: sql`stacks.revision + 1`,
          updated_at: sql`now()`,
        })
        .where("stacks.deleted_at", "is not", null)
        .where("stacks.team_id", "=", stack.teamId),
    )
    .returning("id")
    .executeTakeFirst();
  return row?.id;
}

/** Raises the revision and sets what is given; returns false when the revision was not the expected one. */
export async function updateStack(
  trx: Db,
  id: string,
  change: { runEnv?: string; drift?: StackDrift; deleteRequested?: { volumes: boolean } },
  expectedRevision?: string,
): Promise<boolean> {
  const result = await trx
    .updateTable("stacks")
    .set({
      revision: sql`revision + 1`,
      updated_at: sql`now()`,
      ...(change.runEnv === undefined ? {} : { run_env: change.runEnv }),
      ...(change.drift === undefined ? {} : { drift: change.drift }),
      ...(change.deleteRequested === undefined
        ? {}
        : {
            delete_requested_at: sql`coalesce(delete_requested_at, now())`,
            delete_volumes: sql`delete_volumes or ${change.deleteRequested.volumes}`,
          }),
    })
    .where("id", "=", id)
    .$if(expectedRevision !== undefined, (query) => query.where("revision", "=", revisionOf(expectedRevision ?? "")))
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Takes the next number of one of the stack's counters, under its row lock. */
export async function nextNumber(trx: Db, stackId: string, counter: "last_version" | "last_build" | "last_task"): Promise<number> {
  const row = await trx
    .updateTable("stacks")
    .set({ [counter]: sql`${sql.ref(counter)} + 1` })
    .where("id", "=", stackId)
    .returning(counter)
    .executeTakeFirstOrThrow();
  return row[counter];
}

export interface ClusterFacts {
  readonly id: string;
  readonly name: string;
  /** What people call it now. */
  readonly called: string;
  readonly engine: "local" | "docker" | "kubernetes";
  readonly domain: string;
  readonly draining_since: Date | null;
}

export async function findCluster(trx: Db, name: string): Promise<ClusterFacts | undefined> {
  return clusterNamed(trx, name).executeTakeFirst();
}

/** Locked: who may have a stack on a cluster depends on the stacks that it has. */
export async function lockCluster(trx: Db, name: string): Promise<ClusterFacts | undefined> {
  return clusterNamed(trx, name).forUpdate().executeTakeFirst();
}

const clusterNamed = (trx: Db, name: string) =>
  trx
    .selectFrom("clusters")
    .select(["id", "name", sql<string>`coalesce(called, name)`.as("called"), "engine", "domain", "draining_since"])
    .where("name", "=", name)
    .where("removed_at", "is", null);

/** A team that has something on the cluster beside this one: a stack, or volumes that it kept of one. */
export async function otherTeam(trx: Db, clusterId: string, teamId: string): Promise<string | undefined> {
  const row = await trx
    .selectFrom("stacks as s")
    .innerJoin("teams as t", "t.id", "s.team_id")
    .select("t.name")
    .where((eb) =>
      eb.or([
        eb("s.cluster_id", "=", clusterId),
        eb.exists(
          eb.selectFrom("components as c").select("c.id").whereRef("c.stack_id", "=", "s.id").where("c.cluster_id", "=", clusterId),
        ),
      ]),
    )
    .where("s.team_id", "<>", teamId)
    .where((eb) =>
      eb.or([eb("s.deleted_at", "is", null), eb.exists(eb.selectFrom("volumes as v").select("v.id").whereRef("v.stack_id", "=", "s.id"))]),
    )
    .limit(1)
    .executeTakeFirst();
  return row?.name;
}

export const versionList = defineList(lists.versions, {
  sort: { number: number("v.number"), createdAt: instant("v.created_at") },
  unique: [number("v.number")],
  search: { reason: sql.ref("v.reason"), createdBy: sql.ref("v.created_by") },
});
export interface VersionRow {
  readonly number: number;
  readonly reason: string;
  readonly created_by: string;
  readonly created_at: Date;
  readonly releases: Record<string, number>;
}
export async function listVersions(trx: Db, stackId: string, page: Slice): Promise<(VersionRow & Keyed)[]> {
  return trx
    .selectFrom("stack_versions as v")
    .where("v.stack_id", "=", stackId)
    .where(page.where)
    .select([
      "v.number",
      "v.reason",
      "v.created_by",
      "v.created_at",
      page.keys.as("cursor_keys"),
      (eb) =>
        eb
          .selectFrom("stack_version_members as m")
          .innerJoin("components as c", "c.id", "m.component_id")
          .leftJoin("rollouts as o", "o.id", "m.rollout_id")
          .leftJoin("releases as r", (join) => join.on("r.id", "=", sql`coalesce(m.release_id, o.release_id)`))
          .whereRef("m.version_id", "=", "v.id")
          .select(sql<Record<string, number>>`coalesce(jsonb_object_agg(c.name, coalesce(r.number, 0)), '{}')`.as("releases"))
          .as("releases"),
    ])
    .orderBy(page.order)
    .limit(page.limit + 1)
    .execute() as Promise<(VersionRow & Keyed)[]>;
}

export async function quotaOf(trx: Db, id: string): Promise<Quota | undefined> {
  return (await trx.selectFrom("stacks").select("quota").where("id", "=", id).executeTakeFirst())?.quota ?? undefined;
}

export async function setQuota(trx: Db, id: string, quota: Quota): Promise<void> {
  await trx
    .updateTable("stacks")
    .set({ quota: Object.keys(quota).length === 0 ? null : JSON.stringify(quota), updated_at: sql`now()` })
    .where("id", "=", id)
    .execute();
}

/** Until the transaction ends: whoever adds to what a stack asks for does so one after another. */
export async function lockQuota(trx: Db, id: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`quota ${id}`}, 0))`.execute(trx);
}

/** Those of a stack that are not on their way out. */
export async function countedComponents(trx: Db, id: string): Promise<Counted[]> {
  return trx
    .selectFrom("components")
    .select(["name", "spec", "replicas", "stopped"])
    .where("stack_id", "=", id)
    .where("delete_requested_at", "is", null)
    .orderBy("name")
    .execute();
}
