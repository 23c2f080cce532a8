// SQL of releases. A release's row is written once and never changed (promise 5).
import { lists } from "@berth/contract/lists.ts";
import type { ComponentSpec } from "@berth/contract/spec.ts";
import type { ReleaseRuntime, SecretRef } from "../../core/release/release.ts";
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import { defineList, instant, number, slice, type Keyed, type Slice } from "../page.ts";

export interface ReleaseRow {
  readonly id: string;
  readonly component_id: string;
  readonly number: number;
  readonly hash: string;
  readonly artifact_digest: string;
  readonly artifact_kind: "bundle" | "image";
  readonly build_id: string | null;
  readonly config: Record<string, string>;
  readonly secret_refs: Record<string, SecretRef>;
  readonly spec: ComponentSpec;
  readonly runtime: ReleaseRuntime;
  readonly reason: string;
  readonly created_by: string;
  readonly created_at: Date;
}

const artifactKind = sql<"bundle" | "image">`(select a.kind from artifacts a where a.digest = releases.artifact_digest)`.as(
  "artifact_kind",
);

export async function findRelease(trx: Db, id: string): Promise<ReleaseRow | undefined> {
  return trx.selectFrom("releases").selectAll().select(artifactKind).where("id", "=", id).executeTakeFirst();
}

/** Releases of the component with these hashes; of several with the same hash the newest. They differ in nothing that a hash covers. */
export async function findReleasesByHash(trx: Db, componentId: string, hashes: readonly string[]): Promise<ReleaseRow[]> {
  if (hashes.length === 0) return [];
  return trx
    .selectFrom("releases")
    .selectAll()
    .select(artifactKind)
    .distinctOn("hash")
    .where("component_id", "=", componentId)
    .where("hash", "in", [...hashes])
    .orderBy("hash")
    .orderBy("number", "desc")
    .execute();
}

export interface NewRelease {
  readonly componentId: string;
  readonly number: number;
  readonly hash: string;
  readonly artifactDigest: string;
  readonly buildId: string | null;
  readonly config: Record<string, string>;
  readonly secretRefs: Record<string, SecretRef>;
  readonly spec: ComponentSpec;
  readonly runtime: ReleaseRuntime;
  readonly reason: string;
  readonly by: string;
}
export async function insertRelease(trx: Db, release: NewRelease): Promise<string> {
  const { id } = await trx
    .insertInto("releases")
    .values({
      component_id: release.componentId,
      number: release.number,
      hash: release.hash,
      artifact_digest: release.artifactDigest,
      build_id: release.buildId,
      config: JSON.stringify(release.config),
      secret_refs: JSON.stringify(release.secretRefs),
      spec: JSON.stringify(release.spec),
      runtime: JSON.stringify(release.runtime),
      reason: release.reason,
      created_by: release.by,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

export const releaseList = defineList(lists.releases, {
  sort: { number: number("r.number"), createdAt: instant("r.created_at") },
  unique: [number("r.number")],
  search: {
    revision: sql.ref("s.revision"),
    message: sql.ref("s.message"),
    reason: sql.ref("r.reason"),
    createdBy: sql.ref("r.created_by"),
  },
});
export interface ReleaseListRow extends ReleaseRow {
  readonly build_number: number | null;
  readonly revision: string | null;
  readonly message: string | null;
}
/** `before`: only those with a lower number. */
export async function listReleases(
  trx: Db,
  componentId: string,
  query: { readonly number?: number; readonly before?: number; readonly build?: number | undefined; readonly page: Slice },
): Promise<(ReleaseListRow & Keyed)[]> {
  return trx
    .selectFrom("releases as r")
    .innerJoin("artifacts as a", "a.digest", "r.artifact_digest")
    .leftJoin("builds as b", "b.id", "r.build_id")
    .leftJoin("sources as s", "s.id", "b.source_id")
    .selectAll("r")
    .select(["a.kind as artifact_kind", "b.number as build_number", "s.revision", "s.message", query.page.keys.as("cursor_keys")])
    .where("r.component_id", "=", componentId)
    .$if(query.number !== undefined, (q) => q.where("r.number", "=", query.number ?? 0))
    .$if(query.before !== undefined, (q) => q.where("r.number", "<", query.before ?? 0))
    .$if(query.build !== undefined, (q) => q.where("b.number", "=", query.build ?? 0))
    .where(query.page.where)
    .orderBy(query.page.order)
    .limit(query.page.limit + 1)
    .execute();
}

/** The newest release, or the newest one below a number. */
export async function newestRelease(trx: Db, componentId: string, before?: number): Promise<ReleaseListRow | undefined> {
  return (await listReleases(trx, componentId, { page: slice(releaseList, { limit: 1 }), ...(before === undefined ? {} : { before }) }))[0];
}

export async function findReleaseByNumber(trx: Db, componentId: string, wanted: number): Promise<ReleaseListRow | undefined> {
  return (await listReleases(trx, componentId, { page: slice(releaseList, { limit: 1 }), number: wanted }))[0];
}
