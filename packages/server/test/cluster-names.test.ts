// A cluster that is called otherwise: people say and see the new name, the one before goes on leading there, and nothing of what runs or is under way takes note of it.
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { beforeAll, describe, expect, it } from "vitest";
import { claimCluster } from "../src/db/clusters.ts";
import { appendEvent } from "../src/db/events.ts";
import { silentLog } from "../src/db/log.ts";
import { transaction } from "../src/db/transaction.ts";
import { createViews } from "../src/db/views.ts";
import { openTombstone, bury } from "../src/db/tombstones.ts";
import type { Engine } from "../src/engines/engine.ts";
import { EngineFailure } from "../src/engines/engine.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import { FakeTraffic } from "../src/engines/fake-traffic.ts";
import { claim, enqueue } from "../src/reconcile/queue.ts";
import { openAdded, putAdded } from "../src/resources/clusters/store.ts";
import { createHandlers } from "../src/resources/handlers.ts";
import { findStack } from "../src/resources/stacks/store.ts";
import { Scene } from "./scene.ts";
import { plain, useServices, type PlainHandlers } from "./services.ts";

const engines = new Map<string, FakeEngine>();
const services = useServices((deps) => ({
  places: { ...deps.places, standard: "home", engine: (cluster): Engine => engines.get(cluster) ?? deps.places.engine(cluster) },
}));
const db = () => services().database.db;

beforeAll(async () => {
  await db()
    .insertInto("clusters")
    .values(["home", "west"].map((name) => ({ name, engine: "kubernetes" as const, domain: `${name}.test` })))
    .execute();
});

let made = 0;
const unique = (): string => `named-${String((made += 1))}`;
const rename = (cluster: string, name: string) =>
  services().handlers.changeCluster({ params: { cluster }, body: { name } }, services().call());
const show = (cluster: string) => services().handlers.showCluster({ params: { cluster } }, services().call());
/** A Docker host that nobody connects. */
async function add(name = unique()): Promise<string> {
  await services().handlers.addCluster({ body: { name, endpoint: "unix:///run/elsewhere.sock" } }, services().call());
  return name;
}
const remove = (cluster: string) => services().handlers.removeCluster({ params: { cluster }, query: {} }, services().call());

/** The same services as another server of the database has them, with what it keeps in memory. */
async function onAnotherServer(work: (handlers: PlainHandlers) => Promise<void>): Promise<void> {
  const views = createViews({ address: services().database.address, log: silentLog });
  const facts = { id: () => "test", version: "0.0.0", routerUrl: () => "http://127.0.0.1:8080", doctor: () => Promise.resolve([]) };
  try {
    await work(plain(createHandlers({ ...services().deps, views }, facts)));
  } finally {
    await views.close();
  }
}

const placedIn = (second: string): ComponentSpec => ({
  ...defaultSpec("worker"),
  build: { context: "." },
  command: { exec: ["app"] },
  gracePeriod: 1,
  replicas: 3,
  placement: {
    clusters: [
      { name: "home", replicas: 2 },
      { name: second, replicas: 1 },
    ],
  },
});

/** A worker in both clusters, with an engine for each. */
class TwoClusters extends Scene {
  readonly #west: FakeEngine;

