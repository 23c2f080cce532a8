// What is asked of a component in several clusters counts all of them: what it still needs is kept, and answers say where something runs.
import type { Placement } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import { silentLog } from "../src/db/log.ts";
import type { Difference } from "../src/engines/engine.ts";
import { defaultRetention, retain } from "../src/reconcile/retention.ts";
import { recordPushed } from "../src/resources/registries/pushed.ts";
import { servingImages } from "../src/server/images/running.ts";
import { both, placed, second, useFleet, type Fleet } from "./fleet.ts";

const { services, states, make } = useFleet();
const atOnce: Placement = { ...both, pause: 0 };
const token = { TOKEN: { secret: "token", version: 1 } };

async function running(spec = placed(atOnce)): Promise<Fleet> {
  const at = await make();
  await at.deploy(spec);
  await at.over();
  await at.passAll();
  return at;
}

/** The second release is live in the first cluster and failed in the other one, which serves the first. `first` and `then`: what differs in their definitions. */
async function apart(first: Parameters<typeof placed>[1] = {}, then: Parameters<typeof placed>[1] = {}): Promise<Fleet> {
  const at = await make();
  const { handlers, call } = services();
  await handlers.setSecret({ params: { stack: at.ref.stack, secret: "token" }, body: { value: "one" } }, call());
  await at.deploy(placed(atOnce, first), "succeeded", first.secrets === undefined ? {} : token);
  await at.over();
  await at.deploy(placed(atOnce, { command: { exec: ["next"] }, ...then }));
  at.in("west").behave(await at.hash(2), { readyAfter: Infinity, exitAfter: 10, exitCode: 3 });
  await at.over();
  expect((await at.shown()).clusters?.map(({ name, release }) => [name, release])).toEqual([
    ["home", 2],
    ["west", 1],
  ]);
  return at;
}

async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  const pieces: string[] = [];
  for await (const piece of stream) pieces.push(String(piece));
  return pieces.join("");
}

const instancesOf = async (at: Fleet, cluster: string): Promise<string[]> =>
  (await services().handlers.listInstances({ params: at.ref, query: {} }, services().call())).items
    .filter((one) => one.cluster === cluster)
    .map(({ id }) => id);

test("the release that a cluster still serves is kept with its image, however many there are after it", async () => {
  const at = await apart();
  const { database, deps } = services();
  const release = (number: number) =>
    database.db
      .selectFrom("releases")
      .select(["id", "artifact_digest"])
      .where("component_id", "=", at.componentId)
      .where("number", "=", number)
      .executeTakeFirst();
  const kept = (await release(1))?.artifact_digest ?? "";
  const repository = "registry.example:5000/berth/default/placed/app";
  await recordPushed(database.db, `${repository}@${kept}`);
  // West takes none of them: it is away, and what waits for it gives way.
  at.in("west").reachable = false;
  for (const word of ["third", "fourth"]) {
    await at.deploy(placed(atOnce, { command: { exec: [word] } }));
    await at.until(async () => (await at.went())["home"] === "succeeded", word);
  }
  const removed: string[] = [];
  const tidy = () =>
    retain(
      {
        db: database.db,
        blobs: deps.blobs,
        buildLogs: deps.buildLogs,
        clock: () => new Date(Date.now() + 86_400_000),
        images: {
          log: silentLog,
          engines: () => [],
          registry: {
            prefix: "registry.example:5000/berth",
            open: () =>
              Promise.resolve({
                remove: (of, digest) => {
                  removed.push(`${of}@${digest}`);
                  return Promise.resolve("gone" as const);
                },
                [Symbol.dispose]: () => undefined,
              }),
          },
        },
      },
      { ...defaultRetention, releases: 1, builds: 1, rollouts: 1 },
    );
  await tidy();
  // The second one served nowhere any more.
  expect([await release(1), await release(2)]).toEqual([expect.objectContaining({ artifact_digest: kept }), undefined]);
  expect(removed).not.toContain(`berth/default/placed/app@${kept}`);
  at.in("west").reachable = true;
  await at.over();
  expect(await at.went()).toEqual({ home: "succeeded", west: "succeeded" });
  await tidy();
  expect(await release(1)).toBeUndefined();
});

