// An upgrade: the control plane of before and the one of after, a made-up newer build with migrations of its own, side by side on one database; a way back
// until the contracting migration; and from then on words instead of the old one. Applications run on through all of it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBerth, startLoad, until, webApp } from "./harness.ts";
import { copyAsVersion } from "./sources.ts";
import { OutsidePostgres, hasPostgres } from "./outside.ts";

/** This program as version 0.2.0, in a folder of its own; migrations are added to it one after the other, as releases would. */
const newer = mkdtempSync(join(tmpdir(), "be-newer-"));
let program = "";
let migrations = "";
beforeAll(() => {
  ({ program, migrations } = copyAsVersion(newer, "0.2.0"));
});
const expand = (): void => {
  writeFileSync(
    join(migrations, "0900_expand.sql"),
    "alter table stacks add column colour text not null default 'blue';\ncreate table novelties (id uuid primary key default gen_random_uuid(), stack_id uuid references stacks on delete cascade);\n",
  );
};
const contract = (): void => {
  writeFileSync(join(migrations, "0901_contract.sql"), "-- minimum program: 0.2.0\nalter table novelties add column gone text;\n");
};

afterAll(() => {
  rmSync(newer, { recursive: true, force: true });
});
const versionOf = async (berth: TestBerth): Promise<string> => (await berth.client.showInstallation()).version;

/** Waits until these stacks are there, and no others, and all of them are healthy. */
async function healthy(berth: TestBerth, names: readonly string[]): Promise<void> {
  const wanted = JSON.stringify(names.map((name) => [name, "healthy"]));
  let seen = "";
  await until(
    async () => {
      const { items } = await berth.client.listStacks({ query: { sort: "name" } });
      seen = JSON.stringify(items.map(({ name, state }) => [name, state]));
      return seen === wanted || undefined;
    },
    `healthy stacks: ${names.join(", ")}`,
    60_000,
    () => seen,
  );
}

describe("in one home", () => {
  let berth: TestBerth;
  beforeAll(async () => {
    berth = await TestBerth.start();
  });
  afterAll(async () => {
    await berth?.stop();
  });

  test("the newer takes over from the older and back again, with the same processes, until the contracting migration", async () => {
    await berth.deployed("shop", webApp("one"));
    const pids = async () =>
      (await berth.client.listInstances({ params: { stack: "shop", component: "web" } })).items.map((instance) => instance.pid);
    const before = await pids();
    const load = startLoad(berth, "web.shop.localhost", "/", 2);
    expand();
    for (const [upgraded, version] of [
      [program, "0.2.0"],
      [undefined, "0.1.0"],
      [program, "0.2.0"],
    ] as const) {
      await berth.server("stop");
      await berth.startServer(upgraded);
      expect(await versionOf(berth)).toBe(version);
      expect(await pids()).toEqual(before);
    }
    await berth.deployed("shop", webApp("two"));
    // Back with what the newer one has made.
    await berth.server("stop");
    await berth.startServer();
    expect(await versionOf(berth)).toBe("0.1.0");
    await berth.deployed("shop", webApp("three"));
    await berth.server("stop");
    contract();
    await berth.startServer(program);
    await berth.server("stop");
    const refused = await berth.tryServer("run");
    expect(refused).toMatchObject({
      code: 1,
      output: expect.stringMatching(
        /needs at least 0\.2\.0; this is 0\.1\.0\.\nNext: Start the newer Berth, or restore the backup/,
      ) as string,
    });
    await berth.startServer(program);
    await healthy(berth, ["shop"]);
    expect((await load.stop()).failed).toEqual([]);
    rmSync(join(migrations, "0901_contract.sql"));
    rmSync(join(migrations, "0900_expand.sql"));
  }, 600_000);
});

describe.skipIf(!hasPostgres && process.env["BERTH_REQUIRE_ALL"] !== "1")("side by side on one database", () => {
  let outside: OutsidePostgres;
  const started: TestBerth[] = [];
  beforeAll(async () => {
    outside = await OutsidePostgres.make();
  });
  afterAll(async () => {
    for (const berth of started) await berth.stop();
    await outside?.remove();
  }, 400_000);

  test("both work, until the contracting migration sends the older one away with words", async () => {
    const old = await TestBerth.start({ DATABASE_URL: outside.url(), BERTH_CLUSTER: "first" });
    started.push(old);
    await old.deployed("before", webApp("one"));
    const next = new TestBerth({ DATABASE_URL: outside.url(), BERTH_CLUSTER: "second" });
    started.push(next);
    expand();
    next.token = old.token;
    await next.startServer(program);
    expect([await versionOf(old), await versionOf(next)]).toEqual(["0.1.0", "0.2.0"]);
    // Each drives its own cluster, and each reads what the other wrote.
    await next.client.createStack({ body: { name: "after", cluster: "second" } });
    await next.deployed("after", webApp("one"));
    await old.deployed("before", webApp("two"));
    for (const berth of [old, next]) await healthy(berth, ["after", "before"]);

    await next.server("stop");
    contract();
    await next.startServer(program);
    // The one that still runs leaves by itself; what it drives runs on.
    await until(
      // It says why as its last word, once nothing answers any more.
      async () =>
        (await old.tryServer("status")).code !== 0 && old.log().includes("needs at least 0.2.0; this is 0.1.0.") ? true : undefined,
      "the older server to leave, with words",
      90_000,
      () => old.log(),
    );
    expect((await old.get("web.before.localhost")).body).toMatch(/^two /);
    await old.startServer(program);
    expect(await versionOf(old)).toBe("0.2.0");
    await old.deployed("before", webApp("three"));
  }, 600_000);
});
