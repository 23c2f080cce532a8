// Retention after random histories, over a real database and blob folder: whatever was built, released, rolled back, left open or shared before, it never takes away what a
// kept release, an open rollout, a waiting task or a build needs (promise 5), and it leaves nothing behind that nobody needs.
import { Readable } from "node:stream";
import fc from "fast-check";
import { sql } from "kysely";
import { expect, test } from "vitest";
import { defaultSpec } from "@berth/contract/spec.ts";
import { defaultRetention, retain, type RetentionLimits } from "../src/reconcile/retention.ts";
import { insertRelease } from "../src/resources/releases/store.ts";
import { plainBuild, plainRollout, plainSource, plainTask } from "./rows.ts";
import { useServices } from "./services.ts";

const services = useServices();
const histories = 40;
const hour = 3_600_000;
const limits: RetentionLimits = {
  ...defaultRetention,
  releases: 1,
  rollouts: 1,
  builds: 1,
  tasks: 1,
  events: hour,
  blobGrace: hour,
  blobsAfterRestore: 0,
};
const spec = { ...defaultSpec("worker"), build: { context: "." } };

/** Chooses among what is there, the oldest as often as all others: that is what retention is after. */
const number = fc.oneof(fc.constant(0), fc.nat(1000));
const op = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("build" as const),
      stack: fc.constantFrom(0, 0, 1),
      content: fc.nat(9),
      phase: fc.constantFrom("succeeded", "succeeded", "succeeded", "failed", "running", "queued"),
      log: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("release" as const), component: fc.nat(1), build: number }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("serve" as const), component: fc.nat(1), release: number }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("rollout" as const),
      component: fc.nat(1),
      release: number,
      from: number,
      build: number,
      ended: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("end" as const), component: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("task" as const), component: fc.nat(1), release: number, ended: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("retain" as const) }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

test("never takes away what something kept needs, whatever happened before", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 20, maxLength: 60 }), async (ops) => {
      const world = await newWorld();
      for (const one of [...ops, { do: "retain" } as const]) {
        await apply(world, one);
        if (one.do === "retain") await holds(world);
      }
    }),
    { numRuns: histories, endOnFailure: true },
  );
}, 300_000);

interface World {
  readonly stacks: readonly { id: string; cluster: string }[];
  readonly components: readonly { id: string; stack: number }[];
  count: number;
  /** What each rollout was made with: the database itself sets a reference to null when its row goes. */ readonly made: Map<
    string,
    { readonly release: string | null; readonly from: string | null; readonly build: string | null }
  >;
}

/** Two stacks with a component each. Everything of the history before is gone. */
async function newWorld(): Promise<World> {
  const {
    database: { db },
    deps,
  } = services();
  await sql`truncate stacks, artifacts, sources, builds, releases, rollouts, tasks, components, events cascade`.execute(db);
  for await (const blob of deps.blobs.list()) await deps.blobs.remove(blob.digest);
  const cluster = (await db.selectFrom("clusters").select("id").where("name", "=", "local").executeTakeFirstOrThrow()).id;
  const team = (await db.selectFrom("teams").select("id").executeTakeFirstOrThrow()).id;
  const stacks = [];
  for (const name of ["one", "two"])
    stacks.push({
      id: (await db.insertInto("stacks").values({ name, team_id: team, cluster_id: cluster }).returning("id").executeTakeFirstOrThrow()).id,
      cluster,
    });
  const components = [];
  for (const [stack, name] of [
    [0, "web"],
    [1, "web"],
  ] as const)
    components.push({
      stack,
      id: (
        await db
          .insertInto("components")
          .values({
            stack_id: stacks[stack]?.id ?? "",
            name,
            kind: "worker",
            spec: JSON.stringify(spec),
            replicas: 1,
            stable_release_id: null,
          })
          .returning("id")
          .executeTakeFirstOrThrow()
      ).id,
    });
  return { stacks, components, count: 0, made: new Map() };
}

async function put(text: string): Promise<string> {
  return (await services().deps.blobs.put(Readable.from([Buffer.from(text)]))).digest;
}

