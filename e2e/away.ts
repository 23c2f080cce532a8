// PostgreSQL gone for a while: what the API says meanwhile, what runs notices of it, and what is left to do afterwards. Shared by the short and the long test.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { withLock } from "../packages/server/src/os/lock.ts";
import { TestBerth, isAlive, startLoad, until, webApp } from "./harness.ts";
import { freeze } from "./load/machine.ts";

/** Kills the embedded database and keeps everybody from starting it again for so many seconds. */
export async function goneFor(seconds: number): Promise<void> {
  const berth = await TestBerth.start();
  try {
    await berth.deployed("shop", webApp("one"));
    const at = { stack: "shop", component: "web" };
    const before = (await berth.client.listInstances({ params: at })).items.map((instance) => instance.pid ?? 0);
    const server = berth.serverPid();
    const load = startLoad(berth, "web.shop.localhost", "/", 2);
    let asked = 0;
    // Whoever starts it takes this lock first.
    await withLock(join(berth.home, "postgres", "lock"), undefined, async () => {
      const postmaster = Number(readFileSync(join(berth.home, "postgres/data/postmaster.pid"), "utf8").split("\n")[0]);
      // Held first: a session that it began after they were counted would answer, too.
      await freeze(postmaster);
      const processes = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, "utf8").trim().split(" ").map(Number);
      process.kill(postmaster, "SIGKILL");
      // Its sessions answer what they have been asked before each notices that it is alone.
      await until(async () => !processes.some(isAlive) || undefined, "its processes to be gone", 60_000);
      for (const end = Date.now() + seconds * 1000; Date.now() < end; asked += 1) {
        const from = performance.now();
        for (const init of [{}, { method: "POST", body: JSON.stringify({ name: `away-${asked}` }) }]) {
          const answer = await fetch(`${berth.url}/api/v1/stacks`, {
            ...init,
            headers: { authorization: `Bearer ${berth.token}`, ...("body" in init ? { "content-type": "application/json" } : {}) },
          });
          const problem = (await answer.json()) as { code?: string; detail?: string; hint?: string };
          expect([answer.status, problem.code]).toEqual([503, "database_unavailable"]);
          expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
          expect(`${problem.detail} ${problem.hint}`).toBe("The database does not answer. Wait a moment; nothing accepted is lost.");
        }
        expect(performance.now() - from).toBeLessThan(15_000);
        expect((await fetch(`${berth.url}/readyz`)).status).toBe(503);
        await sleep(250);
      }
    });
    expect(asked).toBeGreaterThan(0);
    await until(
      async () => (await fetch(`${berth.url}/readyz`)).ok || undefined,
      "the server to be ready again",
      120_000,
      () => berth.log(),
    );
    // Nothing that was refused was done, nothing that had been done is gone, and work goes on by itself.
    expect((await berth.client.listStacks()).items.map((stack) => stack.name)).toEqual(["shop"]);
    expect((await berth.client.listInstances({ params: at })).items.map((instance) => instance.pid)).toEqual(before);
    await berth.deployed("shop", webApp("two"));
    expect((await load.stop()).failed).toEqual([]);
    expect((await berth.get("web.shop.localhost")).body).toMatch(/^two /);
    expect(berth.serverPid()).toBe(server);
    expect(isAlive(server)).toBe(true);
  } finally {
    await berth.stop();
  }
}
