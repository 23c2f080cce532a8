// A component in several clusters: its release goes through them in their order, with a pause between, and stops where it fails; what happens in one of them keeps no other waiting.
import type { Placement } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import { bury, openTombstone } from "../src/db/tombstones.ts";
import { transaction } from "../src/db/transaction.ts";
import { both, placed, second, useFleet, worker, type ClusterName } from "./fleet.ts";

const { services, states, make } = useFleet();

test("a release goes to the next cluster only when it is live in the one before and the pause has passed", async () => {
  const at = await make();
  await at.deploy(placed(both));
  await at.until(async () => (await at.went())["home"] === "succeeded", "the first cluster");
  const [, follower] = (await at.rollouts()).items.toSorted((one, other) => one.number - other.number);
  expect(follower).toMatchObject({ cluster: "west", phase: "waiting", number: 2 });
  await at.passAll();
  const began = at.now;
  // Nothing of it runs there yet, and it says for what it waits.
  expect(await at.running("west")).toEqual({});
  expect((await at.rollouts()).items.find(({ cluster }) => cluster === "west")).toMatchObject({
    step: { code: "cluster_pause", params: { cluster: "home" } },
  });
  await at.until(async () => Object.keys(await at.running("west")).length > 0, "the second cluster", second);
  expect(at.now - began).toBeGreaterThanOrEqual(29 * second);
  await at.over();
  expect(await at.went()).toEqual({ home: "succeeded", west: "succeeded" });
  expect([await at.running("home"), await at.running("west")]).toEqual([{ 1: 2 }, { 1: 1 }]);
  expect(await at.shown()).toMatchObject({
    state: "healthy",
    replicas: 3,
    ready: 3,
    release: { number: 1 },
    clusters: [
      { name: "home", state: "healthy", replicas: 2, ready: 2, release: 1, rollout: { phase: "succeeded" } },
      { name: "west", state: "healthy", replicas: 1, ready: 1, release: 1, rollout: { phase: "succeeded" } },
    ],
  });
  const { items } = await services().handlers.listInstances({ params: at.ref, query: {} }, services().call());
  expect(items.map(({ cluster }) => cluster).toSorted()).toEqual(["home", "home", "west"]);
  // One release, whatever the number of clusters.
  expect((await services().handlers.listReleases({ params: at.ref, query: {} }, services().call())).items).toHaveLength(1);
});

test("what fails in a cluster stops there: the one before keeps it, that one goes back, and none after begins; a retry goes on, a rollback takes it back", async () => {
  const at = await make();
  const three: Placement = { clusters: [...both.clusters, { name: "north", replicas: 1 }] };
  await at.deploy(placed(three));
  await at.over();
  await at.deploy(placed(three, { command: { exec: ["next"] } }));
  at.in("west").behave(await at.hash(2), { readyAfter: Infinity, exitAfter: 10, exitCode: 3 });
  await at.over();
  expect(await at.went()).toEqual({ home: "succeeded", west: "failed", north: "failed" });
  expect([await at.running("home"), await at.running("west"), await at.running("north")]).toEqual([{ 2: 2 }, { 1: 1 }, { 1: 1 }]);
  const { items } = await at.rollouts();
  const failed = items.find(({ cluster, phase }) => cluster === "west" && phase === "failed");
  expect(failed?.cause?.code).not.toBe("cluster_before_failed");
  expect(items.find(({ cluster, phase }) => cluster === "north" && phase === "failed")).toMatchObject({
    cause: { code: "cluster_before_failed", params: { cluster: "west", component: at.ref.component, rollout: failed?.number } },
  });
  expect((await at.shown()).clusters?.map(({ name, release }) => [name, release])).toEqual([
    ["home", 2],
    ["west", 1],
    ["north", 1],
  ]);
  const { handlers, call } = services();
  at.in("west").behave(await at.hash(2), {});
  await handlers.retryRollout({ params: { ...at.ref, rollout: failed?.number ?? 0 } }, call());
  await at.over();
  expect(await at.went()).toEqual({ home: "succeeded", west: "succeeded", north: "succeeded" });
  const { number } = (await at.shown()).release ?? { number: 0 };
  expect(number).toBeGreaterThan(1);
  expect([await at.running("home"), await at.running("west"), await at.running("north")]).toEqual([
    { [number]: 2 },
    { [number]: 1 },
    { [number]: 1 },
  ]);
  await handlers.rollbackComponent({ params: at.ref, body: { release: 1 } }, call());
  await at.over();
  expect([await at.running("home"), await at.running("west"), await at.running("north")]).toEqual([{ 1: 2 }, { 1: 1 }, { 1: 1 }]);
});

