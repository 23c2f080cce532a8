// The record that goes with a workload, from the rows of its release: what an adoption needs should those rows be lost (promise 7).
import type { ReleaseRecord } from "../../core/release/record.ts";
import type { Db } from "../../db/pool.ts";
import { findBuildById } from "../../resources/builds/store.ts";
import { newestConfigs } from "../../resources/config/store.ts";
import type { ReleaseRow } from "../../resources/releases/store.ts";
import type { Loaded } from "./load.ts";

export async function recordOf(db: Db, { ownerId, stack }: Pick<Loaded, "ownerId" | "stack">, release: ReleaseRow): Promise<ReleaseRecord> {
  const config = await newestConfigs(db, stack.id, ownerId);
  const build = await buildOf(db, release);
  return {
    version: 1,
    team: stack.team,
    runEnv: stack.run_env,
    ...(stack.cluster === stack.home ? {} : { home: stack.home }),
    ...(stack.drift === "repair" ? {} : { drift: stack.drift }),
    release: { reason: release.reason, createdBy: release.created_by, createdAt: release.created_at.toISOString() },
    content: {
      artifactDigest: release.artifact_digest,
      config: release.config,
      secretRefs: release.secret_refs,
      spec: release.spec,
      runtime: release.runtime as unknown as ReleaseRecord["content"]["runtime"],
    },
    config: {
      ...(config.stack === undefined ? {} : { stack: { number: config.stack.number, values: config.stack.values } }),
      ...(config.component === undefined ? {} : { component: { number: config.component.number, values: config.component.values } }),
    },
    ...(build === undefined ? {} : { build }),
  };
}

async function buildOf(db: Db, release: ReleaseRow): Promise<ReleaseRecord["build"]> {
  const build = release.build_id === null ? undefined : await findBuildById(db, release.build_id);
  if (build === undefined) return undefined;
  const source =
    build.source_id === null
      ? undefined
      : await db
          .selectFrom("sources")
          .select(["kind", "size", "files", "url", "ref", "revision", "author", "message", "dirty"])
          .where("id", "=", build.source_id)
          .executeTakeFirst();
  return {
    number: build.number,
    sourceDigest: build.source_digest,
    context: build.context,
    key: build.build_key,
    options: { ...build.options },
    plan: build.plan,
    ...(source === undefined ? {} : { source }),
  };
}
