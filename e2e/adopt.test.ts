// The database is lost: what runs is recognised and taken over without a restart, with its config, secrets, routes and volumes, and goes on to be deployed,
// rolled back and scaled as before. Real server, edge, PostgreSQL and programs.
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { programs } from "./apps.ts";
import { TestBerth, isAlive, startLoad, until, type Files } from "./harness.ts";

let berth: TestBerth;
beforeAll(async () => {
  berth = await TestBerth.start();
});
afterAll(async () => {
  await berth?.stop();
});

const stack = "shop";
const shop = `x-berth: { runEnv: staging }
services:
  web:
    build: .
    command: node web.js
    ports: ["8080:3000"]
    secrets: [session]
    x-berth: { domains: [shop.example.localhost] }
  api:
    build: .
    command: node web.js
    expose: ["4000"]
    volumes: ["data:/data"]
  worker:
    build: .
    command: node worker.js
volumes: { data: {} }
secrets: { session: { environment: SESSION } }
`;
const project = (version: string): Files => ({ ...programs(version), "compose.yaml": shop });
const get = async (path: string, host = `web.${stack}.localhost`): Promise<string> => (await berth.get(host, path)).body;
const env = async (): Promise<Record<string, string>> => JSON.parse(await get("/env")) as Record<string, string>;
/** Of so many instances each: one that an older release leaves behind is waited for until it is gone. */
async function pids(wanted: Readonly<Record<string, number>>): Promise<Record<string, number[]>> {
  const found: Record<string, number[]> = {};
  for (const [component, count] of Object.entries(wanted)) {
    let seen = "";
    found[component] = await until(
      async () => {
        const { items } = await berth.client.listInstances({ params: { stack, component } });
        seen = JSON.stringify(items);
        const running = items.flatMap(({ pid }) => pid ?? []);
        return items.length === count && running.length === count ? running.toSorted() : undefined;
      },
      `${component} to have ${String(count)} running instances`,
      60_000,
      () => seen,
    );
  }
  return found;
}
const up = async (version: string) => {
  const made = await berth.up(stack, project(version), undefined, { variables: { SESSION: "correct-horse-battery" } });
  for (const { component, number } of made.rollouts)
    expect(await berth.ended(stack, component, number, 120_000)).toMatchObject({ phase: "succeeded" });
  return made;
};
const cli = (...args: string[]) => berth.cli(args);
const healthy = (component: string, replicas: number) =>
  until(
    async () => {
      const now = await berth.client.showComponent({ params: { stack, component } });
      return now.state === "healthy" && now.ready === replicas ? now : undefined;
    },
    `${component} to be healthy with ${replicas}`,
    60_000,
    () => berth.log(),
  );