test("does not go on from a cluster that is not well any more after the pause", async () => {
  const at = await make();
  await at.deploy(placed(both));
  await at.until(async () => (await at.went())["home"] === "succeeded", "the first cluster");
  at.in("home").behave(await at.hash(1), { exitAfter: 1, exitCode: 1, readyAfter: Infinity });
  await at.over();
  expect(await at.went()).toEqual({ home: "succeeded", west: "failed" });
  expect((await at.rollouts()).items.find(({ cluster }) => cluster === "west")).toMatchObject({
    cause: { code: "cluster_before_unhealthy", params: { cluster: "home", wanted: 2 } },
  });
  expect(await at.running("west")).toEqual({});
});

test("a cluster that is away keeps its own work waiting, and nothing in the others", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  at.in("west").reachable = false;
  const since = new Date("2026-07-01T10:00:00Z");
  states().set("west", { connected: false, reason: "it is away", since });
  await at.deploy(placed({ ...both, pause: 0 }, { command: { exec: ["next"] } }));
  await at.until(async () => (await at.went())["home"] === "succeeded", "the first cluster");
  for (let count = 0; count < 20; count += 1) await at.passAll(60 * second);
  expect(await at.running("home")).toEqual({ 2: 2 });
  expect((await at.went())["west"]).toBe("preparing");
  // What is lost in a cluster that is there comes back meanwhile, and it is scaled there.
  const { handlers, call } = services();
  await handlers.scaleComponent({ params: at.ref, body: { replicas: 6 } }, call());
  await at.until(async () => (await at.shown()).clusters?.[0]?.ready === 4, "four in the first cluster");
  expect((await at.shown()).clusters).toMatchObject([
    { name: "home", ready: 4 },
    { name: "west", ready: 1, release: 1, unknownSince: since.toISOString() },
  ]);
  at.in("west").reachable = true;
  states().clear();
  await at.over();
  await at.until(async () => (await at.running("west"))[2] === 2, "two in the second");
  expect(await at.went()).toEqual({ home: "succeeded", west: "succeeded" });
});

test("is stopped, started and restarted in all of its clusters", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  const { handlers, call } = services();
  await handlers.stopComponent({ params: at.ref }, call());
  await at.until(async () => Object.keys(await at.running("home")).length + Object.keys(await at.running("west")).length === 0, "its end");
  expect((await at.shown()).state).toBe("stopped");
  await handlers.startComponent({ params: at.ref }, call());
  await at.until(async () => (await at.shown()).ready === 3, "three again");
  const ids = async () =>
    (
      await Promise.all(
        [...at.engines].map(async ([cluster, engine]) =>
          ((await engine.observe(at.ref, at.signal))?.instances ?? [])
            .filter(({ phase }) => phase !== "stopping")
            .map(({ id }) => `${cluster} ${id}`),
        ),
      )
    ).flat();
  const before = await ids();
  expect(await handlers.restartComponent({ params: at.ref }, call())).toMatchObject({ rollout: 3, further: [4] });
  await at.over();
  await at.passAll();
  const after = await ids();
  expect(after).toHaveLength(3);
  expect(after.filter((id) => before.includes(id))).toEqual([]);
});

test("gets its release in a cluster that is added, and leaves one that is taken off the list only when the others have it", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  const { handlers, call } = services();
  const onto = (...names: ClusterName[]) =>
    handlers.placeComponent({ params: at.ref, body: { placement: { clusters: names.map((name) => ({ name, replicas: 2 })) } } }, call());
  const ids = async () => ((await at.engine.observe(at.ref, at.signal))?.instances ?? []).map(({ id }) => id);
  const kept = await ids();
  at.in("north").behave(await at.hash(1), { readyAfter: 20 * second });
  expect(await onto("home", "north")).toMatchObject({ rollouts: [{ number: 3 }, { number: 4 }] });
  await at.until(async () => Object.keys(await at.running("north")).length > 0, "instances in the new cluster");
  // They are not ready: the old cluster goes on.
  for (let count = 0; count < 5; count += 1) {
    await at.passAll(second);
    expect(await at.running("west")).toEqual({ 1: 1 });
  }
  await at.over();
  await at.until(async () => !(await at.rows()).has("west"), "the end in the old cluster");
  expect([await at.running("home"), await at.running("west"), await at.running("north")]).toEqual([{ 1: 2 }, {}, { 1: 2 }]);
  // The same release: nothing was replaced where it ran.
  expect(await ids()).toEqual(kept);
  expect((await at.shown()).clusters?.map(({ name }) => name)).toEqual(["home", "north"]);
  await handlers.placeComponent({ params: at.ref, body: {} }, call());
  await at.over();
  await at.until(async () => (await at.rows()).size === 1, "one cluster");
  expect(await at.shown()).toMatchObject({ replicas: 4 });
  expect(await at.shown()).not.toHaveProperty("clusters");
});