test("each release that serves in some cluster is told with its image, and once", async () => {
  const at = await apart();
  const { db } = services().database;
  const told = async () => {
    // The engine in memory starts bundles alone.
    await db.updateTable("artifacts").set({ kind: "image" }).execute();
    const serving = (await servingImages(db)).filter(({ stack }) => stack === at.ref.stack).map(({ release }) => release);
    await db.updateTable("artifacts").set({ kind: "bundle" }).execute();
    return serving;
  };
  expect(await told()).toEqual([2, 1]);
  at.in("west").behave(await at.hash(2), {});
  const { items } = await at.rollouts();
  const failed = items.find(({ cluster, phase }) => cluster === "west" && phase === "failed")?.number ?? 0;
  await services().handlers.retryRollout({ params: { ...at.ref, rollout: failed } }, services().call());
  await at.over();
  expect(await told()).toHaveLength(1);
});

test("a secret stays while the release of one cluster uses it, also when the definition does not any more", async () => {
  const at = await apart({ secrets: { TOKEN: "token" } });
  const { handlers, call } = services();
  const params = { stack: at.ref.stack, secret: "token" };
  const secret = async () => (await handlers.listSecrets({ params: { stack: at.ref.stack }, query: {} }, call())).items[0];
  expect(await secret()).toMatchObject({ usedBy: [at.ref.component], pendingIn: [] });
  await expect(handlers.deleteSecret({ params }, call())).rejects.toMatchObject({ code: "wrong_state" });
  await handlers.setSecret({ params, body: { value: "two" } }, call());
  expect(await secret()).toMatchObject({ usedBy: [at.ref.component], pendingIn: [at.ref.component] });
  at.in("west").behave(await at.hash(2), {});
  await at.deploy(placed(atOnce, { command: { exec: ["third"] } }));
  await at.over();
  expect(await secret()).toMatchObject({ usedBy: [] });
  await handlers.deleteSecret({ params }, call());
});

test("a terminal and a port lead to the cluster that is named, and what may be where nobody answers is not called absent", async () => {
  const at = await running(placed(atOnce, { ports: [{ name: "main", port: 3000, protocol: "tcp" }] }));
  const { handlers, call } = services();
  const command = JSON.stringify({ exec: ["hostname"] });
  const open = (query: { cluster?: string; instance?: string }) =>
    handlers.openTerminal({ params: at.ref, query: { command, ...query } }, call());
  const forward = (query: { cluster?: string }) => handlers.openPort({ params: at.ref, query }, call());
  const audited = async (action: string) =>
    (await handlers.listAudit({ query: { object: `component:${at.ref.stack}/${at.ref.component}`, limit: 500 } }, call())).items
      .filter((entry) => entry.action === action)
      .map(({ params }) => params);
  const [west] = await instancesOf(at, "west");
  const session = await open({ cluster: "west" });
  expect([await textOf(session.stream), await session.exit]).toEqual(["hostname\n", { exitCode: 0 }]);
  expect(await audited("terminal.open")).toMatchObject([{ instance: west, cluster: "west" }]);
  (await forward({ cluster: "west" })).destroy();
  expect(await audited("port.open")).toMatchObject([{ instance: west, cluster: "west" }]);
  for (const ask of [open, forward])
    await expect(ask({ cluster: "north" })).rejects.toMatchObject({
      code: "not_found",
      params: { kind: "cluster", name: "north", hint: `${at.ref.component} runs in home, west.` },
    });
  await expect(open({ instance: "none" })).rejects.toMatchObject({ code: "not_found", params: { kind: "instance" } });
  at.in("west").reachable = false;
  for (const query of [{ instance: "none" }, { cluster: "west" }])
    await expect(open(query)).rejects.toMatchObject({ failure: { code: "cluster_unreachable", params: { cluster: "west" } } });
  await open({});
  expect(await audited("terminal.open")).toContainEqual(expect.objectContaining({ cluster: "home" }));
  at.in("west").reachable = true;
  await handlers.stopComponent({ params: at.ref }, call());
  await at.until(async () => Object.keys(await at.running("west")).length === 0, "its end");
  await expect(open({ cluster: "west" })).rejects.toMatchObject({ code: "wrong_state" });
});