test("a lost database is rebuilt from what runs, without a restart", async () => {
  await up("one");
  await up("two");
  await berth.client.updateConfig({ params: { stack, component: "web" }, body: { values: { COLOUR: "blue" }, deploy: true } });
  await until(async () => (await env())["COLOUR"] === "blue" || undefined, "the config to be live", 60_000);
  await berth.client.scaleComponent({ params: { stack, component: "web" }, body: { replicas: 2 } });
  await healthy("web", 2);
  const counted = await get("/fetch");
  expect(counted).toMatch(/^two \d+$/);
  const running = { web: 2, api: 1, worker: 1 };
  const before = await pids(running);
  const internal = (await berth.client.showComponent({ params: { stack, component: "api" } })).internal;
  const release = (await healthy("web", 2)).release;

  const load = startLoad(berth, `web.${stack}.localhost`, "/", 2);
  await berth.server("stop");
  rmSync(join(berth.home, "postgres"), { recursive: true });
  // Lost by mistake is not the same as given up.
  await expect(berth.server("run")).rejects.toThrow(/is not in .*postgres\/data any more\.[\s\S]*berth restore --empty/);
  await berth.beginEmpty();
  expect((JSON.parse(readFileSync(join(berth.home, "installation.json"), "utf8")) as { epoch: number }).epoch).toBe(2);
  expect((await berth.client.listStacks()).items).toEqual([]);

  const { candidates: items } = await berth.client.showAdoption();
  expect(items.map(({ component, unknown, possible, instances, notes }) => ({ component, unknown, possible, instances, notes }))).toEqual([
    { component: "api", unknown: "stack", possible: true, instances: 1, notes: [] },
    { component: "web", unknown: "stack", possible: true, instances: 2, notes: [] },
    { component: "worker", unknown: "stack", possible: true, instances: 1, notes: [] },
  ]);
  expect(await cli("adopt")).toMatchObject({
    code: 2,
    said: expect.stringMatching(/shop\/web +release \d+, 2 instance\(s\), http:\S+: unknown stack[\s\S]*--yes/) as string,
  });
  expect((await berth.client.listStacks()).items).toEqual([]);
  expect(await cli("adopt", "--yes")).toMatchObject({ code: 0, said: expect.stringContaining("shop/worker was taken over") as string });
  expect((await healthy("web", 2)).release).toMatchObject({ number: release?.number, hash: release?.hash });
  for (const component of ["api", "worker"]) await healthy(component, 1);
  expect((await load.stop()).failed).toEqual([]);
  expect(await pids(running)).toEqual(before);
  for (const pid of Object.values(before).flat()) expect(isAlive(pid)).toBe(true);
  expect((await berth.client.showComponent({ params: { stack, component: "api" } })).internal).toEqual(internal);
  expect(await get("/fetch", "shop.example.localhost")).toMatch(/^two \d+$/);
  expect(await berth.client.showStack({ params: { stack } })).toMatchObject({ runEnv: "staging", version: 1, state: "healthy" });
  expect((await berth.client.showConfig({ params: { stack, component: "web" } })).values).toEqual({ COLOUR: "blue" });
  expect((await berth.client.listSecrets({ params: { stack } })).items).toMatchObject([{ name: "session" }]);
  expect((await berth.client.listAllVolumes()).items).toMatchObject([{ stack, name: "data", usedBy: ["api"] }]);
  expect(await cli("adopt")).toMatchObject({
    code: 0,
    said: expect.stringContaining("Everything that runs here is in the database.") as string,
  });
}, 600_000);

test("and is deployed, rolled back, scaled and restarted as if nothing had happened", async () => {
  const adopted = (await healthy("web", 2)).release?.number ?? 0;
  // Nothing changed, so nothing is to do: builds and config are those of before.
  expect(
    (await berth.up(stack, project("two"), undefined, { variables: { SESSION: "correct-horse-battery" } })).unchanged.toSorted(),
  ).toEqual(["api", "web", "worker"]);
  await up("three");
  expect(await get("/")).toMatch(/^three /);
  expect(await env()).toMatchObject({ RUN_ENV: "staging", COLOUR: "blue", SESSION: "correct-horse-battery" });
  expect((await healthy("web", 2)).release?.number).toBe(adopted + 1);
  const back = await berth.client.rollbackComponent({ params: { stack, component: "web" }, body: {} });
  expect(await berth.ended(stack, "web", back.rollouts[0]?.number ?? 0)).toMatchObject({ phase: "succeeded", release: adopted });
  expect(await get("/")).toMatch(/^two /);
  await berth.client.scaleComponent({ params: { stack, component: "web" }, body: { replicas: 3 } });
  await healthy("web", 3);
  const again = await berth.client.deployComponent({ params: { stack, component: "worker" }, body: {} });
  expect(await berth.ended(stack, "worker", again.rollouts[0]?.number ?? 0)).toMatchObject({ phase: "succeeded" });
  // The volume is the same one: its counter went on.
  expect(Number((await get("/fetch")).split(" ")[1])).toBeGreaterThan(2);
}, 600_000);
