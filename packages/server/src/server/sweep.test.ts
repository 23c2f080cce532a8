// What a killed control plane left in the home is cleared away at the next start: processes of its fetches too; what belongs to this version stays.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sweepCompiled, sweepTemporary, sweepVolumes } from "./sweep.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "berth-sweep-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

test("fetches, with what still runs of them, and half-written uploads", async () => {
  const tmp = join(home, "tmp");
  const fetching = join(tmp, "fetch-abc");
  mkdirSync(fetching, { recursive: true });
  writeFileSync(join(fetching, "pack"), "half a repository");
  writeFileSync(join(tmp, "spool-1"), "half an upload");
  const left = spawn("sleep", ["600"], { env: { PATH: "/usr/bin:/bin", HOME: fetching }, detached: true, stdio: "ignore" });
  const ended = once(left, "exit");
  await once(left, "spawn");
  await sweepTemporary({ tmp });
  expect(readdirSync(tmp)).toEqual([]);
  expect((await ended)[1]).toBe("SIGKILL");
});

test("nothing, where nothing was ever begun", async () => {
  await sweepTemporary({ tmp: join(home, "tmp") });
  await sweepVolumes({ home });
  await sweepCompiled({ compiled: join(home, "compiled") }, "1.0.0");
});

test("archives that did not come into their volumes, and no volume", async () => {
  const stack = join(home, "stacks", "one");
  for (const folder of ["volumes.new/data", "volumes/data"]) {
    mkdirSync(join(stack, folder), { recursive: true });
    writeFileSync(join(stack, folder, "file"), "");
  }
  await sweepVolumes({ home });
  expect(readdirSync(stack)).toEqual(["volumes"]);
  expect(readdirSync(join(stack, "volumes", "data"))).toEqual(["file"]);
});

test("compiled code of other versions", async () => {
  const compiled = join(home, "compiled");
  for (const version of ["0.9.0", "1.0.0", "v24.1.0-x64-abc-0"]) mkdirSync(join(compiled, version), { recursive: true });
  await sweepCompiled({ compiled }, "1.0.0");
  expect(readdirSync(compiled)).toEqual(["1.0.0"]);
  expect(existsSync(join(compiled, "1.0.0"))).toBe(true);
});
