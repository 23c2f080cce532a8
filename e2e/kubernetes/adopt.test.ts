// The database is lost: what runs in a cluster is recognised and taken over with the same pods, with its config, secrets and routes, and goes on to be deployed as before.
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { startLoad, until, webApp } from "../harness.ts";
import { KubePlace, missingBeside } from "./place.ts";

const cluster = inject("cluster");
const missing = missingBeside(cluster);
const stack = "found-again";
const params = { stack, component: "web" };

describe.skipIf(missing !== undefined)(`adoption in a cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  let place: KubePlace;

  beforeAll(async () => {
    place = await KubePlace.open(cluster);
  });
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
  });

  const add = () => place.add("kube", "--domain", place.domain);
  const files = (version: string) => ({
    ...webApp(version),
    "compose.yaml": `x-berth: { runEnv: staging, drift: report }
services:
  web: { build: ., ports: ["3000"], secrets: [session] }
secrets: { session: { environment: SESSION } }
`,
  });
  const variables = { variables: { SESSION: "correct-horse-battery" } };
  const up = async (version: string): Promise<void> => {
    const made = await place.berth.up(stack, files(version), undefined, variables);
    for (const { component, number } of made.rollouts)
      expect(await place.berth.ended(stack, component, number)).toMatchObject({ phase: "succeeded" });
  };
  const uids = (): Promise<(string | undefined)[]> => place.uids(stack);
  const healthy = (ready: number) => place.healthy(params, ready);

  test("a lost database is rebuilt from what runs, with the same pods", async () => {
    const { berth } = place;
    expect(await add(), berth.log()).toMatchObject({ code: 0 });
    await berth.client.createStack({ body: { name: stack, cluster: "kube" } });
    await up("one");
    await up("two");
    await berth.client.updateConfig({ params, body: { values: { COLOUR: "blue" }, deploy: true } });
    await until(
      async () => ((await place.get(place.host("web", stack), "/env")).body.includes('"COLOUR":"blue"') ? true : undefined),
      "the config is live",
      120_000,
    );
    await place.settled(params, 1);
    await berth.client.scaleComponent({ params, body: { replicas: 2 } });
    const { release } = await place.settled(params, 2);
    const before = await uids();

    const load = startLoad(place, place.host("web", stack));
    await berth.loseDatabase();
    expect((await berth.client.listStacks()).items).toEqual([]);
    expect(await berth.client.showAdoption()).toEqual({ candidates: [], away: [] });
    expect(await add(), berth.log()).toMatchObject({ code: 0 });
    const { candidates } = await berth.client.showAdoption();
    expect(
      candidates.map(({ component, cluster: where, unknown, possible, instances, notes }) => ({
        component,
        where,
        unknown,
        possible,
        instances,
        notes,
      })),
    ).toEqual([{ component: "web", where: "kube", unknown: "stack", possible: true, instances: 2, notes: [] }]);
    expect(await berth.cli(["adopt", "--yes"])).toMatchObject({
      code: 0,
      said: expect.stringContaining(`${stack}/web was taken over`) as string,
    });
    expect((await healthy(2)).release).toMatchObject({ number: release?.number, hash: release?.hash });
    expect((await load.stop()).failed).toEqual([]);
    expect(await uids()).toEqual(before);
    const found = await until(
      async () => {
        const one = await berth.client.showStack({ params: { stack } });
        return one.state === "healthy" ? one : undefined;
      },
      "its stack to be healthy",
      60_000,
    );
    expect(found).toMatchObject({ cluster: "kube", runEnv: "staging", drift: "report" });
    expect((await berth.client.showConfig({ params })).values).toEqual({ COLOUR: "blue" });
    expect((await berth.client.listSecrets({ params: { stack } })).items).toMatchObject([{ name: "session" }]);
    expect(await berth.cli(["adopt"])).toMatchObject({
      code: 0,
      said: expect.stringContaining("Everything that runs here is in the database.") as string,
    });
  });

  test("and goes on as before: restarted with its secret, and released", async () => {
    const restarted = await place.berth.client.restartComponent({ params });
    expect((await place.berth.ended(stack, "web", restarted.rollout ?? 0)).phase).toBe("succeeded");
    expect((await place.get(place.host("web", stack), "/env")).body).toContain("correct-horse-battery");
    await up("three");
    await until(async () => (/^three /.test((await place.get(place.host("web", stack))).body) ? true : undefined), "three answers", 60_000);
  });
});
