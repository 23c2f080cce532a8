// A cluster for tests. The one that is up is used; where none is, the first test that asks brings it up, and the last one that is done takes it down again.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { withLock } from "../../packages/server/src/os/lock.ts";
import { identify, isSameProcess, type LastingIdentity } from "../../packages/server/src/os/process.ts";
import { createProgress } from "../progress.mjs";
import { isDaemonRunning } from "./daemons.ts";
import { down } from "./down.ts";
import { clusterMissing } from "./missing.ts";
import { at, home, parts as allParts, type Part } from "./settings.ts";
import { up } from "./up.ts";

/** Who uses a cluster that tests brought up; absent where a person did. */
const users = at("users");
/** Only where tests made its folder too, it goes with the cluster. */
const ours = at("users", "made-here");

/** Why tests cannot have one, and what to do about it; undefined when they can. */
export function cannotBorrow(parts: readonly Part[] = allParts): string | undefined {
  const missing = clusterMissing(parts);
  return missing === undefined ? undefined : `${missing.why}: ${missing.hint}`;
}

/** Rejects with ClusterFailed when it cannot be brought up. Takes minutes where its programs have to be compiled. */
export async function borrowCluster(parts: readonly Part[] = allParts): Promise<AsyncDisposable> {
  const own = at("users", `${String(process.pid)}.json`);
  await withLock(`${home}.users.lock`, undefined, async () => {
    // Also while its API server is not ready: it is somebody's.
    const wasUp = isDaemonRunning("kube-apiserver");
    if (!wasUp) {
      const isNew = !existsSync(home);
      rmSync(users, { recursive: true, force: true });
      mkdirSync(users, { recursive: true });
      if (isNew) writeFileSync(ours, "");
    }
    if (existsSync(users)) writeFileSync(own, JSON.stringify(identify(process.pid)));
    // A part that a person left out is added; it stays.
    await up(parts, createProgress(process.stdout));
  });
  return {
    async [Symbol.asyncDispose]() {
      await withLock(`${home}.users.lock`, undefined, async () => {
        if (!existsSync(users)) return;
        rmSync(own, { force: true });
        if (!readdirSync(users).some(isUsing)) await down({ purge: existsSync(ours) });
      });
    },
  };
}

function isUsing(name: string): boolean {
  return name.endsWith(".json") && isSameProcess(JSON.parse(readFileSync(at("users", name), "utf8")) as LastingIdentity);
}

/** From now on the cluster is a person's: it stays up until they take it down. */
export function keepCluster(): void {
  rmSync(users, { recursive: true, force: true });
}
