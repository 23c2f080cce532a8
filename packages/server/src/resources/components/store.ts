// SQL of components: what each should be, and what was seen of it last. The ports and routes that they hold are in claims.ts.
import { sql } from "kysely";
import type { Cause } from "@berth/contract/causes.ts";
import { lists } from "@berth/contract/lists.ts";
import type { SeenInstance } from "@berth/contract/resources/components.ts";
import type { RolloutPhase } from "@berth/contract/resources/rollouts.ts";
import type { ComponentKind, ComponentSpec } from "@berth/contract/spec.ts";
import { within } from "../../core/autoscale.ts";
import type { Memory } from "../../core/rollout/plan.ts";
import type { HostRoute } from "../../core/traffic-entry.ts";
import type { Db } from "../../db/pool.ts";
import type { SeenDifference } from "../../db/tables-stacks.ts";
import { defineList, instant, instantOrLast, number, text, uuid, revisionOf, type Keyed, type Slice } from "../page.ts";

export interface ComponentRow {
  readonly id: string;
  readonly stack_id: string;
  /** Of a part in a cluster other than its stack's: the component. */
  readonly part_of: string | null;
  readonly cluster_id: string | null;
  readonly name: string;
  readonly kind: ComponentKind;
  readonly spec: ComponentSpec;
  readonly replicas: number;
  readonly stopped: boolean;
  readonly restart: number;
  readonly revision: number;
  readonly last_release: number;
  readonly last_rollout: number;
  readonly stable_release_id: string | null;
  readonly delete_requested_at: Date | null;
  readonly state: string;
  readonly ready: number;
  readonly cause: Cause | null;
  readonly observed: { instances: SeenInstance[] };
  readonly observed_at: Date | null;
  readonly memory: Partial<Memory>;
  readonly next_run_at: Date | null;
  readonly held: boolean;
  readonly drift: SeenDifference[];
  readonly created_at: Date;
  readonly updated_at: Date;
}
export interface ComponentListRow extends ComponentRow {
  readonly release_number: number | null;
  readonly release_hash: string | null;
  readonly release_created_at: Date | null;
  readonly rollout_number: number | null;
  readonly rollout_phase: RolloutPhase | null;
  readonly rolling: boolean;
  /** When its image was looked at last because somebody said that it was moved, and what kept that from an answer. */
  readonly looked_at: Date | null;
  readonly look_cause: Cause | null;
  /** A release that a rollback without a number goes to. */ readonly older: boolean;
  readonly routes: HostRoute[];
  readonly ports: { name: string; port: number }[];
  /** In clusters other than the stack's own. */
  readonly parts: PartSummary[];
}
/** What is seen of a component in one cluster. */
export interface PartSummary {
  readonly id: string;
  readonly cluster: string;
  readonly replicas: number;
  readonly ready: number;
  readonly state: string;
  readonly deleting: boolean;
  readonly running: boolean;
  readonly cause: Cause | null;
  /** How many differences somebody made by hand. */ readonly drift: number;
  readonly release: number | null;
  readonly rollout: { readonly number: number; readonly phase: RolloutPhase } | null;
  readonly routes: { host: string; path: string; isDefault: boolean }[];
}

export const componentColumns = [
  "c.id",
  "c.stack_id",
  "c.part_of",
  "c.cluster_id",
  "c.name",
  "c.kind",
  "c.spec",
  "c.replicas",
  "c.stopped",
  "c.restart",
  "c.revision",
  "c.last_release",
  "c.last_rollout",
  "c.stable_release_id",
  "c.delete_requested_at",
  "c.state",
  "c.ready",
  "c.cause",
  "c.observed",
  "c.observed_at",
  "c.memory",
  "c.next_run_at",
  "c.held",
  "c.drift",
  "c.created_at",
  "c.updated_at",
] as const;

export async function findComponent(
  trx: Db,
  stackId: string,
  name: string,
  options: { lock?: boolean } = {},
): Promise<ComponentRow | undefined> {
  return trx
    .selectFrom("components as c")
    .select(componentColumns)
    .where("c.stack_id", "=", stackId)
    .where("c.name", "=", name)
    .where("c.part_of", "is", null)
    .$if(options.lock === true, (query) => query.forUpdate("c"))
    .executeTakeFirst();
}

