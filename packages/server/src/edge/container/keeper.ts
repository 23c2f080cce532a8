// The first process of an edge's container. The container lives as long as it does, so it is no edge itself: a primary that is killed leaves its routers to
// serve on and to bring up the next one (decision 4), and one that hands over to a newer program ends without the container ending.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { nodeFlags } from "../../core/hardened.ts";
import { readEdgeConfig } from "../config.ts";
import { lockHolder } from "../primary/lock.ts";
import { livingRouters } from "../registry.ts";

/** ms between two looks, and how long routers without a primary have to bring one up. */
const period = 250;
const patience = 10_000;

/** Until SIGTERM or SIGINT, which end the edge in good order. Resolves with the exit code. */
export async function keepEdge(configFile: string): Promise<number> {
  const { runDir } = await readEdgeConfig(configFile);
  const lock = join(runDir, "edge.lock");
  const end = new AbortController();
  const order = (): void => {
    end.abort();
  };
  process.on("SIGTERM", order).on("SIGINT", order);
  let waited = 0;
  while (!end.signal.aborted) {
    const holder = lockHolder(lock);
    waited = holder === undefined && livingRouters(runDir).length > 0 ? waited + period : 0;
    if (holder === undefined && (waited === 0 || waited > patience))
      await start(configFile, () => lockHolder(lock) !== undefined, end.signal);
    await sleep(period, undefined, { signal: end.signal }).catch(() => undefined);
  }
  for (;;) {
    const holder = lockHolder(lock);
    if (holder === undefined) return 0;
    process.kill(holder, "SIGTERM");
    await sleep(100);
  }
}

/** Resolves when the edge holds its lock, or has ended. */
async function start(configFile: string, isUp: () => boolean, signal: AbortSignal): Promise<void> {
  const child = spawn(process.execPath, [...nodeFlags, edgeEntry(), configFile], {
    detached: true,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const ended = new Promise<"ended">((resolve) => {
    child
      .once("exit", () => {
        resolve("ended");
      })
      .once("error", (error) => {
        process.stderr.write(`${JSON.stringify({ name: "edge", level: 60, msg: `the edge cannot be started: ${error.message}` })}\n`);
        resolve("ended");
      });
  });
  child.unref();
  while (!isUp() && !signal.aborted) {
    if ((await Promise.race([ended, sleep(50)])) !== "ended") continue;
    // One that cannot start is tried again, without haste.
    await sleep(1_000, undefined, { signal }).catch(() => undefined);
    return;
  }
}

/** Beside this file in the bundle, in the folder above in a checkout. */
function edgeEntry(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const bundled = join(here, "edge.js");
  return existsSync(bundled) ? bundled : join(here, "..", "main.ts");
}
