// Retention over a real database and blob folder: what is old goes, with its bytes; what a kept release, an open rollout or a running build needs stays (promise 5).
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { retain, type RetentionLimits } from "../src/reconcile/retention.ts";
import { insertRelease } from "../src/resources/releases/store.ts";
import { useServices } from "./services.ts";

const services = useServices();
const day = 86_400_000;
const limits: RetentionLimits = { releases: 2, rollouts: 2, builds: 2, tasks: 2, events: 7 * day, blobGrace: 3_600_000 };
const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** As the clock shows it `ms` from now; everything that the test stored is then that old. */
const retainIn = (ms: number) => retain({ db: services().database.db, blobs: services().deps.blobs, clock: () => new Date(Date.now() + ms) }, limits);

async function put(text: string): Promise<string> {
  return (await services().deps.blobs.put(Readable.from([Buffer.from(text)]))).digest;
}

/** A component with so many builds, each released: build n has source `<name> source n`, log `<name> log n` and artifact `<name> artifact n`. */
async function component(stack: string, builds: number) {
  const { database: { db }, handlers, call } = services();
  const spec: ComponentSpec = { ...defaultSpec("worker"), build: { context: "." } };
  await handlers.createStack({ body: { name: stack } }, call());
  await handlers.setComponent({ params: { stack, component: "app" }, body: spec }, call());
  const row = await db.selectFrom("components as c").innerJoin("stacks as s", "s.id", "c.stack_id").select(["c.id", "s.id as stack_id", "s.cluster_id"]).where("s.name", "=", stack).executeTakeFirstOrThrow();
  const ids: { release: string; build: string }[] = [];
  for (let n = 1; n <= builds; n += 1) {
    const [source, log, artifact] = [await put(`${stack} source ${n}`), await put(`${stack} log ${n}`), await put(`${stack} artifact ${n}`)];
    const { id: sourceId } = await db.insertInto("sources").values({ stack_id: row.stack_id, principal: "p", kind: "upload", digest: source, size: 1, files: 1, url: null, ref: null, revision: null, author: null, message: null, dirty: null, created_by: "admin" }).returning("id").executeTakeFirstOrThrow();
    await db.insertInto("artifacts").values({ digest: artifact, kind: "bundle", size: 1 }).execute();
    const { id: build } = await db.insertInto("builds").values({ stack_id: row.stack_id, cluster_id: row.cluster_id, number: n, source_id: sourceId, source_digest: source, context: ".", build_key: `${stack} ${n}`, phase: "succeeded", artifact_digest: artifact, log_digest: log, cancel_requested_by: null, created_by: "admin", plan: null, cause: null }).returning("id").executeTakeFirstOrThrow();
    const release = await insertRelease(db, { componentId: row.id, number: n, hash: `${stack} ${n}`, artifactDigest: artifact, buildId: build, config: {}, secretRefs: {}, spec, runtime: { command: { exec: ["app"] }, workdir: ".", env: {}, tools: [] }, reason: "test", by: "admin" });
    ids.push({ release, build });
  }
  const kept = async () => ({
    releases: (await db.selectFrom("releases").select("number").where("component_id", "=", row.id).orderBy("number").execute()).map((one) => one.number),
    builds: (await db.selectFrom("builds").select("number").where("stack_id", "=", row.stack_id).orderBy("number").execute()).map((one) => one.number),
    blobs: await blobsOf(stack, builds),
  });
  const release = (n: number): string => ids[n - 1]?.release ?? "";
  const rollout = async (number: number, values: { release?: number; from?: number; ended: boolean }): Promise<void> => {
    await db.insertInto("rollouts").values({
      component_id: row.id, cluster_id: row.cluster_id, number, version_id: null, phase: values.ended ? "succeeded" : "rolling", reason: "test", build_id: null, release_id: values.release === undefined ? null : release(values.release), from_release_id: values.from === undefined ? null : release(values.from),
      spec: JSON.stringify(spec), config: "{}", secret_refs: "{}", abort_requested_by: null, ends_as: null, created_by: "admin", ended_at: values.ended ? new Date() : null, step: null, verified: null, cause: null,
    }).execute();
  };
  const serve = (n: number) => db.updateTable("components").set({ stable_release_id: release(n) }).where("id", "=", row.id).execute();
  return { ...row, kept, rollout, serve, release };
}

