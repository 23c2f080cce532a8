// Where `berth up` makes a stack that is not there yet: the cluster and the team that the caller names, found out before anything is sent.
import { beforeAll, expect, test } from "vitest";
import { BerthError } from "../src/core/errors.ts";
import type { Engine } from "../src/engines/engine.ts";
import { FakeTraffic } from "../src/engines/fake-traffic.ts";
import { FakeEngine } from "../src/engines/fake.ts";
import type { Call } from "../src/resources/call.ts";
import { useServices } from "./services.ts";

/** In memory, and takes images. */
const fake = Object.assign(new FakeEngine({ now: Date.now }) as object, {
  kind: "docker",
  resolveImage: (name: string) => Promise.resolve(`${name}@sha256:${"0".repeat(64)}`),
}) as unknown as Engine;
const services = useServices(({ places }) => {
  const traffic = new FakeTraffic(new FakeEngine({ now: Date.now }));
  return { places: { ...places, engine: () => fake, traffic: () => traffic } };
});

beforeAll(async () => {
  const { db } = services().database;
  await db
    .insertInto("clusters")
    .values([
      { name: "far", engine: "docker", domain: "far.test" },
      { name: "full", engine: "docker", domain: "full.test", draining_since: new Date() },
    ])
    .execute();
  await db.insertInto("teams").values({ name: "second" }).execute();
});

const body = {
  files: { "compose.yaml": `services:\n  web:\n    image: nginx:1\n    ports: ["80"]\n` },
  absent: [".env", "compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"],
  composeFiles: ["compose.yaml"],
  variables: { COMPOSE_FILE: null, COMPOSE_PROFILES: null, COMPOSE_PROJECT_NAME: null },
  profiles: [],
  sources: {},
};
const plan = async (stack: string, where: { cluster?: string; team?: string }, by: Call = services().call()) => {
  const answer = await services().handlers.createPlan({ params: { stack }, body: { ...body, ...where } }, by);
  if (answer.status !== "ready") throw new Error(JSON.stringify(answer));
  return answer;
};
const errorOf = async (doing: Promise<unknown>): Promise<unknown> =>
  doing.then(
    () => undefined,
    (error: unknown) => (error instanceof BerthError ? { code: error.code, ...error.params } : error),
  );

test("is the cluster and the team that the plan showed", async () => {
  const { handlers, call } = services();
  const planned = await plan("placed", { cluster: "far", team: "second" });
  expect(planned).toMatchObject({ createsStack: true, cluster: "far" });
  expect(planned.changes[0]?.urls[0]).toContain("web.placed.far.test");
  await handlers.applyPlan({ params: { stack: "placed", plan: planned.id }, body: {} }, call());
  expect((await handlers.showStack({ params: { stack: "placed" } }, call())).body).toMatchObject({ cluster: "far", team: "second" });
  // Said again it is the same, and left out it stays.
  expect(await plan("placed", { cluster: "far", team: "second" })).toMatchObject({ createsStack: false, cluster: "far" });
  expect(await plan("placed", {})).toMatchObject({ createsStack: false, cluster: "far" });
});

test("is the installation's own where nothing is said", async () => {
  expect(await plan("unplaced", {})).toMatchObject({ createsStack: true, cluster: "local" });
});

test("is no other one than that of a stack that is there, whose cluster and team stay", async () => {
  const { handlers, call } = services();
  await handlers.createStack({ body: { name: "there" } }, call());
  expect(await errorOf(plan("there", { cluster: "far" }))).toMatchObject({
    code: "wrong_state",
    reason: expect.stringMatching(/is on local/) as unknown,
  });
  expect(await errorOf(plan("there", { team: "second" }))).toMatchObject({
    code: "wrong_state",
    reason: expect.stringMatching(/is team default's/) as unknown,
  });
});

test("is refused before anything is sent, when it is not there, takes nothing new, or is not the caller's", async () => {
  expect(await errorOf(plan("fresh", { cluster: "nowhere" }))).toMatchObject({ code: "not_found", kind: "cluster" });
  expect(await errorOf(plan("fresh", { cluster: "full" }))).toMatchObject({
    code: "wrong_state",
    hint: expect.stringMatching(/--cluster/) as unknown,
  });
  expect(await errorOf(plan("fresh", { team: "third" }))).toMatchObject({ code: "not_found", kind: "team" });
  const call = services().call();
  const limited = { ...call, principal: { ...call.principal, scopes: ["stacks.read"] } };
  expect(await errorOf(plan("fresh", { team: "second" }, limited))).toMatchObject({ code: "not_found", kind: "team" });
  expect(await errorOf(plan("fresh", {}, limited))).toMatchObject({ code: "not_found", kind: "stack" });
});

test("of a cluster that stopped taking stacks after the plan was shown makes none", async () => {
  const { handlers, call, database } = services();
  const planned = await plan("late", { cluster: "far" });
  await database.db.updateTable("clusters").set({ draining_since: new Date() }).where("name", "=", "far").execute();
  expect(await errorOf(handlers.applyPlan({ params: { stack: "late", plan: planned.id }, body: {} }, call()))).toMatchObject({
    code: "wrong_state",
  });
  expect(await errorOf(handlers.showStack({ params: { stack: "late" } }, call()))).toMatchObject({ code: "not_found" });
});
