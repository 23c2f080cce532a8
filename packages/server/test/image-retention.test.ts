// Which images may go, over a real database: those that no kept release, no open rollout and no young build needs, and of a registry only what Berth pushed
// below its own prefix. The registry itself is real in e2e/docker/registry.test.ts; here it is what it answers.
import { createHash } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { silentLog } from "../src/db/log.ts";
import { transaction } from "../src/db/transaction.ts";
import { letGoOfBuilds } from "../src/resources/builds/let-go.ts";
import { defaultRetention, retain } from "../src/reconcile/retention.ts";
import { findReusable } from "../src/resources/builds/store.ts";
import { retryBuildIn } from "../src/resources/builds/retry.ts";
import { recordPushed } from "../src/resources/registries/pushed.ts";
import { insertRelease } from "../src/resources/releases/store.ts";
import { componentRow, plainBuild, plainRollout, plainSource } from "./rows.ts";
import { useServices } from "./services.ts";

const services = useServices();
const day = 86_400_000;
const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const prefix = "registry.example:5000/berth";

/** What the registry was asked to delete, and what it says to that. */
let asked: string[] = [];
let answer: "gone" | "stays" | { readonly trouble: string } = "gone";
beforeEach(async () => {
  asked = [];
  answer = "gone";
  await services().database.db.deleteFrom("pushed_images").execute();
  // As an installation that is older than what its images are kept for after a restore.
  await services()
    .database.db.updateTable("installation")
    .set({ raised_at: new Date(0) })
    .execute();
});

async function raisedAt(at: Date): Promise<void> {
  await services()
    .database.db.insertInto("installation")
    .values({ raised_at: at })
    .onConflict((conflict) => conflict.column("only_one").doUpdateSet({ raised_at: at }))
    .execute();
}

const retainIn = (ms: number) =>
  retain(
    {
      db: services().database.db,
      blobs: services().deps.blobs,
      buildLogs: services().deps.buildLogs,
      clock: () => new Date(Date.now() + ms),
      images: {
        log: silentLog,
        engines: () => [services().deps.places.engine("local")],
        registry: {
          prefix,
          open: () =>
            Promise.resolve({
              remove: (repository, digest) => {
                asked.push(`${repository}@${digest}`);
                return Promise.resolve(answer);
              },
              [Symbol.dispose]: () => undefined,
            }),
        },
      },
    },
    defaultRetention,
  );

/** A stack with builds 1 to `count`, each pushed, and what may be made of them. */
async function stackWith(stack: string, count: number) {
  const { db } = services().database;
  const spec: ComponentSpec = { ...defaultSpec("worker"), build: { context: "." } };
  const row = await componentRow(services(), stack, "app", spec);
  const name = (n: number): string => `berth/default/${stack}/source@${digestOf(`${stack} ${String(n)}`)}`;
  const builds: string[] = [];
  for (let n = 1; n <= count; n += 1) {
    const digest = digestOf(`${stack} ${String(n)}`);
    const source = { ...plainSource, stack_id: row.stack_id, digest: digestOf(`${stack} source ${String(n)}`) };
    const { id: sourceId } = await db.insertInto("sources").values(source).returning("id").executeTakeFirstOrThrow();
    await db.insertInto("artifacts").values({ digest, kind: "image", size: 1 }).execute();
    const reference = `registry.example:5000/${name(n)}`;
    await recordPushed(db, reference);
    const { id } = await db
      .insertInto("builds")
      .values({
        ...plainBuild,
        stack_id: row.stack_id,
        cluster_id: row.cluster_id,
        number: n,
        source_id: sourceId,
        source_digest: source.digest,
        build_key: `${stack} ${String(n)}`,
        artifact_digest: digest,
        artifact_reference: reference,
        ended_at: new Date(),
      })
      .returning("id")
      .executeTakeFirstOrThrow();
    builds.push(id);
  }
  await db.updateTable("stacks").set({ last_build: count }).where("id", "=", row.stack_id).execute();
  const build = (n: number): string => builds[n - 1] ?? "";
  const release = (n: number) =>
    insertRelease(db, {
      componentId: row.id,
      number: n,
      hash: `${stack} ${String(n)}`,
      artifactDigest: digestOf(`${stack} ${String(n)}`),
      buildId: build(n),
      config: {},
      secretRefs: {},
      spec,
      runtime: { command: { exec: ["app"] }, workdir: ".", env: {}, tools: [] },
      reason: "test",
      by: "admin",
    });
  const rollout = (n: number, trx = db) =>
    trx
      .insertInto("rollouts")
      .values({
        ...plainRollout,
        component_id: row.id,
        cluster_id: row.cluster_id,
        number: n,
        phase: "building",
        build_id: build(n),
        spec: JSON.stringify(spec),
        ended_at: null,
      })
      .execute();
  const artifacts = async (): Promise<(string | null)[]> =>
    (await db.selectFrom("builds").select("artifact_digest").where("stack_id", "=", row.stack_id).orderBy("number").execute()).map(
      (one) => one.artifact_digest,
    );
  const pushed = async (): Promise<number> =>
    (await db.selectFrom("pushed_images").select("digest").where("repository", "like", `%/${stack}/%`).execute()).length;
  return { ...row, name, build, release, rollout, artifacts, pushed };
}

