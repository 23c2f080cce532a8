// The places of builds, over a real database: a build holds one while it works, and gives it back when it only keeps what came out of it.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { scheduleBuilds } from "../src/reconcile/build.ts";
import { transaction } from "../src/db/transaction.ts";
import { plainBuild, plainSource } from "./rows.ts";
import { useServices } from "./services.ts";

const services = useServices();
const plan = JSON.stringify({ steps: [{ name: "install" }, { name: "build" }] });
const done = [
  { name: "install", state: "cached" },
  { name: "build", state: "finished" },
];

interface Wanted {
  readonly phase: "queued" | "running";
  readonly plan?: string;
  readonly steps?: readonly { readonly name: string; readonly state: string }[];
}

/** Makes these builds, all of one stack, and answers which of the queued ones get a place. */
async function chosenOf(name: string, builds: readonly Wanted[], total: number): Promise<number[]> {
  const {
    database: { db },
    handlers,
    call,
  } = services();
  await handlers.createStack({ body: { name } }, call());
  const stack = await db.selectFrom("stacks").select(["id", "cluster_id"]).where("name", "=", name).executeTakeFirstOrThrow();
  await db.updateTable("builds").set({ phase: "succeeded" }).where("phase", "in", ["queued", "running"]).execute();
  const source = await db
    .insertInto("sources")
    .values({ ...plainSource, stack_id: stack.id, digest: `sha256:${randomUUID()}` })
    .returning(["id", "digest"])
    .executeTakeFirstOrThrow();
  for (const [index, build] of builds.entries())
    await db
      .insertInto("builds")
      .values({
        ...plainBuild,
        stack_id: stack.id,
        cluster_id: stack.cluster_id,
        number: index + 1,
        source_id: source.id,
        source_digest: source.digest,
        build_key: randomUUID(),
        options: "{}",
        phase: build.phase,
        plan: build.plan ?? null,
        steps: JSON.stringify(build.steps ?? []),
        queued_at: new Date(Date.UTC(2026, 0, 1, 0, index)),
      })
      .execute();
  await scheduleBuilds({ clock: () => new Date(), limits: { total, perStack: total } }, "local", (work) => transaction(db, work));
  const running = await db
    .selectFrom("builds")
    .select("number")
    .where("stack_id", "=", stack.id)
    .where("phase", "=", "running")
    .orderBy("number")
    .execute();
  return running.map((row) => row.number).filter((number) => builds[number - 1]?.phase === "queued");
}

test("a build that works holds its place, whatever it has done so far", async () => {
  const working: Wanted[] = [
    { phase: "running" },
    { phase: "running", plan },
    { phase: "running", plan, steps: done.slice(0, 1) },
    {
      phase: "running",
      plan,
      steps: [
        { name: "install", state: "finished" },
        { name: "build", state: "started" },
      ],
    },
    {
      phase: "running",
      plan,
      steps: [
        { name: "install", state: "finished" },
        { name: "build", state: "failed" },
      ],
    },
    { phase: "running", plan: JSON.stringify({ steps: [] }) },
  ];
  for (const [index, build] of working.entries())
    expect(await chosenOf(`works-${String(index)}`, [build, { phase: "queued" }], 1), JSON.stringify(build)).toEqual([]);
});

test("one whose steps have all ended well gives its place to the next", async () => {
  expect(await chosenOf("keeps", [{ phase: "running", plan, steps: done }, { phase: "queued" }, { phase: "queued" }], 1)).toEqual([2]);
});

test("no more than there are places, so that a slow disk does not let them pile up", async () => {
  const keeping: Wanted = { phase: "running", plan, steps: done };
  expect(await chosenOf("piles", [keeping, keeping, keeping, { phase: "queued" }, { phase: "queued" }], 2)).toEqual([4]);
  expect(await chosenOf("piles-up", [keeping, keeping, keeping, keeping, { phase: "queued" }], 2)).toEqual([]);
});
