// Whom a cluster serves: where it cannot keep programs apart, one team only (promise 8).
import { expect, test } from "vitest";
import { FakeEngine } from "../src/engines/fake.ts";
import type { Call } from "../src/resources/call.ts";
import { useServices } from "./services.ts";

const engine = new FakeEngine({ now: Date.now });
const services = useServices(({ places }) => ({ places: { ...places, engine: () => engine } }));

/** A user of a team of his own. */
async function stranger(): Promise<{ readonly call: Call; readonly team: string }> {
  const {
    database: { db },
    call,
  } = services();
  const user = await db.insertInto("users").values({ name: "stranger" }).returning("id").executeTakeFirstOrThrow();
  const { id, name } = await db.insertInto("teams").values({ name: "second" }).returning(["id", "name"]).executeTakeFirstOrThrow();
  await db.insertInto("role_bindings").values({ user_id: user.id, role: "developer", team_id: id, stack_id: null }).execute();
  return { call: call({ principal: { kind: "user", id: user.id, scopes: ["*"] }, by: "stranger" }), team: name };
}

test("a role in one stack shows that stack, its volumes and its events in every list, and nothing of the others", async () => {
  const { handlers, call, database } = services();
  const { db } = database;
  for (const name of ["seen", "hidden"]) {
    await handlers.createStack({ body: { name } }, call());
    const stack = await db.selectFrom("stacks").selectAll().where("name", "=", name).executeTakeFirstOrThrow();
    await db
      .insertInto("volumes")
      .values({ stack_id: stack.id, name: `${name}-data`, cluster_id: stack.cluster_id })
      .execute();
  }
  const user = await db.insertInto("users").values({ name: "guest" }).returning("id").executeTakeFirstOrThrow();
  const { id } = await db.selectFrom("stacks").select("id").where("name", "=", "seen").executeTakeFirstOrThrow();
  await db.insertInto("role_bindings").values({ user_id: user.id, role: "viewer", team_id: null, stack_id: id }).execute();
  const guest = call({ principal: { kind: "user", id: user.id, scopes: ["*"] }, by: "guest" });
  expect((await handlers.listStacks({ query: {} }, guest)).items.map(({ name }) => name)).toEqual(["seen"]);
  expect((await handlers.listAllVolumes({ query: {} }, guest)).items.map(({ name }) => name)).toEqual(["seen-data"]);
  const events = (await handlers.listEvents({ query: {} }, guest)).items;
  expect(new Set(events.map(({ stack }) => stack))).toEqual(new Set(["seen"]));
  expect((await handlers.listEvents({ query: {} }, call())).items.map(({ stack }) => stack)).toContain("hidden");
  await expect(handlers.showStack({ params: { stack: "hidden" } }, guest)).rejects.toMatchObject({ code: "not_found" });
  await expect(handlers.deleteStack({ params: { stack: "seen" }, query: {} }, guest)).rejects.toMatchObject({ code: "forbidden" });
});

test("a second team is refused where the cluster cannot keep it apart or cannot be asked, and only there", async () => {
  const { handlers, call } = services();
  const { call: other, team } = await stranger();
  const create = (name: string): Promise<unknown> => handlers.createStack({ body: { name, team } }, other);
  engine.isolation = ["none"];
  await handlers.createStack({ body: { name: "one" } }, call());
  await handlers.createStack({ body: { name: "another" } }, call());
  await expect(create("refused")).rejects.toMatchObject({
    code: "team_not_isolated",
    params: { cluster: "local", team: "second", other: "default" },
  });
  engine.reachable = false;
  await expect(create("refused")).rejects.toMatchObject({ code: "engine_unavailable" });
  Object.assign(engine, { reachable: true, isolation: ["namespace"] });
  await expect(create("kept-apart")).resolves.toMatchObject({ name: "kept-apart", team: "second" });
  await expect(handlers.showStack({ params: { stack: "refused" } }, call())).rejects.toMatchObject({ code: "not_found" });
});