test("what is used is told with its cluster, and which cluster does not answer", async () => {
  const at = await running();
  const { handlers, call } = services();
  const usage = () => handlers.showUsage({ params: { stack: at.ref.stack } }, call());
  const where = async () => (await usage()).items[0]?.instances.map(({ cluster }) => cluster).toSorted();
  expect([await where(), (await usage()).away]).toEqual([["home", "home", "west"], undefined]);
  at.in("west").reachable = false;
  expect([await where(), (await usage()).away]).toEqual([["home", "home"], ["west"]]);
  at.in("west").reachable = true;
  states().set("west", { connected: false, reason: "it is away", since: new Date(at.now) });
  expect([await where(), (await usage()).away]).toEqual([["home", "home"], ["west"]]);
  at.in("home").reachable = false;
  await expect(usage()).rejects.toMatchObject({ failure: { code: "cluster_unreachable" } });
});

test("lines of all clusters come in order of time, each with its cluster, or of the one that is named", async () => {
  const at = await running();
  const { handlers, call } = services();
  const [home = ""] = await instancesOf(at, "home");
  const [west = ""] = await instancesOf(at, "west");
  for (const [cluster, instance, text] of [
    ["home", home, "first"],
    ["west", west, "second"],
    ["home", home, "third"],
  ] as const) {
    at.in(cluster).write(at.ref, instance, text);
    at.now += second;
  }
  const read = async (lines: AsyncIterable<{ readonly data?: unknown }>): Promise<unknown[]> => {
    const seen: unknown[] = [];
    for await (const { data } of lines) {
      const { cluster, component, text } = data as { cluster?: string; component?: string; text: string };
      seen.push([cluster, component, text]);
    }
    return seen;
  };
  const all = [
    ["home", "app", "first"],
    ["west", "app", "second"],
    ["home", "app", "third"],
  ];
  const stack = { stack: at.ref.stack };
  expect(await read(await handlers.readLogs({ params: at.ref, query: {} }, call()))).toEqual(all);
  expect(await read(await handlers.readStackLogs({ params: stack, query: {} }, call()))).toEqual(all);
  expect(await read(await handlers.readLogs({ params: at.ref, query: { cluster: "west" } }, call()))).toEqual([all[1]]);
  expect(await read(await handlers.readStackLogs({ params: stack, query: { cluster: "home" } }, call()))).toEqual([all[0], all[2]]);
  const nowhere = { code: "not_found", params: { kind: "cluster", name: "north" } };
  await expect(handlers.readLogs({ params: at.ref, query: { cluster: "north" } }, call())).rejects.toMatchObject(nowhere);
  await expect(handlers.readStackLogs({ params: stack, query: { cluster: "north" } }, call())).rejects.toMatchObject(nowhere);
});

test("what somebody changed by hand is shown of each cluster, and counted", async () => {
  const at = await running();
  const { handlers, call } = services();
  const image: Difference = { object: "Deployment app--a", path: "spec.image", wanted: "a", found: "b", by: "kubectl" };
  await handlers.updateStack({ params: { stack: at.ref.stack }, body: { drift: "report" } }, call());
  const changed: Difference[] = [image];
  Object.assign(at.in("west"), { drift: () => Promise.resolve({ differences: changed, turning: false }) });
  await at.passAll();
  const show = () => handlers.showDrift({ params: { stack: at.ref.stack }, query: {} }, call());
  expect(await show()).toMatchObject({
    cluster: "home",
    others: [{ name: "west" }],
    differences: [{ component: "app", cluster: "west", ...image }],
  });
  expect((await at.shown()).warnings).toEqual([{ code: "drifted", params: { count: "1" } }]);
  const since = new Date(at.now);
  states().set("west", { connected: false, reason: "it is away", since });
  expect((await show()).others).toEqual([{ name: "west", unknownSince: since.toISOString() }]);
  changed.pop();
  await at.passAll();
  expect((await show()).differences).toEqual([]);
  expect(await at.shown()).not.toHaveProperty("warnings");
});