/** Which of them are still stored, as `artifact 1`. */
async function blobsOf(stack: string, count: number): Promise<string[]> {
  const found: string[] = [];
  for (const what of ["artifact", "log", "source"]) for (let n = 1; n <= count; n += 1) if ((await services().deps.blobs.has(digestOf(`${stack} ${what} ${n}`))) !== undefined) found.push(`${what} ${n}`);
  return found;
}

test("old releases go with their builds, sources, logs and artifacts; the newest and the one that serves stay whole", async () => {
  const app = await component("plain", 6);
  await app.serve(1);
  await retainIn(day);
  expect(await app.kept()).toEqual({ releases: [1, 5, 6], builds: [1, 5, 6], blobs: ["artifact 1", "artifact 5", "artifact 6", "log 1", "log 5", "log 6", "source 1", "source 5", "source 6"] });
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
  const { database: { db } } = services();
  const task = async (number: number, phase: "queued" | "succeeded"): Promise<void> => {
    await db.insertInto("tasks").values({ stack_id: app.stack_id, component_id: app.id, cluster_id: app.cluster_id, number, release_id: app.release(1), command: JSON.stringify({ exec: ["x"] }), trigger: "user", scheduled_for: null, deadline: 1000, created_by: "admin", phase, ended_at: phase === "queued" ? null : new Date(), exit_code: null, signal: null, cancel_requested_by: null, cause: null }).execute();
  };
  await task(1, "queued");
  for (let n = 2; n <= 5; n += 1) await task(n, "succeeded");
  for (let n = 1; n <= 4; n += 1) await app.rollout(n, { release: n, ended: true });
  await retainIn(day);
  expect((await db.selectFrom("tasks").select("number").where("component_id", "=", app.id).orderBy("number").execute()).map((row) => row.number)).toEqual([1, 4, 5]);
  expect((await db.selectFrom("rollouts").select("number").where("component_id", "=", app.id).orderBy("number").execute()).map((row) => row.number)).toEqual([3, 4]);
  expect((await app.kept()).releases).toEqual([1, 3, 4]);
});

test("bytes that two stacks share stay as long as one of them needs them, and a fresh upload that nothing names yet stays", async () => {
  const { database: { db } } = services();
  const first = await component("share-a", 3);
  const second = await component("share-b", 1);
  await first.serve(3);
  await second.serve(1);
  await db.updateTable("releases").set({ artifact_digest: digestOf("share-a artifact 1") }).where("component_id", "=", second.id).execute();
  const young = await put("just uploaded");
  await retainIn(day / 100);
  expect(await services().deps.blobs.has(young)).toBeDefined();
  await retainIn(day);
  expect(await first.kept()).toMatchObject({ releases: [2, 3], blobs: ["artifact 1", "artifact 2", "artifact 3", "log 2", "log 3", "source 2", "source 3"] });
  expect(await services().deps.blobs.has(young)).toBeUndefined();
});

test("a build that waits or runs is never taken away, however many came after it", async () => {
  const { database: { db } } = services();
  const app = await component("busy", 5);
  await app.serve(5);
  await db.deleteFrom("releases").where("component_id", "=", app.id).where("number", "<", 5).execute();
  await db.updateTable("builds").set({ phase: "running", artifact_digest: null }).where("stack_id", "=", app.stack_id).where("number", "=", 1).execute();
  await retainIn(day);
  const kept = await app.kept();
  expect(kept.builds).toEqual([1, 4, 5]);
  expect(kept.blobs).toContain("source 1");
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
