// SQL of adoption: a stack's rows put together again from the records of what runs. Must never change a row that is there already, except the
// component that is taken over.
import type { StackDrift } from "@berth/contract/resources/drift.ts";
import { sql } from "kysely";
import type { ReleaseRecord } from "../../core/release/record.ts";
import type { Db } from "../../db/pool.ts";
import type { SecretBox } from "../../db/secretbox.ts";
import type { BuildOptions } from "../../db/tables-stacks.ts";
import type { ComponentRow } from "../components/store.ts";
import { secretIdentity } from "../secrets/store.ts";

export interface KnownComponent {
  readonly id: string;
  readonly held: boolean;
  readonly hashes: readonly string[];
}

/** Names of those that are there, in their order. */
export async function clusters(db: Db): Promise<string[]> {
  const rows = await db.selectFrom("clusters").select("name").where("removed_at", "is", null).orderBy("name").execute();
  return rows.map(({ name }) => name);
}

export async function stackNamed(db: Db, name: string): Promise<{ id: string; deleting: boolean } | undefined> {
  const row = await db.selectFrom("stacks").select(["id", "delete_requested_at", "deleted_at"]).where("name", "=", name).executeTakeFirst();
  return row === undefined ? undefined : { id: row.id, deleting: row.delete_requested_at !== null };
}

export async function componentNamed(db: Db, stackId: string, name: string): Promise<KnownComponent | undefined> {
  const row = await db
    .selectFrom("components")
    .select(["id", "held"])
    .where("stack_id", "=", stackId)
    .where("name", "=", name)
    .where("part_of", "is", null)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const releases = await db.selectFrom("releases").select("hash").where("component_id", "=", row.id).execute();
  return { ...row, hashes: releases.map((release) => release.hash) };
}

/** A component's part in a cluster other than its stack's own. */
export async function partIn(db: Db, componentId: string, cluster: string): Promise<{ id: string; held: boolean } | undefined> {
  return db
    .selectFrom("components as c")
    .innerJoin("clusters as k", "k.id", "c.cluster_id")
    .select(["c.id", "c.held"])
    .where("c.part_of", "=", componentId)
    .where("k.name", "=", cluster)
    .executeTakeFirst();
}

export async function hasOpenRollout(db: Db, componentId: string): Promise<boolean> {
  return (
    (await db
      .selectFrom("rollouts")
      .select("id")
      .where("component_id", "=", componentId)
      .where("ended_at", "is", null)
      .executeTakeFirst()) !== undefined
  );
}

/** The stack with this very id, which its volumes and files are named by; answers whether it was made. A team that is gone too becomes the standard one. */
export async function ensureStack(
  trx: Db,
  stack: {
    readonly id: string;
    readonly name: string;
    readonly team: string;
    readonly cluster: string;
    readonly runEnv: string;
    readonly drift: StackDrift;
    /** Of its cluster, when the stack was imported. */
    readonly namespace: string | null;
  },
): Promise<boolean> {
  const made = await sql`
    insert into stacks (id, name, team_id, cluster_id, run_env, drift, namespace)
    select ${stack.id}::uuid, ${stack.name}, coalesce((select id from teams where name = ${stack.team}), (select id from teams order by created_at, name limit 1)), k.id, ${stack.runEnv}, ${stack.drift}, ${stack.namespace} from clusters k where k.name = ${stack.cluster}
    on conflict (id) do update set deleted_at = null where stacks.deleted_at is not null`.execute(trx);
  return (made.numAffectedRows ?? 0n) > 0n;
}