  constructor() {
    super(services());
    this.#west = new FakeEngine({ now: () => this.now, cluster: "west" });
    const traffic = new FakeTraffic(this.#west);
    engines.set("home", this.engine).set("west", this.#west);
    const places = {
      engine: (cluster: string) => this.in(cluster),
      traffic: (cluster: string) => (cluster === "west" ? traffic : this.traffic),
      standard: "home",
      owns: () => true,
    };
    Object.assign(this.deps, { places });
  }

  /** Loops ask for it by the name in its row alone. */
  in(cluster: string): FakeEngine {
    const engine = engines.get(cluster);
    if (engine === undefined) throw new Error(`nobody drives ${cluster}`);
    return engine;
  }

  async over(): Promise<void> {
    for (let count = 0; count < 400; count += 1) {
      const { items } = await services().handlers.listRollouts({ params: this.ref, query: {} }, services().call());
      if (items.every(({ endedAt }) => endedAt !== undefined)) return;
      const parts = await db().selectFrom("components").select("id").where("part_of", "=", this.componentId).execute();
      for (const { id } of [{ id: this.componentId }, ...parts]) await this.pass(undefined, id);
      this.now += 1_000;
    }
    throw new Error("the rollouts did not end");
  }

  /** Ids, releases and restarts of all that runs. */
  async runs(): Promise<readonly string[]> {
    const all = ["home", "west"].map(async (cluster) => {
      const seen = await this.in(cluster).observe(this.ref, this.signal);
      return (seen?.instances ?? []).map(
        ({ id, releaseNumber, restarts }) => `${cluster} ${id} ${String(releaseNumber)} ${String(restarts)}`,
      );
    });
    return (await Promise.all(all)).flat().toSorted();
  }
}

describe("what runs in a cluster that is renamed", () => {
  it("goes on as it is, is shown with the new name by every server at once, and takes releases by either name", async () => {
    const at = new TwoClusters();
    await at.create();
    await at.deploy(placedIn("west"));
    await at.over();
    const ran = await at.runs();
    expect(ran).toHaveLength(3);
    const { handlers, call } = services();
    const { spec: before } = await at.row();
    await onAnotherServer(async (other) => {
      // Both have it in memory.
      for (const one of [handlers, other])
        expect((await one.showComponent({ params: at.ref }, call())).body.clusters).toMatchObject([{ name: "home" }, { name: "west" }]);

      expect(await rename("west", "rhine")).toMatchObject({ name: "rhine", formerNames: ["west"] });

      for (const one of [handlers, other]) {
        const { body } = await one.showComponent({ params: at.ref }, call());
        expect(body.clusters).toMatchObject([{ name: "home" }, { name: "rhine", ready: 1 }]);
        expect(body.spec.placement?.clusters.map(({ name }) => name)).toEqual(["home", "rhine"]);
        const { items } = await one.listRollouts({ params: at.ref, query: {} }, call());
        expect(items.map(({ cluster }) => cluster).toSorted()).toEqual(["home", "rhine"]);
        for (const cluster of ["west", "rhine"]) {
          expect(await one.showCluster({ params: { cluster } }, call())).toMatchObject({ name: "rhine", stacks: 1 });
          const found = await one.listStacks({ query: { cluster, search: at.ref.stack } }, call());
          expect(found.items.map(({ name }) => name)).toEqual([at.ref.stack]);
        }
      }
    });
    // A look of each loop, and the same definition again, by both names: nothing begins, and nothing is another one.
    const number = (await at.rollout()).number;
    for (const name of ["west", "rhine"]) {
      await handlers.setComponent({ params: at.ref, body: placedIn(name) }, call());
      expect((await at.row()).spec).toEqual(before);
      const { placement = { clusters: [] } } = placedIn(name);
      expect(await handlers.placeComponent({ params: at.ref, body: { placement } }, call())).toMatchObject({
        rollouts: [],
        unchanged: [at.ref.component],
      });
    }
    await at.over();
    expect((await at.rollout()).number).toBe(number);
    expect(await at.runs()).toEqual(ran);

    await at.deploy({ ...placedIn("rhine"), command: { exec: ["app", "again"] } });
    await at.over();
    const now = await at.runs();
    expect(now).toHaveLength(3);
    for (const one of now) expect(ran).not.toContain(one);
    expect(await rename("rhine", "west")).toMatchObject({ name: "west", formerNames: ["rhine"] });
    expect((await show("rhine")).name).toBe("west");
  });

  it("is written of by whoever began before the rename as by those who began after it", async () => {
    const cluster = await add();
    const stack = unique();
    await services().handlers.createStack({ body: { name: stack, cluster } }, services().call());
    const called = unique();
    const grave = { kind: "stack", stack } as const;
    await transaction(db(), async (trx) => {
      const read = await findStack(trx, stack);
      if (read === undefined) throw new Error("no stack");
      await rename(cluster, called);
      // Its name is as this one read it before.
      await enqueue(trx, { kind: "test-names", key: stack, cluster: read.cluster });
      await bury(trx, grave, { cluster: read.cluster, teamId: read.team_id });
    });
    const after = await findStack(db(), stack);
    expect(await openTombstone(db(), after?.cluster ?? "", grave)).toMatchObject({ cluster: after?.cluster });
    const taken = await claim(db(), { kinds: ["test-names"], clusters: [after?.cluster ?? ""], limit: 9, holder: "test", leaseMs: 1_000 });
    expect(taken.map(({ key }) => key)).toEqual([stack]);
    const shown = await services().handlers.showStack({ params: { stack } }, services().call());
    expect(shown).toMatchObject({ body: { cluster: called } });
  });

  it("is told of by the new name: in what happened before, while somebody follows, and in an answer that is kept for a repetition", async () => {
    const cluster = await add();
    const [called, stack] = [unique(), unique()];
    const kept: unknown[] = [];
    const keeping = services().call({ keep: async (_trx, answer) => void kept.push(answer) });
    const topic = `test:${stack}`;
    const ends = new AbortController();
    const following = await services().handlers.watch({ query: { topics: topic, after: "0" } }, services().call({ signal: ends.signal }));
    const heard: unknown[] = [];
    const listening = (async () => {
      for await (const { data } of following) {
        heard.push(data);
        if (heard.length === 2) return;
      }
    })();
    const happens = () => appendEvent(db(), { code: "component_left", params: { component: "app", cluster }, topics: [topic] });
    await happens();
    await expect.poll(() => heard, { timeout: 60_000 }).toMatchObject([{ params: { cluster } }]);
    await rename(cluster, called);
    await happens();
    await listening;
    ends.abort();
    expect(heard).toMatchObject([{ params: { cluster } }, { params: { cluster: called } }]);
    const { items } = await services().handlers.listEvents({ query: { topics: topic } }, services().call());
    expect(items.map(({ params }) => params["cluster"])).toEqual([called, called]);
    await services().handlers.createStack({ body: { name: stack, cluster } }, keeping);
    expect(kept).toMatchObject([{ name: stack, cluster: called }]);
  });

  it("is told of by the new name where it fails", async () => {
    const cluster = await add();
    const called = unique();
    await rename(cluster, called);
    const failing = plain(
      createHandlers(
        {
          ...services().deps,
          places: {
            ...services().deps.places,
            engine: () => {
              throw new EngineFailure(
                { code: "cluster_unreachable", params: { cluster, reason: "gone" }, evidence: [] },
                { retryable: true },
              );
            },
          },
        },
        { id: () => "test", version: "0.0.0", routerUrl: () => "", doctor: () => Promise.resolve([]) },
      ),
    );
    await expect(failing.showCluster({ params: { cluster } }, services().call())).rejects.toMatchObject({
      failure: { code: "cluster_unreachable", params: { cluster: called } },
    });
    await services().handlers.createStack({ body: { name: unique(), cluster } }, services().call());
    await services().handlers.changeCluster({ params: { cluster: called }, body: { draining: true } }, services().call());
    await expect(services().handlers.createStack({ body: { name: unique(), cluster } }, services().call())).rejects.toMatchObject({
      params: { reason: `cluster ${called} takes no new stacks` },
    });
    await expect(remove(cluster)).rejects.toMatchObject({ code: "wrong_state", params: { reason: `cluster ${called} has 1 stack` } });
  });
});

describe("a name", () => {
  it("leads to one cluster: those that it has and had are nobody else's, until it is removed", async () => {
    const [one, other] = [await add(), await add()];
    const called = unique();
    await rename(one, called);
    await expect(rename(other, called)).rejects.toMatchObject({ code: "conflict", params: { name: called } });
    await expect(rename(other, one)).rejects.toMatchObject({ code: "name_taken", params: { name: one, cluster: called } });
    await expect(add(called)).rejects.toMatchObject({ code: "conflict" });
    await expect(add(one)).rejects.toMatchObject({ code: "name_taken", params: { cluster: called } });
    await expect(
      claimCluster(db(), called, { id: crypto.randomUUID(), host: "x" }, { engine: "local", always: false }),
    ).rejects.toMatchObject({ reason: "cluster_taken" });
    const later = unique();
    await rename(called, later);
    expect(await show(called)).toMatchObject({ name: later, formerNames: [one, called].toSorted() });
    // The same again changes nothing, and leaves no trace.
    const traces = () => db().selectFrom("audit").select("id").where("action", "=", "clusters.rename").execute();
    const before = (await traces()).length;
    await rename(called, later);
    expect(await traces()).toHaveLength(before);

    await remove(later);
    await expect(show(one)).rejects.toMatchObject({ code: "not_found" });
    for (const name of [one, called, later]) expect(await show(await add(name))).toMatchObject({ name });
  });

  it("of a cluster that was removed can be given to the one in its place", async () => {
    const [old, next] = [await add(), await add()];
    await remove(old);
    expect(await rename(next, old)).toMatchObject({ name: old, formerNames: [next] });
    const stack = unique();
    await services().handlers.createStack({ body: { name: stack, cluster: old } }, services().call());
    expect((await findStack(db(), stack))?.cluster).toBe(next);
    await expect(add(old)).rejects.toMatchObject({ code: "conflict" });
    const { items } = await services().handlers.listClusters({ query: { search: old } }, services().call());
    expect(items.map(({ name }) => name)).toEqual([old]);
  });

  it("is got by one of two who want it at once", async () => {
    const [one, other] = [await add(), await add()];
    const wanted = unique();
    const ends = await Promise.allSettled([rename(one, wanted), rename(other, wanted), add(wanted)]);
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const end of ends) if (end.status === "rejected") expect(end.reason).toMatchObject({ code: "conflict" });
  });

  it("is written into the log of who did what, and told to who follows", async () => {
    const cluster = await add();
    const [called, later] = [unique(), unique()];
    await rename(cluster, called);
    await rename(cluster, later);
    const both = [
      { from: cluster, to: called },
      { from: called, to: later },
    ];
    const entries = await db().selectFrom("audit").select("params").where("action", "=", "clusters.rename").execute();
    const own = entries.map(({ params }) => params).filter((params) => params["cluster"] === cluster);
    expect(own).toHaveLength(2);
    expect(own).toEqual(expect.arrayContaining(both.map((params) => ({ cluster, ...params }))));
    const { items } = await services().handlers.listEvents({ query: { topics: `cluster:${called}` } }, services().call());
    expect(items.map(({ params }) => params)).toEqual(expect.arrayContaining(both));
  });
});

it("what is sealed for a cluster is opened after its rename, and it is connected under the name in its row", async () => {
  const name = unique();
  const access = { server: "https://10.0.0.1:6443", auth: { kind: "token", token: "t" } };
  const facts = {
    kind: "kubernetes",
    server: access.server,
    context: "c",
    gateway: { namespace: "g", name: "g" },
    address: { host: "10.0.0.2", port: 80 },
  };
  await db().updateTable("clusters").set({ node_id: crypto.randomUUID() }).where("name", "=", "home").execute();
  await transaction(db(), (trx) =>
    putAdded(trx, services().deps.secretBox, name, { kind: "kubernetes", facts, access, domain: "x.test" } as never, "home"),
  );
  const before = (await openAdded(db(), services().deps.secretBox, "home")).find(({ cluster }) => cluster === name);
  expect(before).toMatchObject({ access });
  await rename(name, unique());
  // Whoever keeps it connected sees no change, and so neither lets go of it nor connects it anew.
  expect((await openAdded(db(), services().deps.secretBox, "home")).find(({ cluster }) => cluster === name)).toEqual(before);
});