test("keeps the cluster that it is to leave when it does not come up in the one that is added", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  at.in("north").behave(await at.hash(1), { readyAfter: Infinity, exitAfter: 10, exitCode: 3 });
  const { handlers, call } = services();
  const placement = { clusters: [{ name: "home", share: 2 }, { name: "north" }] };
  await handlers.placeComponent({ params: at.ref, body: { placement } }, call());
  await at.over();
  expect(await at.went()).toMatchObject({ home: "succeeded", north: "failed" });
  expect(await at.running("west")).toEqual({ 1: 1 });
});

test("what is on its way in a cluster that is taken off the list gives way, and what serves there stays until the others have the newer release", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  await at.deploy(placed({ ...both, pause: 0 }, { command: { exec: ["second"] } }));
  at.in("west").behave(await at.hash(2), { readyAfter: Infinity });
  await at.until(async () => (await at.running("west"))[2] !== undefined, "the second release in the second cluster");
  const instead: Placement = { clusters: [both.clusters[0]!, { name: "north", replicas: 1 }], pause: 0 };
  await at.deploy(placed(instead, { command: { exec: ["third"] } }));
  at.in("north").behave(await at.hash(3), { readyAfter: 20 * second });
  // What would have decided over clusters by the placement of now comes up after all.
  at.in("west").behave(await at.hash(2), {});
  expect(await at.went()).toMatchObject({ west: "superseded" });
  await at.until(async () => Object.keys(await at.running("north")).length > 0, "instances in the new cluster");
  for (let count = 0; count < 5; count += 1) {
    await at.passAll(second);
    expect((await at.running("west"))[1]).toBe(1);
  }
  await at.over();
  await at.until(async () => !(await at.rows()).has("west"), "the end in the old cluster");
  expect([await at.running("home"), await at.running("west"), await at.running("north")]).toEqual([{ 3: 2 }, {}, { 3: 1 }]);
});

test("a definition that places it anew while a release is on its way takes it out of no cluster before the others have anything of it", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  await at.deploy(placed({ ...both, pause: 0 }, { command: { exec: ["second"] } }));
  await at.hash(2);
  const instead: Placement = { clusters: [both.clusters[0]!, { name: "north", replicas: 1 }], pause: 0 };
  const body = placed(instead, { command: { exec: ["second"] } });
  await services().handlers.setComponent({ params: at.ref, body }, services().call());
  await at.over();
  for (let count = 0; count < 5; count += 1) await at.passAll(second);
  expect([await at.running("west"), await at.running("north")]).toEqual([{ 2: 1 }, {}]);
  await at.deploy(body);
  await at.over();
  await at.until(async () => !(await at.rows()).has("west"), "the end in the old cluster");
  expect(Object.keys(await at.running("north"))).toHaveLength(1);
});

test("nobody waits for a cluster that takes its time to let go of a stack, and nothing is placed there meanwhile", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  const { handlers, call } = services();
  const west = at.in("west");
  const forget = west.forget.bind(west);
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  west.forget = async (...given) => {
    asked.resolve();
    await answer.promise;
    return forget(...given);
  };
  await handlers.placeComponent({ params: at.ref, body: {} }, call());
  await at.over();
  const left = at.until(async () => !(await at.rows()).has("west"), "the end in the old cluster");
  await Promise.race([asked.promise, left]);
  expect(await at.isLeaving("west")).toBe(true);
  const db = { ...at.ref, component: "db" };
  await handlers.setComponent({ params: db, body: worker }, call());
  await expect(handlers.setComponent({ params: db, body: placed(both) }, call())).rejects.toMatchObject({
    code: "placement_refused",
    params: { component: "db", hint: "Try again in a moment." },
  });
  answer.resolve();
  await left;
  expect(await at.isLeaving("west")).toBe(false);
  await handlers.setComponent({ params: db, body: placed(both) }, call());
});

test("a decision that its stack leaves a cluster is taken back where another component is, and none of them goes by it", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  const { handlers, call, database } = services();
  await handlers.setComponent({ params: { ...at.ref, component: "db" }, body: placed(both) }, call());
  const { team_id: teamId } = await database.db
    .selectFrom("stacks")
    .select("team_id")
    .where("name", "=", at.ref.stack)
    .executeTakeFirstOrThrow();
  await transaction(database.db, (trx) => bury(trx, { kind: "stack", stack: at.ref.stack }, { cluster: "west", teamId }));
  await handlers.placeComponent({ params: at.ref, body: {} }, call());
  await at.over();
  await at.until(async () => !(await at.rows()).has("west"), "the end in the old cluster");
  expect([await at.running("west"), await at.isLeaving("west")]).toEqual([{}, false]);
});

