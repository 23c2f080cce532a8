// The wall clock is set, an hour back and an hour ahead, under a whole Berth in the middle of rollouts: all of its programs see it at once.
// No rollout fails or stands still for it, no request is lost, and every instant of a schedule is run once or told as missed.
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestClock } from "./clock.ts";
import { startLoad, type TestBerth, until, webApp, type Files } from "./harness.ts";

const hour = 3_600_000;

export interface ClockPlace extends AsyncDisposable {
  readonly berth: TestBerth;
}

/** Inside of a `describe`. `open`: starts it behind this prefix, and signs in. */
export function clockScenes(open: (prefix: readonly string[]) => Promise<ClockPlace>): void {
  let clock: TestClock;
  let place: ClockPlace | undefined;
  let berth: TestBerth;

  beforeAll(async () => {
    clock = new TestClock();
    place = await open(clock.prefix);
    ({ berth } = place);
    await berth.deployed("bells", bells);
    await berth.deployed("shop", app("v0"));
  }, 600_000);
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    clock?.[Symbol.dispose]();
  }, 300_000);

  /** Slow to come up, so that there is a middle of its rollout. */
  const app = (version: string): Files => ({
    ...webApp(version),
    "server.js": `setTimeout(() => {${webApp(version)["server.js"] ?? ""}}, 4000);`,
    "compose.yaml": `services:
  web: {build: ., command: node server.js, ports: ['8080'], deploy: {replicas: 2}, stop_grace_period: 5s, x-berth: {drainTimeout: 10s, strategy: {type: rolling, progressDeadline: 60s}}}
`,
  });
  /** Of a stack that nobody touches: nothing but its own instants wakes it. */
  const bells: Files = {
    "package.json": JSON.stringify({ name: "bells" }),
    "tick.js": "console.log('tick')",
    "compose.yaml": "services: {tick: {build: ., command: node tick.js, x-berth: {kind: cron, schedule: '* * * * *'}}}\n",
  };
  const runs = async () => (await berth.client.listTasks({ params: { stack: "bells" }, query: { component: "tick", limit: 200 } })).items;

  async function rollOver(version: string, to: number): Promise<void> {
    const load = startLoad(berth, "web.shop.localhost");
    const made = await berth.up("shop", app(version));
    const number = made.rollouts.find(({ component }) => component === "web")?.number ?? 0;
    await until(
      async () => {
        const { phase, updated } = await berth.client.showRollout({ params: { stack: "shop", component: "web", rollout: number } });
        // The first new instance is on its way up: for some seconds nothing gets further.
        return phase === "rolling" && updated > 0 ? true : undefined;
      },
      "it rolls",
      60_000,
    );
    clock.shift(to);
    const from = performance.now();
    const ended = await berth.ended("shop", "web", number, 90_000);
    expect(ended, berth.log()).toMatchObject({ phase: "succeeded" });
    // As long as it takes without any jump, and some.
    expect(performance.now() - from).toBeLessThan(45_000);
    const { requests, failed } = await load.stop();
    expect(failed).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    expect((await berth.get("web.shop.localhost")).body).toMatch(new RegExp(`^${version} `));
  }

  test("back by an hour in a rollout: it ends as it should, and the schedule goes on in that hour", async () => {
    await rollOver("v1", -hour);
    await until(
      async () => {
        const now = Date.now() - hour;
        const inThatHour = (await runs()).filter(
          ({ phase, scheduledFor = "" }) => phase === "succeeded" && Date.parse(scheduledFor) <= now,
        );
        return inThatHour.length > 0 ? true : undefined;
      },
      "a run by the clock as it is now",
      180_000,
      () => berth.log(),
    );
  }, 500_000);

  test("ahead by an hour in a rollout: it ends as it should, and what was left out of the schedule is told", async () => {
    await rollOver("v2", 0);
    await until(
      async () => ((await runs()).some(({ phase }) => phase === "missed") ? true : undefined),
      "what was missed",
      180_000,
      () => berth.log(),
    );
    await rollOver("v3", hour);
    await until(
      async () =>
        (await berth.client.listEvents({ query: { stack: "bells", code: "cron_missed", limit: 200 } })).items.length > 50 || undefined,
      "an event for each instant that was missed",
      60_000,
      () => berth.log(),
    );
  }, 700_000);

  test("has run nothing twice, lost no lease, signed nobody out, and leaves everything in order", async () => {
    const scheduled = (await runs()).map(({ scheduledFor = "" }) => scheduledFor).filter((at) => at !== "");
    expect(new Set(scheduled).size).toBe(scheduled.length);
    expect(berth.log()).not.toMatch(/lease_lost|stale_generation/);
    const { items } = await berth.client.listStackRollouts({ params: { stack: "shop" }, query: { component: "web" } });
    expect(items.map(({ phase }) => phase)).toEqual(["succeeded", "succeeded", "succeeded", "succeeded"]);
    await until(
      async () => {
        const { state, ready } = await berth.client.showComponent({ params: { stack: "shop", component: "web" } });
        return (state === "healthy" && ready === 2) || undefined;
      },
      "two ready instances of the shop",
      60_000,
      () => berth.log(),
    );
    const repaired = await berth.client.listEvents({ query: { stack: "shop", code: "component_repaired" } });
    expect(repaired.items).toEqual([]);
  });
}
