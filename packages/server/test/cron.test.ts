// Cron components over a real database with a clock in the test's hand: each instant runs once, however many servers look, and what did not run is told.
import { describe, expect, test } from "vitest";
import { defaultSpec, type ComponentSpec, type Schedule } from "@berth/contract/spec.ts";
import { transaction } from "../src/db/transaction.ts";
import { reconcileCron } from "../src/reconcile/cron.ts";
import { insertRelease } from "../src/resources/releases/store.ts";
import { updateTask } from "../src/resources/tasks/store.ts";
import { componentRow } from "./rows.ts";
import { useServices } from "./services.ts";

const services = useServices();
const at = (text: string): Date => new Date(`2026-05-01T${text}Z`);
let made = 0;

/** A released cron component; `run` looks at it at an instant of that day. */
async function cron(schedule: Partial<Schedule> = {}) {
  const {
    database: { db },
    handlers,
    call,
  } = services();
  const stack = `cron-${(made += 1)}`;
  const spec: ComponentSpec = { ...defaultSpec("cron"), build: { context: "." }, schedule: { cron: "0 * * * *", ...schedule } };
  const { id } = await componentRow(services(), stack, "job", spec);
  const digest = `sha256:${String(made).padStart(64, "0")}`;
  await db.insertInto("artifacts").values({ digest, kind: "bundle", size: 1 }).execute();
  const release = await insertRelease(db, {
    componentId: id,
    number: 1,
    hash: `hash-${made}`,
    artifactDigest: digest,
    buildId: null,
    config: {},
    secretRefs: {},
    spec,
    runtime: { command: { exec: ["job"] }, workdir: ".", env: {}, tools: [] },
    reason: "test",
    by: "admin",
  });
  await db.updateTable("components").set({ stable_release_id: release }).where("id", "=", id).execute();
  const tasks = async () =>
    (await handlers.listTasks({ params: { stack }, query: {} }, call())).items
      .toReversed()
      .map((task) => `${task.scheduledFor?.slice(11, 16) ?? ""} ${task.phase}`);
  const rows = () => db.selectFrom("tasks").selectAll().where("component_id", "=", id).orderBy("number").execute();
  return {
    id,
    stack,
    tasks,
    rows,
    run: (time: string, on = db) =>
      reconcileCron(
        () => at(time),
        id,
        (work) => transaction(on, work),
      ),
  };
}
const dueTasks = async (ids: readonly string[]): Promise<string[]> =>
  (
    await services()
      .database.db.selectFrom("due")
      .select("key")
      .where("kind", "=", "task")
      .where("key", "in", [...ids])
      .execute()
  ).map((row) => row.key);

describe("an instant", () => {
  test("is waited for, then makes one task that a loop will take", async () => {
    const job = await cron();
    expect(await job.run("00:10:00")).toEqual({ again: at("01:00:00") });
    expect(await job.tasks()).toEqual([]);
    expect(await job.run("00:59:59")).toEqual({ again: at("01:00:00") });
    expect(await job.run("01:00:00")).toEqual({ again: at("02:00:00") });
    expect(await job.run("01:00:01")).toEqual({ again: at("02:00:00") });
    expect(await job.tasks()).toEqual(["01:00 queued"]);
    expect(await dueTasks((await job.rows()).map((row) => row.id))).toHaveLength(1);
  });

  test("runs once when several servers look at the same time", async () => {
    const job = await cron({ overlap: "allow" });
    await job.run("00:10:00");
    const other = services().database.open();
    try {
      await Promise.all(Array.from({ length: 8 }, (_, n) => job.run("01:00:00", n % 2 === 0 ? services().database.db : other.db)));
    } finally {
      await other.close();
    }
    expect(await job.tasks()).toEqual(["01:00 queued"]);
  });

  test("runs once even when a server that died never wrote down the next", async () => {
    const job = await cron({ overlap: "allow" });
    await job.run("00:10:00");
    await job.run("01:00:00");
    await services()
      .database.db.updateTable("components")
      .set({ next_run_at: at("01:00:00") })
      .where("id", "=", job.id)
      .execute();
    expect(await job.run("01:00:05")).toEqual({ again: at("02:00:00") });
    expect(await job.tasks()).toEqual(["01:00 queued"]);
  });
});

describe("while the run before goes on", () => {
  const second = async (overlap: "forbid" | "allow" | "replace") => {
    const job = await cron({ overlap });
    await job.run("00:10:00");
    await job.run("01:00:00");
    const [first] = await job.rows();
    if (first === undefined) throw new Error("no run");
    await updateTask(services().database.db, first.id, { phase: "running", startedAt: at("01:00:01") });
    await job.run("02:00:00");
    return { job, first: first.id };
  };

  test("`forbid` leaves the next out, with an event that says why", async () => {
    const { job } = await second("forbid");
    expect(await job.tasks()).toEqual(["01:00 running", "02:00 missed"]);
    const { handlers, call } = services();
    const events = (await handlers.listEvents({ query: { stack: job.stack } }, call())).items;
    expect(events.find((event) => event.code === "cron_missed")?.params).toMatchObject({
      scheduledFor: at("02:00:00").toISOString(),
      because: "the run before still goes on",
    });
  });

  test("`allow` starts the next beside it", async () => {
    expect(await (await second("allow")).job.tasks()).toEqual(["01:00 running", "02:00 queued"]);
  });

  test("`replace` cancels it and starts the next", async () => {
    const { job, first } = await second("replace");
    expect(await job.tasks()).toEqual(["01:00 running", "02:00 queued"]);
    expect((await job.rows()).map((row) => row.cancel_requested_by)).toEqual(["the next run", null]);
    expect(await dueTasks([first])).toEqual([first]);
  });
});

describe("instants that nobody saw", () => {
  test("are missed, but the last one runs when it is not too late for it", async () => {
    const job = await cron();
    await job.run("00:10:00");
    expect(await job.run("04:00:30")).toEqual({ again: at("05:00:00") });
    expect(await job.tasks()).toEqual(["01:00 missed", "02:00 missed", "03:00 missed", "04:00 queued"]);
  });

  test("are all missed when it is too late", async () => {
    const job = await cron({ startingDeadline: 60_000 });
    await job.run("00:10:00");
    await job.run("02:30:00");
    expect(await job.tasks()).toEqual(["01:00 missed", "02:00 missed"]);
  });

  test("count for nothing while the component is stopped", async () => {
    const { handlers, call } = services();
    const job = await cron();
    await job.run("00:10:00");
    await handlers.stopComponent({ params: { stack: job.stack, component: "job" } }, call());
    expect(await job.run("02:30:00")).toEqual({});
    expect((await handlers.showComponent({ params: { stack: job.stack, component: "job" } }, call())).body.nextRunAt).toBeUndefined();
    await handlers.startComponent({ params: { stack: job.stack, component: "job" } }, call());
    expect(await job.run("03:30:00")).toEqual({ again: at("04:00:00") });
    expect(await job.tasks()).toEqual([]);
  });
});