test("a cluster that is gone for good is removed with what was to leave it, and who waited for that goes on", async () => {
  const at = await make();
  await at.deploy(placed({ clusters: [both.clusters[0]!, { name: "east", replicas: 1 }], pause: 0 }));
  await at.over();
  const { handlers, call, database } = services();
  const host = { endpoint: "ssh://east", home: "/var/lib/berth", socket: "/run/docker.sock", httpPort: 80, httpsPort: 443 };
  await database.db
    .updateTable("clusters")
    .set({ host: JSON.stringify(host) })
    .where("name", "=", "east")
    .execute();
  at.in("east").reachable = false;
  states().set("east", { connected: false, reason: "it is away", since: new Date(at.now) });
  const remove = (unreached: boolean) => handlers.removeCluster({ params: { cluster: "east" }, query: { unreached } }, call());
  // What is placed there is given up by nobody.
  await expect(remove(true)).rejects.toMatchObject({ code: "wrong_state" });
  const id = await at.stackId();
  await handlers.deleteStack({ params: { stack: at.ref.stack }, query: {} }, call());
  await at.passStack(id);
  for (let count = 0; count < 20; count += 1) await at.passAll(second);
  expect([...(await at.rows()).keys()]).toEqual(["home", "east"]);
  await expect(remove(false)).rejects.toMatchObject({ code: "wrong_state" });
  // Nor while it answers: then its parts go by themselves.
  states().set("east", { connected: true, since: new Date(at.now) });
  await expect(remove(true)).rejects.toMatchObject({ code: "wrong_state" });
  states().set("east", { connected: false, reason: "it is away", since: new Date(at.now) });
  await database.db.deleteFrom("due").execute();
  await remove(true);
  expect((await at.rows()).has("east")).toBe(false);
  const due = await database.db.selectFrom("due").select(["kind", "key", "cluster"]).orderBy("kind").execute();
  expect(due).toEqual([
    { kind: "component", key: at.componentId, cluster: "home" },
    { kind: "stack", key: id, cluster: "home" },
  ]);
  const grave = { kind: "component", ...at.ref } as const;
  expect(await openTombstone(database.db, "east", grave)).toBeUndefined();
  for (let count = 0; count < 5; count += 1) await at.passAll(second);
  await at.passStack(id);
  expect(await database.db.selectFrom("stacks").select("id").where("id", "=", id).execute()).toEqual([]);
});

test("is removed with its stack in all clusters, and its stack waits for one that is away", async () => {
  const at = await make();
  await at.deploy(placed({ ...both, pause: 0 }));
  await at.over();
  const { handlers, call, database } = services();
  await handlers.deleteStack({ params: { stack: at.ref.stack }, query: {} }, call());
  const id = await at.stackId();
  await at.passStack(id);
  at.in("west").reachable = false;
  for (let count = 0; count < 20; count += 1) await at.passAll(second);
  expect([Object.keys(await at.running("home")).length, (await at.rows()).size]).toEqual([0, 2]);
  expect(await database.db.selectFrom("components").select("id").where("id", "=", at.componentId).execute()).toHaveLength(1);
  at.in("west").reachable = true;
  for (let count = 0; count < 20; count += 1) await at.passAll(second);
  expect(await at.running("west")).toEqual({});
  await at.passStack(id);
  expect(await database.db.selectFrom("stacks").select("id").where("id", "=", id).execute()).toEqual([]);
});

test("says why it cannot be placed", async () => {
  const at = await make();
  await at.deploy(worker);
  const { handlers, call } = services();
  const place = (placement: Placement) => handlers.placeComponent({ params: at.ref, body: { placement } }, call());
  await expect(place({ clusters: [{ name: "home" }, { name: "west" }] })).rejects.toMatchObject({
    code: "wrong_state",
    params: { reason: "a rollout is under way" },
  });
  await at.over();
  await expect(place({ clusters: [{ name: "home" }, { name: "south" }] })).rejects.toMatchObject({
    code: "placement_refused",
    params: { reason: "there is no cluster south" },
  });
  await expect(place({ clusters: [{ name: "west" }] })).rejects.toMatchObject({ code: "placement_refused" });
  await expect(place({ clusters: [{ name: "home" }, { name: "local" }] })).rejects.toMatchObject({
    code: "placement_refused",
    params: { reason: expect.stringContaining("processes") as string },
  });
  await handlers.setComponent({ params: { ...at.ref, component: "db" }, body: worker }, call());
  const body = placed(both, { dependsOn: [{ component: "db", condition: "started" }] });
  await expect(handlers.setComponent({ params: at.ref, body }, call())).rejects.toMatchObject({
    code: "placement_refused",
    params: { reason: "it needs db, which does not run in cluster west" },
  });
});