/** What tells whether there is one, without what it is. */
export async function findPlace(
  trx: Db,
  stackId: string,
  name: string,
): Promise<(Pick<ComponentRow, "id" | "delete_requested_at"> & { readonly placed: boolean }) | undefined> {
  return trx
    .selectFrom("components")
    .select(["id", "delete_requested_at", sql<boolean>`spec ? 'placement'`.as("placed")])
    .where("stack_id", "=", stackId)
    .where("name", "=", name)
    .where("part_of", "is", null)
    .executeTakeFirst();
}

export async function findComponentById(trx: Db, id: string, options: { lock?: boolean } = {}): Promise<ComponentRow | undefined> {
  return trx
    .selectFrom("components as c")
    .select(componentColumns)
    .where("c.id", "=", id)
    .$if(options.lock === true, (query) => query.forUpdate("c"))
    .executeTakeFirst();
}

export async function allComponents(trx: Db, stackId: string): Promise<ComponentRow[]> {
  return trx
    .selectFrom("components as c")
    .select(componentColumns)
    .where("c.stack_id", "=", stackId)
    .where("c.part_of", "is", null)
    .orderBy("c.name")
    .execute();
}

/** Names of the components that siblings reach at a port. */
export async function reachableComponents(trx: Db, stackId: string): Promise<string[]> {
  const rows = await trx
    .selectFrom("internal_ports as p")
    .innerJoin("components as c", "c.id", "p.component_id")
    .select("c.name")
    .distinct()
    .where("c.stack_id", "=", stackId)
    .orderBy("c.name")
    .execute();
  return rows.map((row) => row.name);
}

export const componentList = defineList(lists.components, {
  sort: {
    name: text("c.name"),
    kind: text("c.kind"),
    state: text("c.state"),
    createdAt: instant("c.created_at"),
    updatedAt: instant("c.updated_at"),
  },
  unique: [uuid("c.id")],
  search: { name: sql.ref("c.name") },
});
export interface ComponentListQuery {
  readonly stackId: string;
  readonly name?: string;
  readonly kind?: ComponentKind | undefined;
  readonly state?: string | undefined;
  readonly page: Slice;
}

/** The newest rollout of a component's own row: the numbers of its parts' are from the same counter. */
const ownNewest = sql<number>`(select max(n.number) from rollouts n where n.component_id = c.id)`;

const partsOfRow = sql<PartSummary[]>`coalesce((
  select jsonb_agg(jsonb_build_object(
    'id', p.id, 'cluster', k.name, 'replicas', p.replicas, 'ready', p.ready, 'state', p.state, 'deleting', p.delete_requested_at is not null, 'cause', p.cause, 'drift', jsonb_array_length(p.drift),
    'running', exists (select 1 from jsonb_array_elements(p.observed -> 'instances') e where e ->> 'phase' = 'running'),
    'release', (select r.number from releases r where r.id = p.stable_release_id),
    'rollout', (select jsonb_build_object('number', x.number, 'phase', x.phase) from rollouts x where x.component_id = p.id order by x.number desc limit 1),
    'routes', (select coalesce(jsonb_agg(jsonb_build_object('host', u.host, 'path', u.path, 'isDefault', u.is_default) order by u.is_default, u.host, u.path), '[]') from routes u where u.component_id = p.id)
  ) order by k.name)
  from components p join clusters k on k.id = p.cluster_id where p.part_of = c.id), '[]')`;

