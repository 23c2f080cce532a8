// SQL of components: what each should be, its ports and routes, and what was seen of it last.
import { sql } from "kysely";
import type { Cause } from "@berth/contract/causes.ts";
import type { InstanceView } from "@berth/contract/resources/components.ts";
import type { ComponentKind, ComponentSpec, Port } from "@berth/contract/spec.ts";
import { contentHash } from "../../core/canonical.ts";
import type { Memory } from "../../core/rollout/plan.ts";
import type { Db } from "../../db/pool.ts";
import { decodeCursor, likePattern } from "../page.ts";

export interface RouteRow { readonly host: string; readonly path: string; readonly portName: string; readonly isDefault: boolean }
export interface ComponentRow {
  readonly id: string; readonly stack_id: string; readonly name: string; readonly kind: ComponentKind; readonly spec: ComponentSpec; readonly replicas: number; readonly stopped: boolean; readonly restart: number;
  readonly revision: number; readonly last_release: number; readonly last_rollout: number; readonly stable_release_id: string | null; readonly delete_requested_at: Date | null;
  readonly state: string; readonly ready: number; readonly cause: Cause | null; readonly observed: { instances: InstanceView[] }; readonly observed_at: Date | null; readonly memory: Partial<Memory>;
  readonly next_run_at: Date | null; readonly created_at: Date; readonly updated_at: Date;
}
export interface ComponentListRow extends ComponentRow {
  readonly release_number: number | null; readonly release_hash: string | null; readonly release_created_at: Date | null;
  readonly rollout_number: number | null; readonly rollout_phase: string | null;
  readonly routes: RouteRow[]; readonly ports: { name: string; port: number }[];
}

const columns = ["c.id", "c.stack_id", "c.name", "c.kind", "c.spec", "c.replicas", "c.stopped", "c.restart", "c.revision", "c.last_release", "c.last_rollout", "c.stable_release_id", "c.delete_requested_at", "c.state", "c.ready", "c.cause", "c.observed", "c.observed_at", "c.memory", "c.next_run_at", "c.created_at", "c.updated_at"] as const;

export async function findComponent(trx: Db, stackId: string, name: string, options: { lock?: boolean } = {}): Promise<ComponentRow | undefined> {
  return trx.selectFrom("components as c").select(columns).where("c.stack_id", "=", stackId).where("c.name", "=", name).$if(options.lock === true, (query) => query.forUpdate("c")).executeTakeFirst();
}

export async function findComponentById(trx: Db, id: string, options: { lock?: boolean } = {}): Promise<ComponentRow | undefined> {
  return trx.selectFrom("components as c").select(columns).where("c.id", "=", id).$if(options.lock === true, (query) => query.forUpdate("c")).executeTakeFirst();
}

export async function allComponents(trx: Db, stackId: string): Promise<ComponentRow[]> {
  return trx.selectFrom("components as c").select(columns).where("c.stack_id", "=", stackId).orderBy("c.name").execute();
}

export interface ComponentListQuery { readonly stackId: string; readonly name?: string; readonly search?: string; readonly kind?: ComponentKind; readonly state?: string; readonly sort: { readonly field: "name" | "createdAt" | "updatedAt"; readonly descending: boolean }; readonly cursor?: string; readonly limit: number }
const sortColumns = { name: "c.name", createdAt: "c.created_at", updatedAt: "c.updated_at" } as const;

export async function listComponents(trx: Db, query: ComponentListQuery): Promise<ComponentListRow[]> {
  let select = trx.selectFrom("components as c").where("c.stack_id", "=", query.stackId)
    .leftJoin("releases as r", "r.id", "c.stable_release_id")
    .leftJoin("rollouts as o", (join) => join.onRef("o.component_id", "=", "c.id").onRef("o.number", "=", "c.last_rollout"))
    .select(columns)
    .select(["r.number as release_number", "r.hash as release_hash", "r.created_at as release_created_at", "o.number as rollout_number", "o.phase as rollout_phase"])
    .select((eb) => [
      eb.selectFrom("routes as u").whereRef("u.component_id", "=", "c.id").select(sql<RouteRow[]>`coalesce(jsonb_agg(jsonb_build_object('host', u.host, 'path', u.path, 'portName', u.port_name, 'isDefault', u.is_default) order by u.is_default, u.host, u.path), '[]')`.as("routes")).as("routes"),
      eb.selectFrom("internal_ports as p").whereRef("p.component_id", "=", "c.id").select(sql<{ name: string; port: number }[]>`coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'port', p.port) order by p.port), '[]')`.as("ports")).as("ports"),
    ]);
  if (query.name !== undefined) select = select.where("c.name", "=", query.name);
  if (query.search !== undefined) select = select.where("c.name", "ilike", likePattern(query.search));
  if (query.kind !== undefined) select = select.where("c.kind", "=", query.kind);
  if (query.state !== undefined) select = select.where("c.state", "=", query.state);
  const column = sortColumns[query.sort.field];
  const direction = query.sort.descending ? "desc" : "asc";
  if (query.cursor !== undefined) {
    const [value, id] = decodeCursor(query.cursor, 2);
    const typed = query.sort.field === "name" ? sql`${String(value)}` : sql`${String(value)}::timestamptz`;
    select = select.where(query.sort.descending ? sql<boolean>`(${sql.ref(column)}, c.id) < (${typed}, ${String(id)}::uuid)` : sql<boolean>`(${sql.ref(column)}, c.id) > (${typed}, ${String(id)}::uuid)`);
  }
  return select.orderBy(column, direction).orderBy("c.id", direction).limit(query.limit + 1).execute() as Promise<ComponentListRow[]>;
}

