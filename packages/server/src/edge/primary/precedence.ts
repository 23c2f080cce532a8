// Who may be the primary of a run folder: the holder of the lock; before anybody else one that was handed the sockets of routers that live.
import { setTimeout as sleep } from "node:timers/promises";
import { livingRouters, type RegisteredRouter } from "../registry.ts";
import { lockHolder, releaseLock, takeLock } from "./lock.ts";
import type { Takeover } from "./takeover.ts";

/** ms that routers without a primary have to bring the next one up themselves. */
const patience = 15_000;

/** Takes the lock. `from`: who handed it what it needs. Throws when another edge runs, came up meanwhile, or was ended since. */
export async function takePrecedence(
  lockFile: string,
  runDir: string,
  from: Takeover["from"] | undefined,
  log: (message: string, fields: Record<string, unknown>) => void,
): Promise<void> {
  const deadline = performance.now() + patience;
  const accepting = (): RegisteredRouter[] => livingRouters(runDir).filter(({ role }) => role === "accepting");
  const orphansOf = async (): Promise<RegisteredRouter[]> => (from === undefined && lockHolder(lockFile) === undefined ? accepting() : []);
  for (;;) {
    const orphans = await orphansOf();
    if (orphans.length === 0) break;
    if (performance.now() > deadline) {
      log("routers without a primary did not bring up the next one and are ended", { pids: orphans.map(({ pid }) => pid) });
      for (const { pid } of orphans) endRouter(pid);
    }
    await sleep(50);
  }
  await takeLock(lockFile);
  if (from !== "router" || accepting().length > 0) return;
  // It came up so slowly that all was over: an edge that was told to stop must not come back.
  releaseLock(lockFile);
  throw new Error("the routers that this edge was to take over have ended");
}

/** Waits until these routers of earlier primaries have come, or have ended; one that does neither hangs, and is ended. */
export async function awaitRouters(
  expected: readonly number[],
  present: () => readonly number[],
  runDir: string,
  within: number,
): Promise<void> {
  const deadline = performance.now() + within;
  for (;;) {
    const living = new Set(livingRouters(runDir).map(({ pid }) => pid));
    const missing = expected.filter((pid) => living.has(pid) && !present().includes(pid));
    if (missing.length === 0) return;
    if (performance.now() > deadline) for (const pid of missing) endRouter(pid);
    await sleep(10);
  }
}

function endRouter(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself, which is as good.
  }
}
