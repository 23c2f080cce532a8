// Retention: old builds, releases, tasks, events and blobs go; never anything that a kept release, an open rollout or a running build needs.
import { sql } from "kysely";
import type { BlobStore } from "../blobs/store.ts";
import type { Db } from "../db/pool.ts";
import { blobsLock } from "../db/snapshot.ts";
import type { BuildLogs } from "../resources/builds/log.ts";
import { removeTombstonesBefore } from "../db/tombstones.ts";
import { removeViewChanges } from "../db/views.ts";
import { deleteExpiredPlans } from "../resources/plans/store.ts";
import { deleteOldHooks } from "../resources/tasks/hooks.ts";
import { letGoOfBuilds } from "../resources/builds/let-go.ts";
import { removeImages, type ImageKeeping } from "./images.ts";
import { deleteOldTasks } from "../resources/tasks/store.ts";

export interface RetentionLimits {
  /** Newest releases kept of each component, beside the one that serves. */
  readonly releases: number;
  readonly rollouts: number;
  readonly builds: number;
  readonly tasks: number;
  /** ms that events are kept. */
  readonly events: number;
  /** ms that a settled tombstone still speaks for what turns up late. */
  readonly tombstones: number;
  /** ms that a blob must be old before it may go: an upload is stored before its row is. */
  readonly blobGrace: number;
  /** ms after a restore or the loss of the database during which blobs of before stay: what runs of them may not have been adopted yet. */
  readonly blobsAfterRestore: number;
}
export const defaultRetention: RetentionLimits = {
  releases: 20,
  rollouts: 100,
  builds: 50,
  tasks: 200,
  events: 30 * 86_400_000,
  tombstones: 90 * 86_400_000,
  blobGrace: 6 * 3_600_000,
  blobsAfterRestore: 30 * 86_400_000,
};

export async function retain(
  deps: {
    readonly db: Db;
    readonly blobs: BlobStore;
    readonly buildLogs: Pick<BuildLogs, "files" | "remove">;
    readonly clock: () => Date;
    /** Absent where there are none. */
    readonly images?: Omit<ImageKeeping, "db" | "clock">;
  },
  limits: RetentionLimits,
  signal: AbortSignal = new AbortController().signal,
): Promise<{ readonly blobs: number }> {
  const { db } = deps;
  const now = deps.clock();
  await deleteExpiredPlans(db, now);
  await deleteOldTasks(db, limits.tasks);
  await deleteOldHooks(db, new Date(now.getTime() - limits.events));
  await sql`delete from rollouts where id in (select id from (select id, row_number() over (partition by component_id order by number desc) as age from rollouts where ended_at is not null) aged where age > ${limits.rollouts})`.execute(
    db,
  );
  await sql`delete from releases r where id in (select id from (select id, row_number() over (partition by component_id order by number desc) as age from releases) aged where age > ${limits.releases})
    and not exists (select 1 from components c where c.stable_release_id = r.id)
    and not exists (select 1 from rollouts o where o.ended_at is null and r.id in (o.release_id, o.from_release_id))
    and not exists (select 1 from tasks t where t.release_id = r.id and t.ended_at is null)`.execute(db);
  await sql`delete from builds b where id in (select id from (select id, row_number() over (partition by stack_id order by number desc) as age from builds) aged where age > ${limits.builds})
    and phase in ('succeeded', 'failed', 'cancelled')
    and not exists (select 1 from releases r where r.build_id = b.id) and not exists (select 1 from rollouts o where o.build_id = b.id and o.ended_at is null)`.execute(
    db,
  );
  await letGoOfBuilds(db, new Date(now.getTime() - limits.blobGrace));
  await sql`delete from sources s where created_at < ${new Date(now.getTime() - limits.blobGrace)} and not exists (select 1 from builds b where b.source_id = s.id)
    and id not in (select id from (select id, row_number() over (partition by stack_id order by created_at desc) as age from sources where stack_id is not null) aged where age <= ${limits.builds})`.execute(
    db,
  );
  await sql`delete from artifacts a where created_at < ${new Date(now.getTime() - limits.blobGrace)} and not exists (select 1 from releases r where r.artifact_digest = a.digest) and not exists (select 1 from builds b where b.artifact_digest = a.digest)`.execute(
    db,
  );
  await removeViewChanges(db);
  await removeTombstonesBefore(db, new Date(now.getTime() - limits.tombstones));
  await sql`delete from events where at < ${new Date(now.getTime() - limits.events)}`.execute(db);
  const installation = await db.selectFrom("installation").select("raised_at").executeTakeFirst();
  const raisedAt = installation?.raised_at.getTime() ?? 0;
  const keptBefore = raisedAt + limits.blobsAfterRestore > now.getTime() ? raisedAt : 0;
  await removeKeptLogs(deps, keptBefore, now.getTime());
  const window = { from: new Date(keptBefore), before: new Date(now.getTime() - limits.blobGrace) };
  if (deps.images !== undefined) await removeImages({ ...deps.images, db, clock: deps.clock }, window, signal);
  return { blobs: await removeUnreferencedBlobs(deps, keptBefore, now.getTime() - limits.blobGrace) };
}

/** ms that the file of a build's log stays after the blob store has it: somebody may be reading it to its end. */
const readOn = 10 * 60_000;

/** A log is in the blob store once its build has ended; the file of a build that is no longer kept has nobody left who could ask for it. */
async function removeKeptLogs(
  { db, buildLogs }: { readonly db: Db; readonly buildLogs: Pick<BuildLogs, "files" | "remove"> },
  from: number,
  now: number,
): Promise<void> {
  for (const { build, changedAt } of await buildLogs.files()) {
    if (now - changedAt.getTime() < readOn || changedAt.getTime() < from) continue;
    const row = await db.selectFrom("builds").select(["phase", "log_digest", "ended_at"]).where("id", "=", build).executeTakeFirst();
    const needed = row !== undefined && (row.ended_at === null || row.log_digest === null || now - row.ended_at.getTime() < readOn);
    if (!needed) await buildLogs.remove(build);
  }
}

async function removeUnreferencedBlobs(
  deps: { readonly db: Db; readonly blobs: BlobStore },
  from: number,
  before: number,
): Promise<number> {
  let removed = 0;
  for await (const blob of deps.blobs.list()) {
    if (blob.storedAt.getTime() >= before || blob.storedAt.getTime() < from) continue;
    // A backup that is being written may need what no row names any more; it holds its lock since before it looked.
    const { rows } = await sql<{
      used: boolean;
    }>`select exists (select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()) and ((classid::bigint << 32) | objid::bigint) = ${blobsLock}::bigint) or exists (select 1 from sources where digest = ${blob.digest}) or exists (select 1 from artifacts where digest = ${blob.digest}) or exists (select 1 from builds where ${blob.digest} in (log_digest, source_digest, sbom_digest, provenance_digest)) as used`.execute(
      deps.db,
    );
    if (rows[0]?.used !== false) continue;
    await deps.blobs.remove(blob.digest, { storedBefore: new Date(before) });
    removed += 1;
  }
  return removed;
}
