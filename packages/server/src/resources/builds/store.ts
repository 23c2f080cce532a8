// SQL of builds and their artifacts.
import { sql } from "kysely";
import { lists } from "@berth/contract/lists.ts";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import type { Cause } from "@berth/contract/causes.ts";
import type { Build } from "@berth/contract/resources/builds.ts";
import type { BuiltFacts } from "../../core/attest/built.ts";
import type { Db } from "../../db/pool.ts";
import type { BuildOptions } from "../../db/tables-stacks.ts";
import { defineList, instant, instantOrLast, number, text, uuid, type Keyed, type Slice } from "../page.ts";

export interface BuildRow {
  readonly id: string;
  readonly stack_id: string;
  readonly cluster_id: string;
  readonly number: number;
  readonly source_id: string | null;
  readonly source_digest: string;
  readonly context: string;
  readonly build_key: string;
  readonly options: BuildOptions;
  readonly phase: Build["phase"];
  readonly plan: BuildPlan | null;
  readonly steps: Build["steps"];
  readonly artifact_digest: string | null;
  readonly artifact_reference: string | null;
  readonly log_digest: string | null;
  readonly sbom_digest: string | null;
  readonly attesting: BuiltFacts | null;
  readonly provenance_digest: string | null;
  readonly cause: Cause | null;
  readonly cancel_requested_by: string | null;
  readonly attempts: number;
  readonly created_by: string;
  readonly queued_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
}

/** `lock`: what it has stays until the caller's transaction ends. */
export async function findBuildById(trx: Db, id: string, { lock = false } = {}): Promise<BuildRow | undefined> {
  return trx
    .selectFrom("builds")
    .selectAll()
    .where("id", "=", id)
    .$if(lock, (query) => query.forShare())
    .executeTakeFirst();
}

/** Who asked for the end of a build; undefined when nobody did. A build that is gone went with its stack. */
export async function cancelledBy(trx: Db, id: string): Promise<string | undefined> {
  const row = await trx.selectFrom("builds").select("cancel_requested_by").where("id", "=", id).executeTakeFirst();
  return row === undefined ? "the stack's removal" : (row.cancel_requested_by ?? undefined);
}

export async function findBuild(trx: Db, stackId: string, number: number): Promise<BuildRow | undefined> {
  return trx.selectFrom("builds").selectAll().where("stack_id", "=", stackId).where("number", "=", number).executeTakeFirst();
}

/** The newest succeeded build of this stack with the same inputs, or one that is still under way. */
export async function findReusable(trx: Db, stackId: string, buildKey: string): Promise<BuildRow | undefined> {
  return (
    trx
      .selectFrom("builds")
      .selectAll()
      .where("stack_id", "=", stackId)
      .where("build_key", "=", buildKey)
      .where("phase", "in", ["succeeded", "queued", "running"])
      .where("cancel_requested_by", "is", null)
      // One that succeeded and has none any more is of no use: nothing needed its image, and it was removed.
      .where((is) => is.or([is("phase", "<>", "succeeded"), is("artifact_digest", "is not", null)]))
      .orderBy("number", "desc")
      .limit(1)
      // Whoever removes what nothing needs waits for this transaction, and sees what it made of it.
      .forShare()
      .executeTakeFirst()
  );
}

