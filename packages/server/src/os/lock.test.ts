// The lock file with an identity: never two holders, and never stuck on one who died.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withLock } from "./lock.ts";
import { identify, isRunning, isSameProcess } from "./process.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-lock-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("identity", () => {
  it("tells a process from a later one with the same pid, and from its own corpse", async () => {
    const child = spawn("/bin/sleep", ["60"], { stdio: "ignore" });
    await once(child, "spawn");
    const identity = identify(child.pid ?? 0);
    if (identity === undefined) throw new Error("not running");
    expect(isSameProcess(identity)).toBe(true);
    expect(isSameProcess({ ...identity, start: "1" })).toBe(false);
    expect(isSameProcess({ ...identity, boot: "another" })).toBe(false);
    child.kill("SIGKILL");
    await once(child, "exit");
    await expect.poll(() => isRunning(identity.pid)).toBe(false);
    expect(isSameProcess(identity)).toBe(false);
  });
});

describe("withLock", () => {
  it("lets one in at a time, also when it has to be broken open first", async () => {
    const path = join(folder, "lock");
    writeFileSync(path, JSON.stringify({ pid: process.pid, start: "1", boot: "before", nonce: "dead-holder" }));
    let inside = 0;
    let most = 0;
    let done = 0;
    await Promise.all(
      Array.from({ length: 12 }, () =>
        withLock(path, undefined, async () => {
          most = Math.max(most, ++inside);
          await sleep(2);
          inside -= 1;
          done += 1;
        }),
      ),
    );
    expect({ most, done }).toEqual({ most: 1, done: 12 });
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each(["", '{"pid":12,"sta', "\0\0\0\0", "null", "{}"])(
    "takes what a power cut left of a lock (%j) as a dead holder's",
    async (left) => {
      const path = join(folder, "lock");
      writeFileSync(path, left);
      let inside = 0;
      let most = 0;
      await Promise.all(
        Array.from({ length: 6 }, () =>
          withLock(path, AbortSignal.timeout(30_000), async () => {
            most = Math.max(most, ++inside);
            await sleep(2);
            inside -= 1;
          }),
        ),
      );
      expect(most).toBe(1);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  it("is given back after a failure, and waiting for it can be given up", async () => {
    const path = join(folder, "lock");
    await expect(withLock(path, undefined, () => Promise.reject(new Error("inside")))).rejects.toThrow("inside");
    await withLock(path, undefined, async () => {
      await expect(withLock(path, AbortSignal.timeout(50), async () => undefined)).rejects.toMatchObject({ name: "TimeoutError" });
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});
