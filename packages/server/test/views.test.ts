// What is kept for people who look again is what they would be shown if nothing were kept: after every change, by whomever, and for whoever asks.
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { expect, test } from "vitest";
import type { Handlers } from "../src/resources/call.ts";
import { silentLog } from "../src/db/log.ts";
import { createViews, type Views } from "../src/db/views.ts";
import { createHandlers } from "../src/resources/handlers.ts";
import { plainRollout } from "./rows.ts";
import { plain, useServices, type PlainHandlers } from "./services.ts";

const state: { away: boolean } = { away: false };
const services = useServices(({ addedClusters }) => ({
  addedClusters: { ...addedClusters, state: () => (state.away ? { connected: false, since: new Date(0) } : undefined) },
}));
const spec = (over: Partial<ComponentSpec> = {}): ComponentSpec => ({
  ...defaultSpec("worker"),
  build: { context: "." },
  command: { exec: ["app"] },
  ...over,
});

/** The same services, which keep in another way. */
function serviceWith(views: Views): PlainHandlers {
  const facts = { id: () => "test", version: "0.0.0", routerUrl: () => "http://127.0.0.1:8080", doctor: () => Promise.resolve([]) };
  return plain(createHandlers({ ...services().deps, views }, facts));
}

const nothingKept: Views = { get: async (_question, _key, read) => (await read()).value, close: () => Promise.resolve() };

type Look = readonly [what: string, shown: (handlers: PlainHandlers) => Promise<unknown>];
const looks = (stack: string, names: readonly string[], call = services().call): readonly Look[] => [
  ["the stack", (handlers) => handlers.showStack({ params: { stack } }, call())],
  ["the stacks", (handlers) => handlers.listStacks({ query: { search: stack } }, call())],
  ["its components", (handlers) => handlers.listComponents({ params: { stack }, query: {} }, call())],
  [
    "those stopped",
    (handlers) => handlers.listComponents({ params: { stack }, query: { state: "stopped", sort: "-updatedAt", limit: 2 } }, call()),
  ],
  ...names.flatMap((component): Look[] => [
    [component, (handlers) => handlers.showComponent({ params: { stack, component } }, call())],
    [`what runs of ${component}`, (handlers) => handlers.listInstances({ params: { stack, component }, query: { limit: 3 } }, call())],
  ]),
];
const told = (shown: Promise<unknown>): Promise<unknown> => shown.catch((error: unknown) => String(error));