test("its objects are shown of each cluster, in the release that it serves there", async () => {
  const at = await apart({ command: { exec: ["before"] } });
  const { handlers, call } = services();
  const show = (cluster?: string) =>
    handlers.showManifests({ params: { stack: at.ref.stack }, query: cluster === undefined ? {} : { cluster } }, call());
  const commands = (answer: Awaited<ReturnType<typeof show>>) =>
    answer.objects.map(({ cluster, body }) => [cluster, /before|next/.exec(JSON.stringify(body))?.[0]]);
  expect(commands(await show())).toEqual([
    ["home", "next"],
    ["west", "before"],
  ]);
  const west = await show("west");
  expect([west.cluster, commands(west)]).toEqual(["west", [["west", "before"]]]);
  await expect(show("north")).rejects.toMatchObject({
    code: "not_found",
    params: { kind: "cluster", hint: `stack ${at.ref.stack} runs in home, west.` },
  });
});

test("a quota counts the instances of each cluster once", async () => {
  const at = await running();
  const { handlers, call } = services();
  const params = { stack: at.ref.stack };
  await handlers.setQuota({ params, body: { instances: 4 } }, call());
  expect((await handlers.showQuota({ params }, call())).used).toMatchObject({ instances: 3 });
  await handlers.scaleComponent({ params: at.ref, body: { replicas: 4 } }, call());
  await expect(handlers.scaleComponent({ params: at.ref, body: { replicas: 5 } }, call())).rejects.toMatchObject({
    code: "quota_exceeded",
    params: { what: "instances", used: "4", asked: "1", limit: "4" },
  });
  await handlers.stopComponent({ params: at.ref }, call());
  expect((await handlers.showQuota({ params }, call())).used).toMatchObject({ instances: 0 });
});

test("what runs in every cluster is taken over into a database that was lost, each cluster with the release that it serves", async () => {
  const at = await apart({ secrets: { TOKEN: "token" } });
  await at.passAll();
  const { database, handlers, call } = services();
  const { db } = database;
  const runs = async () => [
    await at.running("home"),
    await at.running("west"),
    await instancesOf(at, "home"),
    await instancesOf(at, "west"),
  ];
  const before = await runs();
  const stackId = await at.stackId();
  const lose = async () => {
    await db.updateTable("components").set({ stable_release_id: null }).where("stack_id", "=", stackId).execute();
    await db.deleteFrom("components").where("stack_id", "=", stackId).where("part_of", "is not", null).execute();
    await db.deleteFrom("components").where("stack_id", "=", stackId).execute();
    await db.deleteFrom("stacks").where("id", "=", stackId).execute();
  };
  await lose();
  const adopt = () => handlers.adopt({ body: { stacks: [at.ref.stack] } }, call());
  const summary = (items: readonly { cluster: string; release: number }[]) => items.map(({ cluster, release }) => [cluster, release]);
  // Nothing can be said of the part while nobody can look where its component is.
  states().set("home", { connected: false, reason: "it is away", since: new Date(at.now) });
  expect(await adopt()).toMatchObject({
    adopted: [],
    left: [{ cluster: "west", possible: false, notes: [{ code: "adopt_part", params: { component: "app", home: "home" } }] }],
    away: ["home"],
  });
  states().clear();
  const taken = await adopt();
  expect([summary(taken.adopted), taken.left]).toEqual([
    [
      ["home", 2],
      ["west", 1],
    ],
    [],
  ]);
  at.componentId = (await at.row()).id;
  for (let count = 0; count < 5; count += 1) await at.passAll(second);
  expect(await runs()).toEqual(before);
  expect(await at.shown()).toMatchObject({
    state: "healthy",
    clusters: [
      { name: "home", release: 2, replicas: 2, ready: 2 },
      { name: "west", release: 1, replicas: 1, ready: 1 },
    ],
  });
  expect((await handlers.listSecrets({ params: { stack: at.ref.stack }, query: {} }, call())).items).toMatchObject([
    { name: "token", usedBy: ["app"] },
  ]);
  expect((await handlers.showAdoption({}, call())).candidates.filter(({ stack }) => stack === at.ref.stack)).toEqual([]);
  // What is taken away is taken away everywhere.
  await handlers.deleteComponent({ params: at.ref }, call());
  await at.until(async () => Object.keys(await at.running("west")).length === 0, "the end in the other cluster");
});
