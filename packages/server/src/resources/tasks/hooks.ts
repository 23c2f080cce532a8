// SQL of hooks: the rows that promise that a release command or a postdeploy command is started once at most (promise 2).
import { sql } from "kysely";
import type { Command, ComponentKind } from "@berth/contract/spec.ts";
import type { Db } from "../../db/pool.ts";
import { stackEvent } from "../intent.ts";
import { enqueue } from "../../reconcile/queue.ts";
import { nextNumber } from "../stacks/store.ts";
import { insertTask } from "./store.ts";

/** ms that a hook may take; also how long Heroku lets one run. */
const hookDeadline = 3_600_000;

export interface HookKey {
  readonly stackId: string;
  readonly key: string;
  readonly versionId: string | null;
}
export interface HookRow {
  readonly task_id: string | null;
}

export async function findHook(trx: Db, { stackId, key, versionId }: HookKey): Promise<HookRow | undefined> {
  return trx
    .selectFrom("hooks")
    .select("task_id")
    .where("stack_id", "=", stackId)
    .where("key", "=", key)
    .where(sql<boolean>`version_id is not distinct from ${versionId}::uuid`)
    .executeTakeFirst();
}

export interface NewHook extends HookKey {
  readonly stack: { readonly name: string; readonly teamId: string; readonly cluster: string };
  readonly component: { readonly id: string; readonly name: string };
  readonly clusterId: string;
  readonly releaseId: string;
  readonly trigger: "release" | "postdeploy";
  readonly command: Command;
  readonly by: string;
}

/** The hook and its task, unless it was begun before or another release command of the stack still runs; answers the task's number. */
export async function beginHook(trx: Db, hook: NewHook): Promise<number | undefined> {
  // Two release commands of one stack are likely to change the same database: they take turns.
  await sql`select pg_advisory_xact_lock(hashtextextended(${`hooks ${hook.stackId}`}, 0))`.execute(trx);
  if ((await findHook(trx, hook)) !== undefined || (hook.trigger === "release" && (await openReleaseTask(trx, hook.stackId))))
    return undefined;
  const number = await nextNumber(trx, hook.stackId, "last_task");
  const id = await insertTask(trx, {
    stackId: hook.stackId,
    componentId: hook.component.id,
    clusterId: hook.clusterId,
    number,
    releaseId: hook.releaseId,
    command: hook.command,
    trigger: hook.trigger,
    deadline: hookDeadline,
    by: hook.by,
  });
  if (id === undefined) return undefined;
  await trx.insertInto("hooks").values({ stack_id: hook.stackId, key: hook.key, version_id: hook.versionId, task_id: id }).execute();
  await stackEvent(trx, hook.stack, {
    code: "task_created",
    component: hook.component.name,
    params: { task: number },
    topics: [`task:${hook.stack.name}/${number}`],
  });
  await enqueue(trx, { kind: "task", key: id, cluster: hook.stack.cluster });
  return number;
}

async function openReleaseTask(trx: Db, stackId: string): Promise<boolean> {
  return (
    (await trx
      .selectFrom("tasks")
      .select("id")
      .where("stack_id", "=", stackId)
      .where("trigger", "=", "release")
      .where("phase", "in", ["queued", "running"])
      .limit(1)
      .executeTakeFirst()) !== undefined
  );
}

export interface VersionRollout {
  readonly id: string;
  readonly kind: ComponentKind;
  readonly order: number;
  readonly waitsFor: readonly string[];
  readonly open: boolean;
  readonly sameArtifact: boolean;
}

/** All rollouts of a stack version, and which of them bring this artifact. */
export async function rolloutsOfVersion(trx: Db, versionId: string, artifactDigest: string): Promise<VersionRollout[]> {
  const rows = await trx
    .selectFrom("rollouts as o")
    .innerJoin("components as c", "c.id", "o.component_id")
    .leftJoin("releases as r", "r.id", "o.release_id")
    .leftJoin("builds as b", "b.id", "o.build_id")
    .select([
      "o.id",
      "o.waits_for",
      "o.ended_at",
      "c.kind",
      "c.name",
      sql<boolean>`coalesce(r.artifact_digest, b.artifact_digest) = ${artifactDigest}`.as("same"),
    ])
    .where("o.version_id", "=", versionId)
    // A release goes through its first cluster with its commands, and through the others without.
    .where("c.part_of", "is", null)
    .orderBy("o.created_at")
    .orderBy("c.name")
    .execute();
  return rows.map((row, order) => ({
    id: row.id,
    kind: row.kind,
    order,
    waitsFor: row.waits_for,
    open: row.ended_at === null,
    sameArtifact: row.same,
  }));
}

/** Rows whose deployment has long ended; those that hold for a stack's whole life stay. */
export async function deleteOldHooks(trx: Db, before: Date): Promise<void> {
  await sql`delete from hooks h where version_id is not null and created_at < ${before} and not exists (select 1 from rollouts o where o.version_id = h.version_id and o.ended_at is null)`.execute(
    trx,
  );
}