test("what a kept release or an open rollout needs stays, what only a build names goes", async () => {
  const app = await stackWith("plain", 3);
  await app.release(1);
  await app.rollout(2);
  await retainIn(1_000);
  expect(asked).toEqual([]);
  await retainIn(day);
  expect(asked).toEqual([app.name(3)]);
  expect(await app.artifacts()).toEqual([digestOf("plain 1"), digestOf("plain 2"), null]);
  expect(await app.pushed()).toBe(2);
  await retainIn(day);
  expect(asked).toHaveLength(1);
});

test("a build whose image went is not used again: its source is built anew", async () => {
  const app = await stackWith("again", 1);
  await retainIn(day);
  const { db } = services().database;
  expect(await findReusable(db, app.stack_id, "again 1")).toBeUndefined();
  const stack = { id: app.stack_id, name: "again", teamId: "", cluster: "local", clusterId: app.cluster_id };
  const { team_id } = await db.selectFrom("stacks").select("team_id").where("id", "=", app.stack_id).executeTakeFirstOrThrow();
  const again = await transaction(db, (trx) => retryBuildIn(trx, services().call(), { ...stack, teamId: team_id } as never, app.build(1)));
  expect(again).not.toBe(app.build(1));
});

test("an image stays that somebody is about to deploy in this moment", async () => {
  const app = await stackWith("moment", 2);
  const { db } = services().database;
  const before = new Date(Date.now() + day);
  const found = Promise.withResolvers<void>();
  const cleaned = Promise.withResolvers<void>();
  const deploying = transaction(db, async (trx) => {
    expect((await findReusable(trx, app.stack_id, "moment 1"))?.id).toBe(app.build(1));
    found.resolve();
    await cleaned.promise;
    await app.rollout(1, trx);
  });
  await found.promise;
  await letGoOfBuilds(db, before);
  cleaned.resolve();
  await deploying;
  await letGoOfBuilds(db, before);
  expect(await app.artifacts()).toEqual([digestOf("moment 1"), null]);
});

test("a registry that deletes nothing is said to once, and not asked for the same again", async () => {
  const app = await stackWith("strict", 2);
  answer = "stays";
  await retainIn(day);
  expect(asked.toSorted()).toEqual([app.name(1), app.name(2)].toSorted());
  const { db } = services().database;
  const said = await db.selectFrom("events").select("params").where("code", "=", "registry_keeps_images").execute();
  expect(said).toEqual([{ params: { registry: "registry.example:5000" } }]);
  await retainIn(day);
  expect(asked).toHaveLength(2);
});

test("a registry in trouble is asked again the next time", async () => {
  const app = await stackWith("trouble", 1);
  answer = { trouble: "it answered 503" };
  await retainIn(day);
  expect(await app.pushed()).toBe(1);
  answer = "gone";
  await retainIn(day);
  expect(asked).toEqual([app.name(1), app.name(1)]);
  expect(await app.pushed()).toBe(0);
});

test("nothing is deleted beside Berth's own prefix, nor what is of before a restore", async () => {
  const { db } = services().database;
  await recordPushed(db, `registry.example:5000/berthold/web@${digestOf("x")}`);
  await recordPushed(db, `elsewhere.example/berth/web@${digestOf("x")}`);
  const app = await stackWith("old", 1);
  await raisedAt(new Date(Date.now() + 1_000));
  await retainIn(day);
  expect(asked).toEqual([]);
  await retainIn(60 * day);
  expect(asked).toEqual([app.name(1)]);
});