async function apply(world: World, one: Op | { readonly do: "retain" }): Promise<void> {
  const {
    database: { db },
    deps,
  } = services();
  const next = (world.count += 1);
  const component = world.components["component" in one ? one.component : 0] ?? world.components[0];
  if (component === undefined) throw new Error("there are components");
  const cluster = world.stacks[component.stack]?.cluster ?? "";
  const builds = await db
    .selectFrom("builds")
    .selectAll()
    .where("stack_id", "=", world.stacks[component.stack]?.id ?? "")
    .where("phase", "=", "succeeded")
    .orderBy("number")
    .execute();
  const releases = await db.selectFrom("releases").select("id").where("component_id", "=", component.id).orderBy("number").execute();
  const pick = <T>(items: readonly T[], at: number): T | undefined => items[at % Math.max(items.length, 1)];
  switch (one.do) {
    case "build": {
      const stack = world.stacks[one.stack]?.id ?? "";
      const digest = await put(`source ${one.content}`);
      const { id: source } = await db
        .insertInto("sources")
        .values({ ...plainSource, stack_id: stack, digest })
        .returning("id")
        .executeTakeFirstOrThrow();
      const artifact = one.phase === "succeeded" ? await put(`artifact ${one.content}`) : null;
      if (artifact !== null)
        await db
          .insertInto("artifacts")
          .values({ digest: artifact, kind: "bundle", size: 1 })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      const log = one.log && !["running", "queued"].includes(one.phase) ? await put(`log ${next}`) : null;
      await db
        .insertInto("builds")
        .values({
          ...plainBuild,
          stack_id: stack,
          cluster_id: cluster,
          number: next,
          source_id: source,
          source_digest: digest,
          build_key: `k${next}`,
          phase: one.phase as "succeeded",
          artifact_digest: artifact,
          log_digest: log,
          ended_at: ["running", "queued"].includes(one.phase) ? null : new Date(),
        })
        .execute();
      return;
    }
    case "release": {
      const build = pick(builds, one.build);
      if (build?.artifact_digest == null) return;
      await insertRelease(db, {
        componentId: component.id,
        number: next,
        hash: `h${next}`,
        artifactDigest: build.artifact_digest,
        buildId: build.id,
        config: {},
        secretRefs: {},
        spec,
        runtime: { command: { exec: ["x"] }, workdir: ".", env: {}, tools: [] },
        reason: "test",
        by: "admin",
      });
      return;
    }
    case "serve": {
      const release = pick(releases, one.release);
      if (release !== undefined)
        await db.updateTable("components").set({ stable_release_id: release.id }).where("id", "=", component.id).execute();
      return;
    }
    case "rollout": {
      if (!one.ended) await endOpen(component.id);
      const made = {
        release: pick(releases, one.release)?.id ?? null,
        from: pick(releases, one.from)?.id ?? null,
        build: pick(builds, one.build)?.id ?? null,
      };
      const { id } = await db
        .insertInto("rollouts")
        .values({
          ...plainRollout,
          component_id: component.id,
          cluster_id: cluster,
          number: next,
          phase: one.ended ? "succeeded" : "rolling",
          build_id: made.build,
          release_id: made.release,
          from_release_id: made.from,
          spec: JSON.stringify(spec),
          ended_at: one.ended ? new Date() : null,
        })
        .returning("id")
        .executeTakeFirstOrThrow();
      world.made.set(id, made);
      return;
    }
    case "end":
      await endOpen(component.id);
      return;
    case "task": {
      const release = pick(releases, one.release);
      if (release !== undefined)
        await db
          .insertInto("tasks")
          .values({
            ...plainTask,
            stack_id: world.stacks[component.stack]?.id ?? "",
            component_id: component.id,
            cluster_id: cluster,
            number: next,
            release_id: release.id,
            phase: one.ended ? "succeeded" : "queued",
            ended_at: one.ended ? new Date() : null,
          })
          .execute();
      return;
    }
    case "retain":
      // Everything that is there by now is older than every grace.
      await retain({ db, blobs: deps.blobs, buildLogs: deps.buildLogs, clock: () => new Date(Date.now() + 24 * hour) }, limits);
      return;
    default:
      throw new Error(`unknown ${JSON.stringify(one satisfies never)}`);
  }
}

async function endOpen(component: string): Promise<void> {
  await services()
    .database.db.updateTable("rollouts")
    .set({ ended_at: new Date(), phase: "failed" })
    .where("component_id", "=", component)
    .where("ended_at", "is", null)
    .execute();
}

/** What must be there, and what must not, right after a retention. */
async function holds(world: World): Promise<void> {
  const {
    database: { db },
    deps,
  } = services();
  const stored = new Set<string>();
  for await (const blob of deps.blobs.list()) stored.add(blob.digest);
  const [releases, builds, sources, components, rollouts, tasks] = await Promise.all([
    db.selectFrom("releases").selectAll().execute(),
    db.selectFrom("builds").selectAll().execute(),
    db.selectFrom("sources").selectAll().execute(),
    db.selectFrom("components").selectAll().execute(),
    db.selectFrom("rollouts").selectAll().where("ended_at", "is", null).execute(),
    db.selectFrom("tasks").selectAll().where("ended_at", "is", null).execute(),
  ]);
  const has = new Set(releases.map((release) => release.id));
  for (const release of releases) expect(stored, `artifact of release ${release.number}`).toContain(release.artifact_digest);
  for (const component of components)
    if (component.stable_release_id !== null) expect(has, "the release that serves").toContain(component.stable_release_id);
  for (const rollout of rollouts)
    expect(
      { release: rollout.release_id, from: rollout.from_release_id, build: rollout.build_id },
      "what an open rollout was made with",
    ).toEqual(world.made.get(rollout.id));
  for (const task of tasks) expect(has, "the release of a waiting task").toContain(task.release_id);
  const built = new Set(builds.map((build) => build.id));
  for (const release of releases) expect(built, `build of release ${release.number}`).toContain(release.build_id);
  for (const build of builds) {
    for (const digest of [build.source_digest, build.artifact_digest, build.log_digest])
      if (digest !== null) expect(stored, `bytes of build ${build.number}`).toContain(digest);
    expect(sources.map((source) => source.id)).toContain(build.source_id);
  }
  for (const source of sources) expect(stored).toContain(source.digest);
  // And nothing more: no bytes that nobody names, and no more of anything than was asked for.
  const named = new Set([
    ...builds.flatMap((build) => [build.source_digest, build.artifact_digest, build.log_digest]),
    ...releases.map((release) => release.artifact_digest),
    ...sources.map((source) => source.digest),
  ]);
  for (const digest of stored) expect(named, "bytes that are kept").toContain(digest);
  for (const component of world.components) {
    const own = releases.filter((release) => release.component_id === component.id).toSorted((a, b) => b.number - a.number);
    const pinned = new Set([
      components.find((row) => row.id === component.id)?.stable_release_id,
      ...rollouts.flatMap((rollout) => [rollout.release_id, rollout.from_release_id]),
      ...tasks.map((task) => task.release_id),
    ]);
    for (const release of own.slice(limits.releases)) expect(pinned, `release ${release.number} beyond the newest`).toContain(release.id);
  }
}
