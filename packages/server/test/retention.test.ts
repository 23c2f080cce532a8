// Retention over a real database and blob folder: what is old goes, with its bytes; what a kept release, an open rollout or a running build needs stays (promise 5).
import { createHash, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { retain, type RetentionLimits } from "../src/reconcile/retention.ts";
import { insertRelease } from "../src/resources/releases/store.ts";
import { openSnapshot } from "../src/db/snapshot.ts";
import { componentRow, plainBuild, plainRollout, plainSource, plainTask } from "./rows.ts";
import { useServices } from "./services.ts";

const services = useServices();
const day = 86_400_000;
const limits: RetentionLimits = {
  releases: 2,
  rollouts: 2,
  builds: 2,
  tasks: 2,
  events: 7 * day,
  tombstones: 7 * day,
  blobGrace: 3_600_000,
  blobsAfterRestore: 30 * day,
};
const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** As the clock shows it `ms` from now; everything that the test stored is then that old. */
const retainIn = (ms: number) =>
  retain(
    {
      db: services().database.db,
      blobs: services().deps.blobs,
      buildLogs: services().deps.buildLogs,
      clock: () => new Date(Date.now() + ms),
    },
    limits,
  );

async function put(text: string): Promise<string> {
  return (await services().deps.blobs.put(Readable.from([Buffer.from(text)]))).digest;
}

/** A component with so many builds, each released: build n has source `<name> source n`, log `<name> log n` and artifact `<name> artifact n`. */
async function component(stack: string, builds: number) {
  const { db } = services().database;
  const spec: ComponentSpec = { ...defaultSpec("worker"), build: { context: "." } };
  const row = await componentRow(services(), stack, "app", spec);
  const ids: { release: string; build: string }[] = [];
  for (let n = 1; n <= builds; n += 1) {
    const [source, log, artifact] = [
      await put(`${stack} source ${n}`),
      await put(`${stack} log ${n}`),
      await put(`${stack} artifact ${n}`),
    ];
    const { id: sourceId } = await db
      .insertInto("sources")
      .values({ ...plainSource, stack_id: row.stack_id, digest: source })
      .returning("id")
      .executeTakeFirstOrThrow();
    await db.insertInto("artifacts").values({ digest: artifact, kind: "bundle", size: 1 }).execute();
    const { id: build } = await db
      .insertInto("builds")
      .values({
        ...plainBuild,
        stack_id: row.stack_id,
        cluster_id: row.cluster_id,
        number: n,
        source_id: sourceId,
        source_digest: source,
        build_key: `${stack} ${n}`,
        artifact_digest: artifact,
        log_digest: log,
      })
      .returning("id")
      .executeTakeFirstOrThrow();
    const release = await insertRelease(db, {
      componentId: row.id,
      number: n,
      hash: `${stack} ${n}`,
      artifactDigest: artifact,
      buildId: build,
      config: {},
      secretRefs: {},
      spec,
      runtime: { command: { exec: ["app"] }, workdir: ".", env: {}, tools: [] },
      reason: "test",
      by: "admin",
    });
    ids.push({ release, build });
  }
  const kept = async () => ({
    releases: (await db.selectFrom("releases").select("number").where("component_id", "=", row.id).orderBy("number").execute()).map(
      (one) => one.number,
    ),
    builds: (await db.selectFrom("builds").select("number").where("stack_id", "=", row.stack_id).orderBy("number").execute()).map(
      (one) => one.number,
    ),
    blobs: await blobsOf(stack, builds),
  });
  const release = (n: number): string => ids[n - 1]?.release ?? "";
  const rollout = async (number: number, values: { release?: number; from?: number; ended: boolean }): Promise<void> => {
    await db
      .insertInto("rollouts")
      .values({
        ...plainRollout,
        component_id: row.id,
        cluster_id: row.cluster_id,
        number,
        phase: values.ended ? "succeeded" : "rolling",
        release_id: values.release === undefined ? null : release(values.release),
        from_release_id: values.from === undefined ? null : release(values.from),
        spec: JSON.stringify(spec),
        ended_at: values.ended ? new Date() : null,
      })
      .execute();
  };
  const serve = (n: number) =>
    db
      .updateTable("components")
      .set({ stable_release_id: release(n) })
      .where("id", "=", row.id)
      .execute();
  return { ...row, kept, rollout, serve, release };
}

/** Which of them are still stored, as `artifact 1`. */
async function blobsOf(stack: string, count: number): Promise<string[]> {
  const found: string[] = [];
  for (const what of ["artifact", "log", "source"])
    for (let n = 1; n <= count; n += 1)
      if ((await services().deps.blobs.has(digestOf(`${stack} ${what} ${n}`))) !== undefined) found.push(`${what} ${n}`);
  return found;
}

test("old releases go with their builds, sources, logs and artifacts; the newest and the one that serves stay whole", async () => {
  const app = await component("plain", 6);
  await app.serve(1);
  await retainIn(day);
  expect(await app.kept()).toEqual({
    releases: [1, 5, 6],
    builds: [1, 5, 6],
    blobs: ["artifact 1", "artifact 5", "artifact 6", "log 1", "log 5", "log 6", "source 1", "source 5", "source 6"],
  });
  await retainIn(day);
  expect((await app.kept()).releases).toEqual([1, 5, 6]);
});

test("what an open rollout brings, and what it would go back to, stays", async () => {
  const app = await component("open", 6);
  await app.serve(6);
  await app.rollout(1, { release: 2, from: 3, ended: false });
  await retainIn(day);
  expect(await app.kept()).toMatchObject({ releases: [2, 3, 5, 6], builds: [2, 3, 5, 6] });
});

test("what a task is about to run stays; ended tasks and rollouts beyond their number go", async () => {
  const app = await component("jobs", 4);
  await app.serve(4);
  const {
    database: { db },
  } = services();
  const task = async (number: number, phase: "queued" | "succeeded"): Promise<void> => {
    await db
      .insertInto("tasks")
      .values({
        ...plainTask,
        stack_id: app.stack_id,
        component_id: app.id,
        cluster_id: app.cluster_id,
        number,
        release_id: app.release(1),
        phase,
        ended_at: phase === "queued" ? null : new Date(),
      })
      .execute();
  };
  await task(1, "queued");
  for (let n = 2; n <= 5; n += 1) await task(n, "succeeded");
  for (let n = 1; n <= 4; n += 1) await app.rollout(n, { release: n, ended: true });
  await retainIn(day);
  expect(
    (await db.selectFrom("tasks").select("number").where("component_id", "=", app.id).orderBy("number").execute()).map((row) => row.number),
  ).toEqual([1, 4, 5]);
  expect(
    (await db.selectFrom("rollouts").select("number").where("component_id", "=", app.id).orderBy("number").execute()).map(
      (row) => row.number,
    ),
  ).toEqual([3, 4]);
  expect((await app.kept()).releases).toEqual([1, 3, 4]);
});

test("bytes that two stacks share stay as long as one of them needs them, and a fresh upload that nothing names yet stays", async () => {
  const {
    database: { db },
  } = services();
  const first = await component("share-a", 3);
  const second = await component("share-b", 1);
  await first.serve(3);
  await second.serve(1);
  await db
    .updateTable("releases")
    .set({ artifact_digest: digestOf("share-a artifact 1") })
    .where("component_id", "=", second.id)
    .execute();
  const young = await put("just uploaded");
  await retainIn(day / 100);
  expect(await services().deps.blobs.has(young)).toBeDefined();
  await retainIn(day);
  expect(await first.kept()).toMatchObject({
    releases: [2, 3],
    blobs: ["artifact 1", "artifact 2", "artifact 3", "log 2", "log 3", "source 2", "source 3"],
  });
  expect(await services().deps.blobs.has(young)).toBeUndefined();
});

test("a build that waits or runs is never taken away, however many came after it", async () => {
  const {
    database: { db },
  } = services();
  const app = await component("busy", 5);
  await app.serve(5);
  await db.deleteFrom("releases").where("component_id", "=", app.id).where("number", "<", 5).execute();
  await db
    .updateTable("builds")
    .set({ phase: "running", artifact_digest: null })
    .where("stack_id", "=", app.stack_id)
    .where("number", "=", 1)
    .execute();
  await retainIn(day);
  const kept = await app.kept();
  expect(kept.builds).toEqual([1, 4, 5]);
  expect(kept.blobs).toContain("source 1");
});

test("the file of a build's log goes when the blob store has had it for a while, and at once with nobody to ask for it", async () => {
  const {
    database: { db },
    deps: { buildLogs },
  } = services();
  const app = await component("logged", 2);
  const [ended, running] = await db.selectFrom("builds").select("id").where("stack_id", "=", app.stack_id).orderBy("number").execute();
  await db
    .updateTable("builds")
    .set({ ended_at: new Date() })
    .where("id", "=", ended?.id ?? "")
    .execute();
  await db
    .updateTable("builds")
    .set({ phase: "running", log_digest: null, artifact_digest: null })
    .where("id", "=", running?.id ?? "")
    .execute();
  const gone = randomUUID();
  for (const id of [ended?.id ?? "", running?.id ?? "", gone])
    await buildLogs.append(id, [{ at: new Date().toISOString(), stream: "stdout", text: "a line" }]);
  const files = async (): Promise<string[]> => (await buildLogs.files()).map((file) => file.build).toSorted();
  await retainIn(60_000);
  expect(await files()).toEqual([ended?.id, running?.id, gone].toSorted());
  await retainIn(11 * 60_000);
  expect(await files()).toEqual([running?.id]);
});

test("events go after their time", async () => {
  const events = async (): Promise<number> => (await services().database.db.selectFrom("events").select("at").execute()).length;
  const before = await events();
  expect(before).toBeGreaterThan(0);
  await retainIn(6 * day);
  expect(await events()).toBe(before);
  await retainIn(8 * day);
  expect(await events()).toBe(0);
});

test("bytes that nothing names stay while a backup is written, and those from before a restore until there was time to adopt what runs of them", async () => {
  const { database, deps } = services();
  const { db } = database;
  const unnamed = await put("nothing names it");
  await db.deleteFrom("installation").execute();
  await db
    .insertInto("installation")
    .values({ raised_at: new Date(0) })
    .execute();
  const snapshot = await openSnapshot(database.address);
  await retainIn(day);
  expect(await deps.blobs.has(unnamed)).toBeDefined();
  await snapshot.close();
  await db
    .updateTable("installation")
    .set({ raised_at: new Date(Date.now() + 60_000) })
    .execute();
  await retainIn(29 * day);
  expect(await deps.blobs.has(unnamed)).toBeDefined();
  await retainIn(31 * day);
  expect(await deps.blobs.has(unnamed)).toBeUndefined();
});