export async function listComponents(trx: Db, query: ComponentListQuery): Promise<(ComponentListRow & Keyed)[]> {
  let select = trx
    .selectFrom("components as c")
    .where("c.stack_id", "=", query.stackId)
    .where("c.part_of", "is", null)
    .leftJoin("releases as r", "r.id", "c.stable_release_id")
    .leftJoin("rollouts as o", (join) => join.onRef("o.component_id", "=", "c.id").on("o.number", "=", ownNewest))
    .leftJoin("image_looks as l", "l.component_id", "c.id")
    .select(componentColumns)
    .select([
      "l.looked_at",
      "l.cause as look_cause",
      "r.number as release_number",
      "r.hash as release_hash",
      "r.created_at as release_created_at",
      "o.number as rollout_number",
      "o.phase as rollout_phase",
      sql<boolean>`(o.id is not null and o.ended_at is null) or exists (select 1 from rollouts x join components y on y.id = x.component_id where y.part_of = c.id and x.ended_at is null)`.as(
        "rolling",
      ),
      sql<boolean>`exists (select 1 from releases e where e.component_id = c.id and (r.number is null or e.number < r.number))`.as("older"),
    ])
    .select((eb) => [
      eb
        .selectFrom("routes as u")
        .whereRef("u.component_id", "=", "c.id")
        .select(
          sql<
            HostRoute[]
          >`coalesce(jsonb_agg(jsonb_build_object('host', u.host, 'path', u.path, 'portName', u.port_name, 'isDefault', u.is_default) order by u.is_default, u.host, u.path), '[]')`.as(
            "routes",
          ),
        )
        .as("routes"),
      eb
        .selectFrom("internal_ports as p")
        .whereRef("p.component_id", "=", "c.id")
        .select(
          sql<
            { name: string; port: number }[]
          >`coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'port', p.port) order by p.port), '[]')`.as("ports"),
        )
        .as("ports"),
      partsOfRow.as("parts"),
    ]);
  if (query.name !== undefined) select = select.where("c.name", "=", query.name);
  if (query.kind !== undefined) select = select.where("c.kind", "=", query.kind);
  if (query.state !== undefined) select = select.where("c.state", "=", query.state);
  return select
    .where(query.page.where)
    .select(query.page.keys.as("cursor_keys"))
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute() as Promise<(ComponentListRow & Keyed)[]>;
}

export const instanceList = defineList(lists.instances, {
  sort: {
    id: text("i.id"),
    phase: text("i.phase"),
    release: number("i.release"),
    restarts: number("i.restarts"),
    startedAt: instantOrLast("i.started_at"),
  },
  unique: [text("i.id")],
  search: { id: sql.ref("i.id") },
});
export interface InstanceListQuery {
  readonly componentId: string;
  readonly phase?: string | undefined;
  readonly ready?: boolean | undefined;
  readonly track?: string | undefined;
  readonly page: Slice;
}
/** What was seen of a component last, out of its rows. `cluster`: where a part of it runs; null in the stack's own cluster. */
export async function listInstances(
  trx: Db,
  query: InstanceListQuery,
): Promise<({ readonly seen: SeenInstance; readonly cluster: string | null } & Keyed)[]> {
  const filters = [
    ...(query.phase === undefined ? [] : [sql`i.phase = ${query.phase}`]),
    ...(query.ready === undefined ? [] : [sql`i.ready = ${query.ready}`]),
    ...(query.track === undefined ? [] : [sql`i.track = ${query.track}`]),
  ];
  const { rows } = await sql<{ seen: SeenInstance; cluster: string | null; cursor_keys: unknown[] }>`
    select i.seen, i.cluster, ${query.page.keys} as cursor_keys from (
      select e.seen, k.name as cluster, e.seen ->> 'id' as id, e.seen ->> 'phase' as phase, e.seen ->> 'track' as track, (e.seen ->> 'ready')::boolean as ready, (e.seen ->> 'release')::bigint as release, (e.seen ->> 'restarts')::bigint as restarts,
        date_trunc('milliseconds', (e.seen ->> 'startedAt')::timestamptz) as started_at
      from components c left join clusters k on k.id = c.cluster_id, jsonb_array_elements(c.observed -> 'instances') as e (seen)
      where c.id = ${query.componentId} or c.part_of = ${query.componentId}
    ) i where ${sql.join([query.page.where, ...filters], sql` and `)} order by ${query.page.order} limit ${query.page.limit + 1}`.execute(
    trx,
  );
  return rows;
}

