// That there are always as many routers as there should be, never more, whatever they say or do. The routers are processes of their own that serve nobody.
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { parseEdgeConfig } from "../config.ts";
import { until } from "../testing/harness.ts";
import { routerStandIn } from "../testing/standin.ts";
import { Fleet } from "./fleet.ts";
import { Sockets } from "./sockets.ts";

type How = "serves" | "fails" | "hangs" | "ends" | "breaks";

class TestFleet implements AsyncDisposable {
  readonly fleet: Fleet;
  readonly #folder: string;
  #startWithin = 60_000;

  private constructor(folder: string) {
    this.#folder = folder;
    const startWithin = (): number => this.#startWithin;
    const config = parseEdgeConfig({
      home: folder,
      runDir: folder,
      installation: "test",
      router: { host: "127.0.0.1", port: 1, portIsDefault: false },
    });
    this.fleet = new Fleet({
      config,
      routerFile: join(folder, "router.mjs"),
      get startWithin() {
        return startWithin();
      },
      sockets: new Sockets(),
      init: (place) => ({
        type: "init",
        host: "127.0.0.1",
        port: 1,
        settings: { ...config, accessLog: "", runDir: folder, successor: undefined, place },
        probeKey: "",
        entries: [],
        readiness: [],
      }),
      isLimited: () => false,
      keepMetrics: () => true,
      counted: undefined,
      log: () => undefined,
    });
  }

  /** Two routers that serve. */
  static async start(): Promise<TestFleet> {
    const folder = await mkdtemp(join(tmpdir(), "berth-fleet-"));
    const one = new TestFleet(folder);
    await writeFile(join(folder, "router.mjs"), routerStandIn());
    await one.next("serves");
    await one.fleet.start();
    return one;
  }

  /** What routers do that are started from now on, and how long they may take. */
  async next(how: How, startWithin = 60_000): Promise<void> {
    const file = join(this.#folder, "how");
    // Whole, as one that starts just now reads it; and one that read what was said before keeps its time.
    await writeFile(`${file}.new`, how);
    await rename(`${file}.new`, file);
    this.#startWithin = startWithin;
  }

  /** All that were ever started, by pid. */
  async started(): Promise<number[]> {
    return (await readFile(join(this.#folder, "started"), "utf8")).trim().split("\n").map(Number);
  }

  /** Resolves when there are two routers, both serving, and none of `gone`. */
  async whole(...gone: readonly (number | undefined)[]): Promise<void> {
    const isWhole = (): boolean => this.fleet.isWhole && this.fleet.pids.length === 2 && !this.fleet.pids.some((pid) => gone.includes(pid));
    await until(isWhole, 60_000, "a fleet of two");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet.stop(0);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

it("a router that says ten times that it is broken is replaced once", { timeout: 180_000 }, async () => {
  await using one = await TestFleet.start();
  const [first, second] = one.fleet.pids;
  process.kill(first ?? 0, "SIGUSR2");
  await one.whole(first);
  // A surplus would have been started together with the new one.
  await sleep(500);
  await one.whole(first);
  expect(one.fleet.pids).toContain(second);
  expect((await one.started()).length).toBe(3);
});

it("routers that are broken from the start are replaced ever more slowly, and never become more", { timeout: 180_000 }, async () => {
  await using one = await TestFleet.start();
  const [first] = one.fleet.pids;
  await one.next("breaks");
  process.kill(first ?? 0, "SIGUSR2");
  await sleep(2_500);
  // Pauses of 0, 100, 200, 400, 800 and 1,600 ms.
  expect((await one.started()).length).toBeLessThanOrEqual(2 + 6);
  await one.next("serves");
  await one.whole(first);
});

it.each(["fails", "hangs", "ends"] as const)(
  "a new router that %s leaves the broken one in its place, until one serves",
  { timeout: 180_000 },
  async (how) => {
    await using one = await TestFleet.start();
    const [first, second] = one.fleet.pids;
    await one.next(how, how === "hangs" ? 2_000 : 60_000);
    process.kill(first ?? 0, "SIGUSR2");
    await until(async () => (await one.started()).length >= 4, 60_000, "another try");
    expect(one.fleet.pids).toEqual(expect.arrayContaining([first, second]));
    await one.next("serves");
    await one.whole(first);
    expect(one.fleet.pids).toContain(second);
  },
);

it.each(["fails", "hangs", "ends"] as const)(
  "a place that is free is filled, though the next router %s",
  { timeout: 180_000 },
  async (how) => {
    await using one = await TestFleet.start();
    const [first] = one.fleet.pids;
    await one.next(how, how === "hangs" ? 2_000 : 60_000);
    process.kill(first ?? 0, "SIGKILL");
    await until(async () => (await one.started()).length >= 4, 60_000, "another try");
    await one.next("serves");
    await one.whole(first);
  },
);

it("a broken router that ends while it is replaced leaves its place to the new one alone", { timeout: 180_000 }, async () => {
  await using one = await TestFleet.start();
  const [first] = one.fleet.pids;
  await one.next("hangs");
  process.kill(first ?? 0, "SIGUSR2");
  await until(async () => (await one.started()).length === 3, 60_000, "the new router");
  process.kill(first ?? 0, "SIGKILL");
  await until(() => !one.fleet.pids.includes(first ?? 0), 60_000, "the end of the broken router");
  await one.next("serves");
  const third = (await one.started())[2];
  process.kill(third ?? 0, "SIGKILL");
  await one.whole(first, third);
  expect((await one.started()).length).toBe(4);
});

it("a reload whose new router cannot serve changes nothing", { timeout: 180_000 }, async () => {
  await using one = await TestFleet.start();
  const before = one.fleet.pids;
  await one.next("fails");
  await expect(one.fleet.reload()).rejects.toThrow("cannot take over: 127.0.0.1:1: EADDRINUSE");
  await until(() => one.fleet.pids.length === 2, 60_000, "the end of the new router");
  expect(one.fleet.pids).toEqual(before);
  await one.next("serves");
  await one.fleet.reload();
  await one.whole(...before);
});