export interface NewBuild {
  readonly stackId: string;
  readonly clusterId: string;
  readonly number: number;
  readonly sourceId: string | null;
  readonly sourceDigest: string;
  readonly context: string;
  readonly buildKey: string;
  readonly options: BuildOptions;
  readonly by: string;
}
export async function insertBuild(trx: Db, build: NewBuild): Promise<string> {
  const { id } = await trx
    .insertInto("builds")
    .values({
      stack_id: build.stackId,
      cluster_id: build.clusterId,
      number: build.number,
      source_id: build.sourceId,
      source_digest: build.sourceDigest,
      context: build.context,
      build_key: build.buildKey,
      options: JSON.stringify(build.options),
      created_by: build.by,
      artifact_digest: null,
      log_digest: null,
      cancel_requested_by: null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

export interface BuildChange {
  readonly phase?: Build["phase"];
  readonly plan?: BuildPlan;
  readonly steps?: Build["steps"];
  readonly artifactDigest?: string;
  readonly artifactReference?: string;
  readonly logDigest?: string;
  readonly attesting?: BuiltFacts;
  readonly cause?: Cause;
  readonly startedAt?: Date;
  readonly endedAt?: Date;
  readonly attempt?: true;
  readonly cancelRequestedBy?: string;
}
/** What comes of attesting a build; undefined: nothing does. */
export async function setAttested(
  trx: Db,
  id: string,
  attested: { readonly sbom: string; readonly provenance: string } | undefined,
): Promise<void> {
  await trx
    .updateTable("builds")
    .set({ attesting: null, ...(attested === undefined ? {} : { sbom_digest: attested.sbom, provenance_digest: attested.provenance }) })
    .where("id", "=", id)
    .execute();
}

/** Changes a build that has not ended; false when it had. */
export async function updateBuild(trx: Db, id: string, change: BuildChange): Promise<boolean> {
  const result = await trx
    .updateTable("builds")
    .set({
      ...(change.phase === undefined ? {} : { phase: change.phase }),
      ...(change.plan === undefined ? {} : { plan: JSON.stringify(change.plan) }),
      ...(change.steps === undefined ? {} : { steps: JSON.stringify(change.steps) }),
      ...(change.artifactDigest === undefined ? {} : { artifact_digest: change.artifactDigest }),
      ...(change.artifactReference === undefined ? {} : { artifact_reference: change.artifactReference }),
      ...(change.logDigest === undefined ? {} : { log_digest: change.logDigest }),
      ...(change.attesting === undefined ? {} : { attesting: JSON.stringify(change.attesting) }),
      ...(change.cause === undefined ? {} : { cause: JSON.stringify(change.cause) }),
      ...(change.startedAt === undefined ? {} : { started_at: change.startedAt }),
      ...(change.endedAt === undefined ? {} : { ended_at: change.endedAt }),
      ...(change.attempt === undefined ? {} : { attempts: sql`attempts + 1` }),
      ...(change.cancelRequestedBy === undefined ? {} : { cancel_requested_by: change.cancelRequestedBy }),
    })
    .where("id", "=", id)
    .where("phase", "in", ["queued", "running"])
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

export interface OpenBuild {
  readonly id: string;
  readonly stack_id: string;
  readonly phase: "queued" | "running";
  readonly queued_at: Date;
  readonly steps: Build["steps"];
  /** How many steps its plan has; null without a plan. */
  readonly planned: number | null;
}

export async function openBuilds(trx: Db, clusterId: string): Promise<OpenBuild[]> {
  return trx
    .selectFrom("builds")
    .select(["id", "stack_id", "phase", "queued_at", "steps"])
    .select(sql<number | null>`jsonb_array_length(plan->'steps')`.as("planned"))
    .where("cluster_id", "=", clusterId)
    .where("phase", "in", ["queued", "running"])
    .orderBy("queued_at")
    .orderBy("number")
    .execute() as Promise<OpenBuild[]>;
}

/** When a build of each of these stacks was last started; without stacks that never had one. */
export async function lastStarts(trx: Db, stackIds: readonly string[]): Promise<Map<string, Date>> {
  if (stackIds.length === 0) return new Map();
  const rows = await trx
    .selectFrom("builds")
    .select(["stack_id", sql<Date>`max(started_at)`.as("at")])
    .where("stack_id", "in", [...new Set(stackIds)])
    .where("started_at", "is not", null)
    .groupBy("stack_id")
    .execute();
  return new Map(rows.map((row) => [row.stack_id, row.at]));
}

export async function saveArtifact(
  trx: Db,
  artifact: { readonly digest: string; readonly kind: "bundle" | "image"; readonly size: number },
): Promise<void> {
  await trx
    .insertInto("artifacts")
    .values(artifact)
    .onConflict((conflict) => conflict.column("digest").doNothing())
    .execute();
}

export const buildList = defineList(lists.builds, {
  sort: {
    number: number("b.number"),
    phase: text("b.phase"),
    context: text("b.context"),
    queuedAt: instant("b.queued_at"),
    endedAt: instantOrLast("b.ended_at"),
  },
  unique: [uuid("b.id")],
  search: {
    context: sql.ref("b.context"),
    revision: sql.ref("s.revision"),
    message: sql.ref("s.message"),
    createdBy: sql.ref("b.created_by"),
  },
});
export interface BuildListRow extends BuildRow {
  readonly revision: string | null;
  readonly message: string | null;
  readonly artifact_size: number | null;
}
export async function listBuilds(
  trx: Db,
  query: { readonly stackId: string; readonly number?: number; readonly phase?: Build["phase"] | undefined; readonly page: Slice },
): Promise<(BuildListRow & Keyed)[]> {
  return trx
    .selectFrom("builds as b")
    .leftJoin("sources as s", "s.id", "b.source_id")
    .leftJoin("artifacts as a", "a.digest", "b.artifact_digest")
    .selectAll("b")
    .select(["s.revision", "s.message", "a.size as artifact_size", query.page.keys.as("cursor_keys")])
    .where("b.stack_id", "=", query.stackId)
    .$if(query.number !== undefined, (q) => q.where("b.number", "=", query.number ?? 0))
    .$if(query.phase !== undefined, (q) => q.where("b.phase", "=", query.phase ?? "failed"))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}
