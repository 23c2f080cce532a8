// SQL of rollouts: the durable steps of putting a release live, and the stack versions that they belong to.
import { sql, type RawBuilder } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { Cause } from "@berth/contract/causes.ts";
import type { Rollout, RolloutPhase } from "@berth/contract/resources/rollouts.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";
import type { RolloutProgress } from "../../db/tables-stacks.ts";
import { defineList, instant, instantOrLast, number, text, uuid, type Keyed, type Slice } from "../page.ts";

export interface RolloutRow {
  readonly id: string;
  readonly component_id: string;
  readonly cluster_id: string;
  readonly number: number;
  readonly version_id: string | null;
  readonly phase: RolloutPhase;
  readonly reason: string;
  readonly build_id: string | null;
  readonly release_id: string | null;
  readonly from_release_id: string | null;
  readonly spec: ComponentSpec;
  readonly config: Record<string, string>;
  readonly secret_refs: Record<string, SecretRef>;
  readonly waits_for: string[];
  readonly step: NonNullable<Rollout["step"]> | null;
  readonly verified: NonNullable<Rollout["verified"]> | null;
  readonly cause: Cause | null;
  readonly abort_requested_by: string | null;
  readonly ends_as: "failed" | "aborted" | null;
  readonly progress: RolloutProgress;
  readonly created_by: string;
  readonly image_reference: string | null;
  /** The rollout of the same release in the cluster before, and ms to wait once that has succeeded. */
  readonly follows: string | null;
  readonly pause: number;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
}

export async function openRollout(trx: Db, componentId: string): Promise<RolloutRow | undefined> {
  return trx.selectFrom("rollouts").selectAll().where("component_id", "=", componentId).where("ended_at", "is", null).executeTakeFirst();
}

export async function findRolloutById(trx: Db, id: string): Promise<RolloutRow | undefined> {
  return trx.selectFrom("rollouts").selectAll().where("id", "=", id).executeTakeFirst();
}

/** Of a component, and of its parts in other clusters, which count theirs with it. */
const ofComponent = (column: RawBuilder<string>, id: string) =>
  sql<boolean>`${column} in (select x.id from components x where x.id = ${id}::uuid or x.part_of = ${id}::uuid)`;

export async function findRollout(trx: Db, componentId: string, number: number): Promise<RolloutRow | undefined> {
  return trx
    .selectFrom("rollouts")
    .selectAll()
    .where(ofComponent(sql.ref("component_id"), componentId))
    .where("number", "=", number)
    .executeTakeFirst();
}

