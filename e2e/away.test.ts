// A database that is away, damaged, newer or on a full disk: waited for or refused, with words, and nothing lost.
import { execFile, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goneFor } from "./away.ts";
import { TestBerth, isAlive, startLoad, until, webApp } from "./harness.ts";

const run = promisify(execFile);

test(
  "PostgreSQL gone for a while: the API says so, applications do not notice, and everything goes on by itself",
  () => goneFor(4),
  400_000,
);

describe("a data folder that cannot be used", () => {
  let berth: TestBerth;
  beforeAll(async () => {
    berth = await TestBerth.start();
    await berth.deployed("shop", webApp("one"));
    await berth.server("stop");
  }, 300_000);
  afterAll(async () => {
    await berth?.stop();
  });

  const data = (): string => join(berth.home, "postgres/data");
  async function refused(words: RegExp): Promise<void> {
    const { code, output } = await berth.tryServer("run");
    expect(output).toMatch(words);
    expect(output).toMatch(/^Next: /m);
    expect(code).toBe(1);
    expect((await berth.get("web.shop.localhost")).status).toBe(200);
  }

  test.each<[string, () => () => void, RegExp]>([
    [
      "is truncated",
      () => {
        const file = join(data(), "global/pg_control");
        const copy = readFileSync(file);
        truncateSync(file, 100);
        return () => {
          writeFileSync(file, copy);
        };
      },
      /damaged: global\/pg_control is cut short/,
    ],
    [
      "has lost its version",
      () => {
        const file = join(data(), "PG_VERSION");
        const copy = readFileSync(file);
        writeFileSync(file, "");
        return () => {
          writeFileSync(file, copy);
        };
      },
      /damaged: PG_VERSION is empty/,
    ],
    [
      "has lost its log of changes",
      () => {
        renameSync(join(data(), "pg_wal"), `${data()}-wal`);
        return () => {
          renameSync(`${data()}-wal`, join(data(), "pg_wal"));
        };
      },
      /damaged: pg_wal is missing/,
    ],
    [
      "is of a newer PostgreSQL",
      () => {
        const file = join(data(), "PG_VERSION");
        writeFileSync(file, "19\n");
        return () => {
          writeFileSync(file, "18\n");
        };
      },
      /made by PostgreSQL 19; this Berth brings 18/,
    ],
    [
      "is gone",
      () => {
        renameSync(data(), `${data()}-away`);
        return () => {
          renameSync(`${data()}-away`, data());
        };
      },
      /is not in .* any more/,
    ],
  ])("that %s is refused with words, and used again when it is as it was", async (_what, damage, words) => {
    const mend = damage();
    try {
      await refused(words);
      expect(existsSync(join(berth.home, "server.json"))).toBe(false);
    } finally {
      mend();
    }
  });

  test("and of all of this nothing is lost", async () => {
    await berth.startServer();
    const stacks = await until(async () => {
      const { items } = await berth.client.listStacks();
      // It looks at what runs as soon as it is up, and an instance of a busy machine may miss a probe.
      return items.some(({ state }) => state !== "healthy") ? undefined : items;
    }, "every stack to be healthy");
    expect(stacks).toMatchObject([{ name: "shop", state: "healthy" }]);
  });
});

const isRoot = process.getuid?.() === 0;
test.skipIf(!isRoot)(
  "as root: a disk that is full: coded answers, applications serve on, and all goes on by itself when there is room again",
  async () => {
    const berth = new TestBerth();
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=420m,mode=0711", "berth-full", berth.home]).status).toBe(0);
    const filler = join(berth.home, "filler");
    try {
      await berth.startServer();
      await berth.login();
      await berth.deployed("shop", webApp("one"));
      await berth.client.updateConfig({ params: { stack: "shop", component: "web" }, body: { values: { KEPT: "yes" } } });
      const load = startLoad(berth, "web.shop.localhost", "/", 2);
      fill(filler);

      const headers = { authorization: `Bearer ${berth.token}`, "content-type": "application/json" };
      const seen = new Set<string>();
      for (let n = 0; n < 60; n += 1) {
        const answers = [
          fetch(`${berth.url}/api/v1/stacks`, { headers }),
          fetch(`${berth.url}/api/v1/stacks`, { method: "POST", headers, body: JSON.stringify({ name: `full-${n}` }) }),
          fetch(`${berth.url}/api/v1/stacks/shop/config`, {
            method: "PATCH",
            headers,
            body: JSON.stringify({ values: { [`BIG_${n}`]: "x".repeat(60_000) } }),
          }),
          fetch(`${berth.url}/api/v1/stacks/shop/sources/upload`, {
            method: "POST",
            headers: { ...headers, "content-type": "application/x-tar" },
            body: new Uint8Array(2_000_000),
          }),
        ];
        for (const answer of await Promise.all(answers)) {
          const body = await answer.text();
          if (answer.status < 400) continue;
          const problem = JSON.parse(body) as { code: string };
          seen.add(`${answer.status} ${problem.code}`);
          if (answer.status === 503 || answer.status === 507) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
        }
        if (!existsSync(filler)) break;
        fill(filler);
      }
      // Never a 500, and what was refused was refused for its reason.
      expect([...seen].filter((one) => !/^(503 database_unavailable|507 storage_full|422 archive_refused|400 |409 )/.test(one))).toEqual(
        [],
      );
      expect(seen).toContain("507 storage_full");

      rmSync(filler);
      await until(
        async () => (await fetch(`${berth.url}/readyz`).catch(() => undefined))?.ok || undefined,
        "the server to be ready again",
        120_000,
        () => berth.log(),
      );
      expect((await berth.client.showConfig({ params: { stack: "shop", component: "web" } })).values).toMatchObject({ KEPT: "yes" });
      const made = await berth.up("shop", webApp("two"));
      for (const rollout of made.rollouts)
        expect(await berth.ended("shop", rollout.component, rollout.number, 120_000)).toMatchObject({ phase: "succeeded" });
      expect((await berth.get("web.shop.localhost")).body).toMatch(/^two /);
      expect((await load.stop()).failed).toEqual([]);
      expect(isAlive(berth.serverPid())).toBe(true);
    } finally {
      rmSync(filler, { force: true });
      await berth.server("stop", "--all").catch(() => undefined);
      await run("umount", ["--lazy", berth.home]);
      rmSync(berth.home, { recursive: true, force: true });
    }
  },
  600_000,
);

/** Takes every byte that is left. */
function fill(path: string): void {
  const file = openSync(path, "a");
  try {
    for (const block of [1 << 20, 1 << 12]) {
      const bytes = Buffer.alloc(block);
      try {
        for (;;) writeSync(file, bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    }
  } finally {
    closeSync(file);
  }
}
