// SQL of releases. A release's row is written once and never changed (promise 5).
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { ReleaseRuntime, SecretRef } from "../../core/release/release.ts";
import type { Db } from "../../db/pool.ts";

export interface ReleaseRow {
  readonly id: string; readonly component_id: string; readonly number: number; readonly hash: string; readonly artifact_digest: string; readonly build_id: string | null; readonly config: Record<string, string>;
  readonly secret_refs: Record<string, SecretRef>; readonly spec: ComponentSpec; readonly runtime: ReleaseRuntime; readonly reason: string; readonly created_by: string; readonly created_at: Date;
}

export async function findRelease(trx: Db, id: string): Promise<ReleaseRow | undefined> {
  return trx.selectFrom("releases").selectAll().where("id", "=", id).executeTakeFirst();
}

export interface NewRelease {
  readonly componentId: string; readonly number: number; readonly hash: string; readonly artifactDigest: string; readonly buildId: string | null; readonly config: Record<string, string>;
  readonly secretRefs: Record<string, SecretRef>; readonly spec: ComponentSpec; readonly runtime: ReleaseRuntime; readonly reason: string; readonly by: string;
}
export async function insertRelease(trx: Db, release: NewRelease): Promise<string> {
  const { id } = await trx.insertInto("releases").values({
    component_id: release.componentId, number: release.number, hash: release.hash, artifact_digest: release.artifactDigest, build_id: release.buildId, config: JSON.stringify(release.config),
    secret_refs: JSON.stringify(release.secretRefs), spec: JSON.stringify(release.spec), runtime: JSON.stringify(release.runtime), reason: release.reason, created_by: release.by,
  }).returning("id").executeTakeFirstOrThrow();
  return id;
}

export interface ReleaseListRow extends ReleaseRow { readonly artifact_kind: "bundle" | "image"; readonly build_number: number | null; readonly revision: string | null; readonly message: string | null }
export async function listReleases(trx: Db, componentId: string, query: { readonly number?: number; readonly before?: number; readonly limit: number }): Promise<ReleaseListRow[]> {
  return trx.selectFrom("releases as r").innerJoin("artifacts as a", "a.digest", "r.artifact_digest").leftJoin("builds as b", "b.id", "r.build_id").leftJoin("sources as s", "s.id", "b.source_id")
    .selectAll("r").select(["a.kind as artifact_kind", "b.number as build_number", "s.revision", "s.message"]).where("r.component_id", "=", componentId)
    .$if(query.number !== undefined, (q) => q.where("r.number", "=", query.number ?? 0))
    .$if(query.before !== undefined, (q) => q.where("r.number", "<", query.before ?? 0))
    .orderBy("r.number", "desc").limit(query.limit + 1).execute();
}