test("is what is there after each of many changes, by verbs, by loops and by other programs", async () => {
  const { handlers, call, database } = services();
  const { db } = database;
  const stack = "looked-at";
  const names = ["a", "b", "c"];
  await handlers.createStack({ body: { name: stack } }, call());
  const fresh = serviceWith(nothingKept);
  const idOf = async (name: string): Promise<string> =>
    (await db.selectFrom("components").select("id").where("name", "=", name).executeTakeFirstOrThrow()).id;
  const at = (component: string) => ({ stack, component });
  const instance = (id: string) => ({ id, track: "stable", release: 1, phase: "running", ready: true, restarts: 0, probes: [] });
  const route = async (name: string, host: string) => ({
    component_id: await idOf(name),
    cluster_id: (await db.selectFrom("clusters").select("id").where("name", "=", "local").executeTakeFirstOrThrow()).id,
    port_name: "http",
    host,
    is_default: false,
  });
  const changes: Readonly<Record<string, () => Promise<unknown>>> = {
    "a is made": () => handlers.setComponent({ params: at("a"), body: spec({ replicas: 2 }) }, call()),
    "b is made": () => handlers.setComponent({ params: at("b"), body: spec() }, call()),
    "c is made": () => handlers.setComponent({ params: at("c"), body: spec() }, call()),
    "a is scaled": () => handlers.scaleComponent({ params: at("a"), body: { replicas: 4 } }, call()),
    "b is stopped": () => handlers.stopComponent({ params: at("b") }, call()),
    "a is seen": async () =>
      db
        .updateTable("components")
        .set({ state: "healthy", ready: 2, observed: JSON.stringify({ instances: [instance("x"), instance("y")] }) })
        .where("id", "=", await idOf("a"))
        .execute(),
    "b is seen": async () =>
      db
        .updateTable("components")
        .set({ state: "stopped", observed_at: new Date() })
        .where("id", "=", await idOf("b"))
        .execute(),
    "c has a cause": async () =>
      db
        .updateTable("components")
        .set({ cause: JSON.stringify({ code: "x", params: {}, evidence: [] }) })
        .where("id", "=", await idOf("c"))
        .execute(),
    "a is released": async () => {
      await db.insertInto("artifacts").values({ digest: "sha256:a", kind: "bundle", size: 1 }).execute();
      const { id } = await db
        .insertInto("releases")
        .values({
          ...{
            component_id: await idOf("a"),
            number: 1,
            hash: "h",
            artifact_digest: "sha256:a",
            build_id: null,
            reason: "test",
            created_by: "admin",
          },
          ...{ config: "{}", secret_refs: "{}", runtime: "{}", spec: JSON.stringify(spec()) },
        })
        .returning("id")
        .executeTakeFirstOrThrow();
      await db
        .updateTable("components")
        .set({ stable_release_id: id, last_release: 1 })
        .where("id", "=", await idOf("a"))
        .execute();
    },
    "a rolls out": async () => {
      const { component_id, cluster_id } = await route("a", "");
      await db
        .insertInto("rollouts")
        .values({
          ...plainRollout,
          component_id,
          cluster_id,
          number: 1,
          phase: "rolling",
          spec: JSON.stringify(spec()),
          image_reference: null,
        })
        .execute();
      await db
        .updateTable("components")
        .set({ last_rollout: 1 })
        .where("id", "=", await idOf("a"))
        .execute();
    },
    "its rollout goes on": async () =>
      db
        .updateTable("rollouts")
        .set({ phase: "verifying" })
        .where("component_id", "=", await idOf("a"))
        .execute(),
    "its rollout ends": async () =>
      db
        .updateTable("rollouts")
        .set({ phase: "succeeded", ended_at: new Date() })
        .where("component_id", "=", await idOf("a"))
        .execute(),
    "a has a route": async () =>
      db
        .insertInto("routes")
        .values(await route("a", "one.example"))
        .execute(),
    "its route moves": async () =>
      db
        .updateTable("routes")
        .set({ path: "/x" })
        .where("component_id", "=", await idOf("a"))
        .execute(),
    "its route goes": async () =>
      db
        .deleteFrom("routes")
        .where("component_id", "=", await idOf("a"))
        .execute(),
    "the cluster is away": () => Promise.resolve((state.away = true)),
    "the cluster is back": () => Promise.resolve((state.away = false)),
    "the stack is changed": () => handlers.updateStack({ params: { stack }, body: { drift: "report" } }, call()),
    "the team is renamed": () => db.updateTable("teams").set({ name: "renamed" }).where("name", "=", "default").execute(),
    "the team has its name again": () => db.updateTable("teams").set({ name: "default" }).where("name", "=", "renamed").execute(),
    "b is removed": () => handlers.deleteComponent({ params: at("b") }, call()),
    "b is gone": async () =>
      db
        .deleteFrom("components")
        .where("id", "=", await idOf("b"))
        .execute(),
    "the stack is removed": () => handlers.deleteStack({ params: { stack }, query: {} }, call()),
    "the stack is gone": () => db.updateTable("stacks").set({ deleted_at: new Date() }).where("name", "=", stack).execute(),
  };
  for (const [change, make] of Object.entries(changes)) {
    await make();
    for (const [what, shown] of looks(stack, names)) {
      const expected = await told(shown(fresh));
      // The second time it is what was kept.
      expect(await told(shown(handlers)), `${what} after ${change}`).toEqual(expected);
      expect(await told(shown(handlers)), `${what} after ${change}, again`).toEqual(expected);
    }
  }
});

test("is each caller's own: who may do less is shown less, and who may not know of it, nothing", async () => {
  const { handlers, call, database } = services();
  const params = { stack: "shared", component: "a" };
  await handlers.createStack({ body: { name: "shared" } }, call());
  await handlers.setComponent({ params, body: spec() }, call());
  const verbs = async (scopes: readonly string[]): Promise<readonly string[]> => {
    const { principal } = call();
    const { body } = await handlers.showComponent({ params }, call({ principal: { ...principal, scopes } }));
    return Object.entries(body.allowed).flatMap(([verb, allowed]) => (allowed.ok ? [verb] : []));
  };
  expect(await verbs(["*"])).toContain("scale");
  expect(await verbs(["stacks.read"])).not.toContain("scale");
  expect(await verbs(["*"])).toContain("scale");
  const stranger = await database.db.insertInto("users").values({ name: "stranger" }).returning("id").executeTakeFirstOrThrow();
  const asStranger = (): Parameters<Handlers["showComponent"]>[1] => call({ principal: { kind: "user", id: stranger.id, scopes: ["*"] } });
  await expect(handlers.showComponent({ params }, asStranger())).rejects.toMatchObject({ code: "not_found" });
  await expect(handlers.listInstances({ params, query: {} }, asStranger())).rejects.toMatchObject({ code: "not_found" });
});

test("is on each server what a client of another one has just written", async () => {
  const { handlers, call, database } = services();
  const params = { stack: "served-by-two", component: "a" };
  await handlers.createStack({ body: { name: params.stack } }, call());
  await handlers.setComponent({ params, body: spec() }, call());
  const views = createViews({ address: database.address, log: silentLog });
  try {
    const other = serviceWith(views);
    for (let replicas = 1; replicas <= 30; replicas += 1) {
      const [one, another] = replicas % 2 === 0 ? [handlers, other] : [other, handlers];
      await one.scaleComponent({ params, body: { replicas } }, call());
      expect((await another.showComponent({ params }, call())).body.replicas).toBe(replicas);
      expect((await one.listComponents({ params, query: {} }, call())).items).toMatchObject([{ replicas }]);
    }
  } finally {
    await views.close();
  }
});