/** Artifact, source and build of the release, where they are not known; answers the build's id. */
export async function ensureBuild(
  trx: Db,
  stackId: string,
  clusterId: string,
  record: ReleaseRecord,
  artifact: { readonly kind: "bundle" | "image"; readonly size: number },
): Promise<string | null> {
  const digest = record.content.artifactDigest;
  await trx
    .insertInto("artifacts")
    .values({ digest, ...artifact })
    .onConflict((conflict) => conflict.column("digest").doNothing())
    .execute();
  const { build } = record;
  if (build === undefined) return null;
  const known = await trx
    .selectFrom("builds")
    .select(["id", "build_key"])
    .where("stack_id", "=", stackId)
    .where("number", "=", build.number)
    .executeTakeFirst();
  // Another build of the same number was made since: the release does without.
  if (known !== undefined) return known.build_key === build.key ? known.id : null;
  const sourceId = await ensureSource(trx, stackId, build, record.release.createdBy);
  const { id } = await trx
    .insertInto("builds")
    .values({
      stack_id: stackId,
      cluster_id: clusterId,
      number: build.number,
      source_id: sourceId,
      source_digest: build.sourceDigest,
      context: build.context,
      build_key: build.key,
      options: JSON.stringify(build.options as unknown as BuildOptions),
      phase: "succeeded",
      plan: build.plan === null ? null : JSON.stringify(build.plan),
      artifact_digest: digest,
      // Of what was pushed; what is only where it was built has none.
      artifact_reference: record.content.runtime.reference ?? null,
      log_digest: null,
      cancel_requested_by: null,
      created_by: record.release.createdBy,
      queued_at: record.release.createdAt,
      started_at: record.release.createdAt,
      ended_at: record.release.createdAt,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  await sql`update stacks set last_build = greatest(last_build, ${build.number}) where id = ${stackId}::uuid`.execute(trx);
  return id;
}

async function ensureSource(trx: Db, stackId: string, build: NonNullable<ReleaseRecord["build"]>, by: string): Promise<string | null> {
  const { source, sourceDigest: digest } = build;
  if (source === undefined) return null;
  const known = await trx
    .selectFrom("sources")
    .select("id")
    .where("stack_id", "=", stackId)
    .where("digest", "=", digest)
    .executeTakeFirst();
  if (known !== undefined) return known.id;
  const { id } = await trx
    .insertInto("sources")
    .values({ stack_id: stackId, principal: "berth", digest, ...source, created_by: by })
    .returning("id")
    .executeTakeFirstOrThrow();
  return id;
}

/** Secrets that the release refers to, from the environment that the instance was given; versions that are there stay. */
export async function ensureSecrets(
  trx: Db,
  secretBox: SecretBox,
  stackId: string,
  record: ReleaseRecord,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [variable, { secret, version }] of Object.entries(record.content.secretRefs)) {
    const value = env[variable];
    if (value === undefined) continue;
    await trx
      .insertInto("secrets")
      .values({
        stack_id: stackId,
        name: secret,
        version,
        ciphertext: secretBox.seal(value, secretIdentity(stackId, secret, version)),
        created_by: record.release.createdBy,
      })
      .onConflict((conflict) => conflict.columns(["stack_id", "name", "version"]).doNothing())
      .execute();
  }
}

/** Config of the stack (`componentId` null) or a component, when it is newer than what is known. */
export async function ensureConfig(
  trx: Db,
  scope: { readonly stackId: string; readonly componentId: string | null },
  config: { readonly number: number; readonly values: Readonly<Record<string, string>> } | undefined,
  by: string,
): Promise<void> {
  if (config === undefined) return;
  await sql`
    insert into config_versions (stack_id, component_id, number, "values", created_by)
    select ${scope.stackId}::uuid, ${scope.componentId}::uuid, ${config.number}::int, ${JSON.stringify(config.values)}::jsonb, ${by}
    where not exists (select 1 from config_versions where stack_id = ${scope.stackId}::uuid and component_id is not distinct from ${scope.componentId}::uuid and number >= ${config.number}::int)`.execute(
    trx,
  );
}

export interface TakenOver {
  readonly stackId: string;
  readonly name: string;
  readonly number: number;
  readonly hash: string;
  readonly restart: number;
  readonly replicas: number;
  readonly buildId: string | null;
  readonly record: ReleaseRecord;
}

/** The component as it runs: what is wanted of it is what it is. Answers its id, and the number of its release. */
export async function takeOver(trx: Db, taken: TakenOver): Promise<{ componentId: string; releaseId: string; release: number }> {
  const { record, stackId, name, restart, replicas } = taken;
  // The definition's own number stays: were it changed to the running one, the next deployment would take it for a wish to scale.
  const spec = JSON.stringify(record.content.spec);
  const { kind } = record.content.spec;
  const { id } = await trx
    .insertInto("components")
    .values({ stack_id: stackId, name, kind, spec, replicas, restart, stable_release_id: null })
    .onConflict((conflict) =>
      conflict
        .columns(["stack_id", "name"])
        .where("part_of", "is", null)
        .doUpdateSet({
          kind,
          spec,
          replicas,
          restart,
          stopped: false,
          held: false,
          delete_requested_at: null,
          memory: "{}",
          revision: sql`components.revision + 1`,
          updated_at: sql`now()`,
        }),
    )
    .returning("id")
    .executeTakeFirstOrThrow();
  const { releaseId, release } = await releaseOf(trx, id, taken);
  await trx.updateTable("components").set({ stable_release_id: releaseId }).where("id", "=", id).execute();
  return { componentId: id, releaseId, release };
}

export type Owner = Pick<ComponentRow, "id" | "kind" | "spec">;

/** The component itself, locked until the transaction ends. */
export async function lockOwner(trx: Db, stackId: string, name: string): Promise<Owner | undefined> {
  return trx
    .selectFrom("components")
    .select(["id", "kind", "spec"])
    .where("stack_id", "=", stackId)
    .where("name", "=", name)
    .where("part_of", "is", null)
    .forUpdate()
    .executeTakeFirst();
}

/** The component's part in that cluster as it runs, under the component's row lock. Answers its id, and the number of its release. */
export async function takeOverPart(
  trx: Db,
  owner: Owner,
  at: { readonly cluster: string; readonly clusterId: string },
  taken: TakenOver,
): Promise<{ componentId: string; release: number }> {
  const { releaseId, release } = await releaseOf(trx, owner.id, taken);
  const { stackId, name, restart, replicas } = taken;
  const as = { spec: JSON.stringify(owner.spec), kind: owner.kind, replicas, restart, stopped: false, stable_release_id: releaseId };
  const known = await partIn(trx, owner.id, at.cluster);
  if (known === undefined) {
    const { id } = await trx
      .insertInto("components")
      .values({ ...as, stack_id: stackId, part_of: owner.id, cluster_id: at.clusterId, name })
      .returning("id")
      .executeTakeFirstOrThrow();
    return { componentId: id, release };
  }
  await trx
    .updateTable("components")
    .set({ ...as, held: false, delete_requested_at: null, memory: "{}", revision: sql`revision + 1`, updated_at: sql`now()` })
    .where("id", "=", known.id)
    .execute();
  return { componentId: known.id, release };
}

/** The component's release with this hash; its old number, unless another release has it by now. */
async function releaseOf(
  trx: Db,
  componentId: string,
  { number, hash, buildId, record }: TakenOver,
): Promise<{ releaseId: string; release: number }> {
  const rows = await trx.selectFrom("releases").select(["id", "number", "hash"]).where("component_id", "=", componentId).execute();
  const known = rows.find((row) => row.hash === hash);
  if (known !== undefined) return { releaseId: known.id, release: known.number };
  const release = rows.some((row) => row.number === number) ? Math.max(...rows.map((row) => row.number)) + 1 : number;
  const { content } = record;
  const { id } = await trx
    .insertInto("releases")
    .values({
      component_id: componentId,
      number: release,
      hash,
      artifact_digest: content.artifactDigest,
      build_id: buildId,
      config: JSON.stringify(content.config),
      secret_refs: JSON.stringify(content.secretRefs),
      spec: JSON.stringify(content.spec),
      runtime: JSON.stringify(content.runtime),
      reason: record.release.reason,
      created_by: record.release.createdBy,
      created_at: record.release.createdAt,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  await trx
    .updateTable("components")
    .set({ last_release: sql`greatest(last_release, ${release})` })
    .where("id", "=", componentId)
    .execute();
  return { releaseId: id, release };
}

/** The loopback ports at which siblings reach it now: their environment names them, so they must not change. */
export async function keepInternalPorts(
  trx: Db,
  componentId: string,
  clusterId: string,
  ports: readonly { readonly name: string; readonly internal: number }[],
): Promise<void> {
  for (const { name, internal } of ports)
    await sql`insert into internal_ports (component_id, cluster_id, name, port) values (${componentId}::uuid, ${clusterId}::uuid, ${name}, ${internal}) on conflict do nothing`.execute(
      trx,
    );
}

/** A command that runs once in a stack's life has run: its stack was there before. */
export async function rememberPostdeploy(trx: Db, stackId: string, record: ReleaseRecord): Promise<void> {
  if (record.content.runtime.hooks?.postdeploy === undefined) return;
  await sql`insert into hooks (stack_id, key, version_id, task_id) values (${stackId}::uuid, ${`postdeploy/${record.build?.context ?? "."}`}, null, null) on conflict do nothing`.execute(
    trx,
  );
}

export async function insertVersion(
  trx: Db,
  stackId: string,
  by: string,
  members: readonly { readonly componentId: string; readonly releaseId: string }[],
): Promise<void> {
  const { last_version: number } = await trx
    .updateTable("stacks")
    .set({ last_version: sql`last_version + 1`, revision: sql`revision + 1` })
    .where("id", "=", stackId)
    .returning("last_version")
    .executeTakeFirstOrThrow();
  const { id } = await trx
    .insertInto("stack_versions")
    .values({ stack_id: stackId, number, reason: "adopted", created_by: by })
    .returning("id")
    .executeTakeFirstOrThrow();
  for (const { componentId, releaseId } of members)
    await trx
      .insertInto("stack_version_members")
      .values({ version_id: id, component_id: componentId, rollout_id: null, release_id: releaseId })
      .execute();
}