export async function insertComponent(trx: Db, component: { stackId: string; name: string; spec: ComponentSpec }): Promise<ComponentRow> {
  const { id } = await trx.insertInto("components").values({ stack_id: component.stackId, name: component.name, kind: component.spec.kind, spec: JSON.stringify(component.spec), replicas: component.spec.replicas, stable_release_id: null }).returning("id").executeTakeFirstOrThrow();
  const row = await findComponentById(trx, id);
  if (row === undefined) throw new Error(`component ${id} vanished in its own transaction`);
  return row;
}

export interface ComponentChange {
  readonly spec?: ComponentSpec; readonly replicas?: number; readonly stopped?: boolean; readonly restart?: number; readonly stableReleaseId?: string | null; readonly deleteRequested?: true; readonly nextRunAt?: Date | null;
}
/** Sets what is given and raises the revision; false when the revision was not the expected one. */
export async function updateComponent(trx: Db, id: string, change: ComponentChange, expectedRevision?: string): Promise<boolean> {
  const result = await trx.updateTable("components").set({
    revision: sql`revision + 1`, updated_at: sql`now()`,
    ...(change.spec === undefined ? {} : { spec: JSON.stringify(change.spec), kind: change.spec.kind }),
    ...(change.replicas === undefined ? {} : { replicas: change.replicas }),
    ...(change.stopped === undefined ? {} : { stopped: change.stopped }),
    ...(change.restart === undefined ? {} : { restart: change.restart }),
    ...(change.stableReleaseId === undefined ? {} : { stable_release_id: change.stableReleaseId }),
    ...(change.nextRunAt === undefined ? {} : { next_run_at: change.nextRunAt }),
    ...(change.deleteRequested === undefined ? {} : { delete_requested_at: sql`coalesce(delete_requested_at, now())` }),
  }).where("id", "=", id).$if(expectedRevision !== undefined, (query) => query.where("revision", "=", Number(expectedRevision))).executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

export interface Observation { readonly state: string; readonly ready: number; readonly cause: Cause | null; readonly observed: { instances: InstanceView[] }; readonly memory: Memory; readonly at: Date }
/** What the loop saw; no change of intent, so the revision stays. */
export async function saveObservation(trx: Db, id: string, seen: Observation): Promise<void> {
  await trx.updateTable("components").set({ state: seen.state, ready: seen.ready, cause: seen.cause === null ? null : JSON.stringify(seen.cause), observed: JSON.stringify(seen.observed), observed_at: seen.at, memory: JSON.stringify(seen.memory) }).where("id", "=", id).execute();
}

/** Takes the next release or rollout number, under the component's row lock. */
export async function nextNumber(trx: Db, id: string, counter: "last_release" | "last_rollout"): Promise<number> {
  const row = await trx.updateTable("components").set({ [counter]: sql`${sql.ref(counter)} + 1` }).where("id", "=", id).returning(counter).executeTakeFirstOrThrow();
  return row[counter];
}

/** First and last of the stable loopback ports that the local edge may give to components. */
const internalRange = { first: 11_000, last: 19_999 } as const;

/** Where a cluster begins in the range: two installations of one machine, each with a database of its own, must not choose the same ports. */
function startOf(clusterId: string): number {
  return Number.parseInt(contentHash(clusterId).slice(-6), 16) % (internalRange.last - internalRange.first + 1);
}

/** Gives every port of the spec a stable internal port, keeps the ones it has and frees those it no longer names. */
export async function syncInternalPorts(trx: Db, componentId: string, clusterId: string, ports: readonly Port[]): Promise<void> {
  // One at a time for each cluster: two transactions would otherwise choose the same free port, and one of them fail.
  await sql`select pg_advisory_xact_lock(hashtextextended(${`internal ports ${clusterId}`}, 0))`.execute(trx);
  const names = ports.map((port) => port.name);
  await trx.deleteFrom("internal_ports").where("component_id", "=", componentId).$if(names.length > 0, (query) => query.where("name", "not in", names)).execute();
  for (const name of names) {
    await sql`insert into internal_ports (component_id, cluster_id, name, port)
      select ${componentId}::uuid, ${clusterId}::uuid, ${name}, candidate from generate_series(${sql.lit(internalRange.first)}::int, ${sql.lit(internalRange.last)}::int) candidate
      where not exists (select 1 from internal_ports taken where taken.cluster_id = ${clusterId}::uuid and taken.port = candidate)
        and not exists (select 1 from internal_ports mine where mine.component_id = ${componentId}::uuid and mine.name = ${name})
      order by (candidate - ${sql.lit(internalRange.first)} + ${startOf(clusterId)}::int) % ${sql.lit(internalRange.last - internalRange.first + 1)}::int limit 1`.execute(trx);
  }
}

export async function internalPorts(trx: Db, componentIds: readonly string[]): Promise<{ component_id: string; name: string; port: number }[]> {
  if (componentIds.length === 0) return [];
  return trx.selectFrom("internal_ports").select(["component_id", "name", "port"]).where("component_id", "in", [...componentIds]).execute();
}

export async function componentRoutes(trx: Db, componentId: string): Promise<RouteRow[]> {
  return trx.selectFrom("routes").select(["host", "path", "port_name as portName", "is_default as isDefault"]).where("component_id", "=", componentId).orderBy("is_default").orderBy("host").orderBy("path").execute();
}

/** Replaces the component's routes; answers the first that belongs to another component, if any. */
export async function syncRoutes(trx: Db, componentId: string, clusterId: string, wanted: readonly RouteRow[]): Promise<{ host: string; path: string; stack: string; component: string } | undefined> {
  await trx.deleteFrom("routes").where("component_id", "=", componentId).execute();
  for (const route of wanted) {
    const inserted = await trx.insertInto("routes").values({ component_id: componentId, cluster_id: clusterId, port_name: route.portName, host: route.host, path: route.path, is_default: route.isDefault }).onConflict((conflict) => conflict.columns(["cluster_id", "host", "path"]).doNothing()).executeTakeFirst();
    if (inserted.numInsertedOrUpdatedRows === 0n) {
      const owner = await trx.selectFrom("routes as r").innerJoin("components as c", "c.id", "r.component_id").innerJoin("stacks as s", "s.id", "c.stack_id").select(["s.name as stack", "c.name as component"]).where("r.cluster_id", "=", clusterId).where("r.host", "=", route.host).where("r.path", "=", route.path).executeTakeFirstOrThrow();
      return { host: route.host, path: route.path, ...owner };
    }
  }
  return undefined;
}

/** Replaces the component's public TCP ports; answers the first that belongs to another component, if any. */
export async function syncPublishedPorts(trx: Db, componentId: string, clusterId: string, ports: readonly Port[]): Promise<{ port: number; stack: string; component: string } | undefined> {
  await trx.deleteFrom("published_ports").where("component_id", "=", componentId).execute();
  for (const port of ports) {
    if (port.published === undefined || port.protocol !== "tcp") continue;
    const inserted = await trx.insertInto("published_ports").values({ component_id: componentId, cluster_id: clusterId, port_name: port.name, port: port.published }).onConflict((conflict) => conflict.columns(["cluster_id", "port"]).doNothing()).executeTakeFirst();
    if (inserted.numInsertedOrUpdatedRows === 0n) {
      const owner = await trx.selectFrom("published_ports as p").innerJoin("components as c", "c.id", "p.component_id").innerJoin("stacks as s", "s.id", "c.stack_id").select(["s.name as stack", "c.name as component"]).where("p.cluster_id", "=", clusterId).where("p.port", "=", port.published).executeTakeFirstOrThrow();
      return { port: port.published, ...owner };
    }
  }
  return undefined;
}

export async function deleteComponent(trx: Db, id: string): Promise<void> {
  await trx.updateTable("components").set({ stable_release_id: null }).where("id", "=", id).execute();
  await trx.deleteFrom("components").where("id", "=", id).execute();
}