export async function insertComponent(
  trx: Db,
  component: { stackId: string; name: string; spec: ComponentSpec; replicas?: number | undefined },
): Promise<ComponentRow> {
  const { id } = await trx
    .insertInto("components")
    .values({
      stack_id: component.stackId,
      name: component.name,
      kind: component.spec.kind,
      spec: JSON.stringify(component.spec),
      replicas: within(component.replicas ?? component.spec.replicas, component.spec.autoscale),
      stable_release_id: null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  const row = await findComponentById(trx, id);
  if (row === undefined) throw new Error(`component ${id} vanished in its own transaction`);
  return row;
}

export interface ComponentChange {
  readonly spec?: ComponentSpec;
  readonly replicas?: number;
  readonly stopped?: boolean;
  readonly restart?: number;
  readonly stableReleaseId?: string | null;
  readonly deleteRequested?: true;
  readonly nextRunAt?: Date | null;
  readonly held?: boolean;
}
/** Sets what is given and raises the revision; false when the revision was not the expected one. */
export async function updateComponent(trx: Db, id: string, change: ComponentChange, expectedRevision?: string): Promise<boolean> {
  const result = await trx
    .updateTable("components")
    .set({
      revision: sql`revision + 1`,
      updated_at: sql`now()`,
      ...(change.spec === undefined ? {} : { spec: JSON.stringify(change.spec), kind: change.spec.kind }),
      ...(change.replicas === undefined ? {} : { replicas: change.replicas }),
      ...(change.stopped === undefined ? {} : { stopped: change.stopped }),
      ...(change.held === undefined ? {} : { held: change.held }),
      ...(change.restart === undefined ? {} : { restart: change.restart }),
      ...(change.stableReleaseId === undefined ? {} : { stable_release_id: change.stableReleaseId }),
      ...(change.nextRunAt === undefined ? {} : { next_run_at: change.nextRunAt }),
      ...(change.deleteRequested === undefined ? {} : { delete_requested_at: sql`coalesce(delete_requested_at, now())` }),
    })
    .where("id", "=", id)
    .$if(expectedRevision !== undefined, (query) => query.where("revision", "=", revisionOf(expectedRevision ?? "")))
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

export interface Observation {
  readonly state: string;
  readonly ready: number;
  readonly cause: Cause | null;
  readonly observed: { instances: SeenInstance[] };
  readonly memory: Memory;
  readonly at: Date;
}
/** What the loop saw; no change of intent, so the revision stays. */
export async function saveObservation(trx: Db, id: string, seen: Observation): Promise<void> {
  await trx
    .updateTable("components")
    .set({
      state: seen.state,
      ready: seen.ready,
      cause: seen.cause === null ? null : JSON.stringify(seen.cause),
      observed: JSON.stringify(seen.observed),
      observed_at: seen.at,
      memory: JSON.stringify(seen.memory),
    })
    .where("id", "=", id)
    .execute();
}

/** What was seen of it that somebody changed by hand. */
export async function saveDrift(trx: Db, id: string, drift: readonly SeenDifference[]): Promise<void> {
  await trx
    .updateTable("components")
    .set({ drift: JSON.stringify(drift) })
    .where("id", "=", id)
    .execute();
}

/** What the planner has to remember, where nothing new was seen. */
export async function saveMemory(trx: Db, id: string, memory: Memory): Promise<void> {
  await trx
    .updateTable("components")
    .set({ memory: JSON.stringify(memory) })
    .where("id", "=", id)
    .execute();
}

/** Takes the next release or rollout number, under the component's row lock. */
export async function nextNumber(trx: Db, id: string, counter: "last_release" | "last_rollout"): Promise<number> {
  const row = await trx
    .updateTable("components")
    .set({ [counter]: sql`${sql.ref(counter)} + 1` })
    .where("id", "=", id)
    .returning(counter)
    .executeTakeFirstOrThrow();
  return row[counter];
}

export async function deleteComponent(trx: Db, id: string): Promise<void> {
  await trx.updateTable("components").set({ stable_release_id: null }).where("id", "=", id).execute();
  await trx.deleteFrom("components").where("id", "=", id).execute();
}