export interface NewRollout {
  readonly componentId: string;
  readonly clusterId: string;
  readonly number: number;
  readonly versionId: string | null;
  readonly phase: RolloutPhase;
  readonly reason: string;
  readonly buildId: string | null;
  readonly releaseId: string | null;
  readonly fromReleaseId: string | null;
  readonly spec: ComponentSpec;
  readonly config: Record<string, string>;
  readonly secretRefs: Record<string, SecretRef>;
  readonly waitsFor: readonly string[];
  readonly by: string;
  readonly imageReference: string | null;
  readonly follows?: string | undefined;
  readonly pause?: number;
}
export async function insertRollout(trx: Db, rollout: NewRollout): Promise<string> {
  const { id } = await trx
    .insertInto("rollouts")
    .values({
      component_id: rollout.componentId,
      cluster_id: rollout.clusterId,
      number: rollout.number,
      version_id: rollout.versionId,
      phase: rollout.phase,
      reason: rollout.reason,
      build_id: rollout.buildId,
      release_id: rollout.releaseId,
      from_release_id: rollout.fromReleaseId,
      spec: JSON.stringify(rollout.spec),
      config: JSON.stringify(rollout.config),
      secret_refs: JSON.stringify(rollout.secretRefs),
      waits_for: [...rollout.waitsFor],
      created_by: rollout.by,
      image_reference: rollout.imageReference,
      follows: rollout.follows ?? null,
      pause: rollout.pause ?? 0,
      abort_requested_by: null,
      ends_as: null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

export interface RolloutChange {
  readonly phase?: RolloutPhase;
  readonly releaseId?: string;
  readonly waitsFor?: readonly string[];
  readonly step?: NonNullable<Rollout["step"]> | null;
  readonly verified?: NonNullable<Rollout["verified"]>;
  readonly cause?: Cause | null;
  readonly abortRequestedBy?: string;
  readonly endsAs?: "failed" | "aborted";
  readonly progress?: RolloutProgress;
  readonly startedAt?: Date;
  readonly endedAt?: Date;
}
/** Changes an open rollout; false when it had ended already, so that a late worker changes nothing. */
export async function updateRollout(trx: Db, id: string, change: RolloutChange): Promise<boolean> {
  const result = await trx
    .updateTable("rollouts")
    .set({
      ...(change.phase === undefined ? {} : { phase: change.phase }),
      ...(change.releaseId === undefined ? {} : { release_id: change.releaseId }),
      ...(change.waitsFor === undefined ? {} : { waits_for: [...change.waitsFor] }),
      ...(change.step === undefined ? {} : { step: change.step === null ? null : JSON.stringify(change.step) }),
      ...(change.verified === undefined ? {} : { verified: JSON.stringify(change.verified) }),
      ...(change.cause === undefined ? {} : { cause: change.cause === null ? null : JSON.stringify(change.cause) }),
      ...(change.abortRequestedBy === undefined ? {} : { abort_requested_by: change.abortRequestedBy }),
      ...(change.endsAs === undefined ? {} : { ends_as: change.endsAs }),
      ...(change.progress === undefined ? {} : { progress: JSON.stringify(change.progress) }),
      ...(change.startedAt === undefined ? {} : { started_at: change.startedAt }),
      ...(change.endedAt === undefined ? {} : { ended_at: change.endedAt }),
    })
    .where("id", "=", id)
    .where("ended_at", "is", null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Phases of the rollouts that another one waits for. */
export async function rolloutPhases(
  trx: Db,
  ids: readonly string[],
): Promise<{ id: string; phase: RolloutPhase; cause: Cause | null; component: string; component_id: string }[]> {
  if (ids.length === 0) return [];
  return trx
    .selectFrom("rollouts as o")
    .innerJoin("components as c", "c.id", "o.component_id")
    .select(["o.id", "o.phase", "o.cause", "c.name as component", "c.id as component_id"])
    .where("o.id", "in", [...ids])
    .execute();
}

/** What others are changing in these is committed when it resolves, and nobody changes them before this transaction ends. */
export async function awaitChanges(trx: Db, ids: readonly string[]): Promise<void> {
  await trx
    .selectFrom("rollouts")
    .select("id")
    .where("id", "in", [...ids])
    .orderBy("id")
    .forShare()
    .execute();
}

/** Components whose open rollout waits for this one. */
export async function waitingFor(trx: Db, rolloutId: string): Promise<{ component_id: string; cluster: string }[]> {
  return trx
    .selectFrom("rollouts as o")
    .innerJoin("clusters as k", "k.id", "o.cluster_id")
    .select(["o.component_id", "k.name as cluster"])
    .where("o.ended_at", "is", null)
    .where(sql<boolean>`o.waits_for @> array[${rolloutId}]::uuid[]`)
    .execute();
}

/** Whose loops take these further, and where. */
export async function whereRollouts(trx: Db, ids: readonly string[]): Promise<{ component_id: string; cluster: string }[]> {
  return trx
    .selectFrom("rollouts as o")
    .innerJoin("clusters as k", "k.id", "o.cluster_id")
    .select(["o.component_id", "k.name as cluster"])
    .where("o.id", "in", [...ids])
    .execute();
}

export interface EarlierRollout {
  readonly number: number;
  readonly cluster: string;
  readonly phase: RolloutPhase;
  readonly cause: Cause | null;
  readonly release_id: string | null;
  readonly ended_at: Date | null;
  /** Of what runs there now. */
  readonly state: string;
  readonly ready: number;
  readonly replicas: number;
  readonly seen: Cause | null;
}

/** Those of the same release in the clusters before, the one just before first. */
export async function earlierRollouts(trx: Db, id: string): Promise<EarlierRollout[]> {
  const { rows } = await sql<EarlierRollout>`
    with recursive earlier as (
      select follows, 0 as place from rollouts where id = ${id}::uuid
      union all select o.follows, e.place + 1 from earlier e join rollouts o on o.id = e.follows
    )
    select o.number, k.name as cluster, o.phase, o.cause, o.release_id, o.ended_at, c.state, c.ready, c.replicas, c.cause as seen
    from earlier e join rollouts o on o.id = e.follows join clusters k on k.id = o.cluster_id join components c on c.id = o.component_id
    order by e.place`.execute(trx);
  return rows;
}

/** No other one of the component was accepted after it, in whichever cluster: neither one that takes its release further nor one of a newer version. */
export async function isLast(trx: Db, ownerId: string, { number }: Pick<RolloutRow, "number">): Promise<boolean> {
  const later = await trx
    .selectFrom("rollouts")
    .select("id")
    .where(ofComponent(sql.ref("component_id"), ownerId))
    .where("number", ">", number)
    .limit(1)
    .executeTakeFirst();
  return later === undefined;
}

/** No newer one of the same component in the same cluster was accepted. */
export async function isNewest(trx: Db, { component_id, number }: Pick<RolloutRow, "component_id" | "number">): Promise<boolean> {
  const newer = await trx
    .selectFrom("rollouts")
    .select("id")
    .where("component_id", "=", component_id)
    .where("number", ">", number)
    .limit(1)
    .executeTakeFirst();
  return newer === undefined;
}

/** Components of a stack whose open rollout waits for a release command. */
export async function releasing(trx: Db, stackId: string): Promise<{ component_id: string; cluster: string }[]> {
  return trx
    .selectFrom("rollouts as o")
    .innerJoin("components as c", "c.id", "o.component_id")
    .innerJoin("clusters as k", "k.id", "o.cluster_id")
    .select(["o.component_id", "k.name as cluster"])
    .where("c.stack_id", "=", stackId)
    .where("o.ended_at", "is", null)
    .where("o.phase", "=", "releasing")
    .execute();
}

/** Components whose open rollout waits for this build. */
export async function waitingForBuild(trx: Db, buildId: string): Promise<{ component_id: string; cluster: string }[]> {
  return trx
    .selectFrom("rollouts as o")
    .innerJoin("clusters as k", "k.id", "o.cluster_id")
    .select(["o.component_id", "k.name as cluster"])
    .where("o.ended_at", "is", null)
    .where("o.build_id", "=", buildId)
    .execute();
}

export interface RolloutListRow extends RolloutRow {
  readonly component: string;
  /** Where the component runs in several. */
  readonly cluster: string | null;
  readonly newest: boolean;
  readonly deleting: boolean;
  readonly build_number: number | null;
  readonly release_number: number | null;
  readonly from_number: number | null;
  readonly waits_names: string[] | null;
  readonly replicas: number;
}
const sort = {
  number: number("o.number"),
  phase: text("o.phase"),
  createdAt: instant("o.created_at"),
  endedAt: instantOrLast("o.ended_at"),
};
const search = { reason: sql.ref("o.reason"), createdBy: sql.ref("o.created_by") };
export const rolloutList = defineList(lists.rollouts, { sort, search, unique: [uuid("o.id")] });
export const stackRolloutList = defineList(lists.stackRollouts, {
  sort: { ...sort, component: text("c.name") },
  search: { ...search, component: sql.ref("c.name") },
  unique: [uuid("o.id")],
});
export interface RolloutListQuery {
  readonly stackId: string;
  readonly componentId?: string | undefined;
  readonly component?: string | undefined;
  readonly number?: number;
  readonly phase?: RolloutPhase | undefined;
  readonly version?: number | undefined;
  readonly page: Slice;
}
export async function listRollouts(trx: Db, query: RolloutListQuery): Promise<(RolloutListRow & Keyed)[]> {
  return trx
    .selectFrom("rollouts as o")
    .innerJoin("components as c", "c.id", "o.component_id")
    .leftJoin("builds as b", "b.id", "o.build_id")
    .leftJoin("releases as r", "r.id", "o.release_id")
    .leftJoin("releases as f", "f.id", "o.from_release_id")
    .leftJoin("stack_versions as v", "v.id", "o.version_id")
    .innerJoin("clusters as k", "k.id", "o.cluster_id")
    .where("c.stack_id", "=", query.stackId)
    .$if(query.componentId !== undefined, (q) => q.where(ofComponent(sql.ref("o.component_id"), query.componentId ?? "")))
    .$if(query.number !== undefined, (q) => q.where("o.number", "=", query.number ?? 0))
    .$if(query.phase !== undefined, (q) => q.where("o.phase", "=", query.phase ?? "failed"))
    .$if(query.version !== undefined, (q) => q.where("v.number", "=", query.version ?? 0))
    .$if(query.component !== undefined, (q) => q.where("c.name", "=", query.component ?? ""))
    .where(query.page.where)
    .selectAll("o")
    .select([
      query.page.keys.as("cursor_keys"),
      "c.name as component",
      "c.replicas",
      "b.number as build_number",
      "r.number as release_number",
      "f.number as from_number",
      sql<string | null>`case when o.follows is not null or c.part_of is not null or c.spec ? 'placement' then k.name end`.as("cluster"),
      sql<boolean>`not exists (select 1 from rollouts n where n.component_id = o.component_id and n.number > o.number)`.as("newest"),
      sql<boolean>`c.delete_requested_at is not null`.as("deleting"),
      sql<
        string[] | null
      >`(select array_agg(w.name order by w.name) from rollouts x join components w on w.id = x.component_id where x.id = any(o.waits_for) and x.phase <> 'succeeded' and x.id is distinct from o.follows)`.as(
        "waits_names",
      ),
    ])
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute() as Promise<(RolloutListRow & Keyed)[]>;
}

export async function insertVersion(trx: Db, version: { stackId: string; number: number; reason: string; by: string }): Promise<string> {
  const { id } = await trx
    .insertInto("stack_versions")
    .values({ stack_id: version.stackId, number: version.number, reason: version.reason, created_by: version.by })
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

/** Every component of the stack belongs to its version: by the rollout that was accepted with it, or by the release that serves. */
export async function insertVersionMembers(
  trx: Db,
  versionId: string,
  stackId: string,
  rollouts: ReadonlyMap<string, string>,
): Promise<void> {
  const components = await trx
    .selectFrom("components")
    .select(["id", "stable_release_id"])
    .where("stack_id", "=", stackId)
    .where("part_of", "is", null)
    .where("delete_requested_at", "is", null)
    .execute();
  if (components.length === 0) return;
  await trx
    .insertInto("stack_version_members")
    .values(
      components.map((component) => ({
        version_id: versionId,
        component_id: component.id,
        rollout_id: rollouts.get(component.id) ?? null,
        release_id: rollouts.has(component.id) ? null : component.stable_release_id,
      })),
    )
    .execute();
}
