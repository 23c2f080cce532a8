// Each check says what is wrong when it is, and nothing when it is not.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import type { Observed } from "../engines/engine.ts";
import { pathsOf, type Paths } from "../paths.ts";
import { clockAgainstDatabase, epochs, lastBackup, privateFiles, services, unknownObjects } from "./doctor-state.ts";
import { marker } from "./service/units.ts";

const database = useTestDatabase();
let paths: Paths;
beforeEach(() => {
  const home = mkdtempSync(join(tmpdir(), "berth-doctor-"));
  paths = pathsOf(home, join(home, "run"));
});
afterEach(() => {
  rmSync(paths.home, { recursive: true, force: true });
});
const now = new Date("2026-05-10T00:00:00Z");

test("clocks that differ, in either direction", async () => {
  expect((await clockAgainstDatabase(database().db, Date.now)).status).toBe("ok");
  for (const shift of [60_000, -60_000])
    expect(await clockAgainstDatabase(database().db, () => Date.now() + shift)).toMatchObject({
      status: "warning",
      // Half of the time that the question took is in it.
      found: expect.stringMatching(/^differs by (5[5-9]|6[0-4])\.\d s/) as string,
    });
});

test("a database whose successor was at work here", () => {
  expect([epochs(3, 3).status, epochs(3, undefined).status, epochs(3, 2).status]).toEqual(["ok", "ok", "ok"]);
  expect(epochs(3, 4)).toMatchObject({ status: "failed", found: expect.stringContaining("epoch 4") as string });
});

test("keys that others may read, and a key that is missing", () => {
  expect(privateFiles(paths)).toMatchObject({ status: "warning", found: expect.stringContaining("secrets.key is missing") as string });
  for (const file of [paths.secretsKey, paths.auditKey]) writeFileSync(file, "key", { mode: 0o600 });
  expect(privateFiles(paths)).toMatchObject({ status: "ok" });
  chmodSync(paths.auditKey, 0o640);
  expect(privateFiles(paths)).toMatchObject({
    status: "failed",
    found: `others may read ${paths.auditKey}`,
    next: `Run: chmod 600 ${paths.auditKey}`,
  });
});

test("no backup, an old one, and one that is gone", () => {
  const remember = (at: string, file: string): void => {
    writeFileSync(join(paths.home, "last-backup.json"), JSON.stringify({ at, file }));
  };
  expect(lastBackup(paths, now)).toMatchObject({ status: "warning", found: "none was ever made from here" });
  const file = join(paths.home, "b.tar");
  writeFileSync(file, "");
  remember("2026-05-08T00:00:00Z", file);
  expect(lastBackup(paths, now)).toEqual({ status: "ok", found: "the last one was made 2 day(s) ago" });
  remember("2026-04-20T00:00:00Z", file);
  expect(lastBackup(paths, now)).toMatchObject({ status: "warning", found: "the last one was made 20 day(s) ago" });
  remember("2026-05-09T00:00:00Z", `${file}.moved`);
  expect(lastBackup(paths, now)).toMatchObject({ status: "warning", found: expect.stringContaining("no longer at") as string });
});

test("units that are gone, a stranger's, or start what is not there", () => {
  expect(services(paths)).toBeUndefined();
  const folder = join(paths.home, "units");
  mkdirSync(folder);
  writeFileSync(join(paths.home, "service.json"), JSON.stringify({ name: "berth", user: false, folder, files: ["berth.service"] }));
  expect(services(paths)).toMatchObject({ status: "failed", found: expect.stringContaining("is gone") as string });
  const unit = (text: string): void => {
    writeFileSync(join(folder, "berth.service"), text);
  };
  unit("[Service]\nExecStart=/bin/true\n");
  expect(services(paths)).toMatchObject({ status: "failed" });
  unit(`${marker}\n[Service]\nExecStart=${process.execPath} server.js\n`);
  expect(services(paths)).toMatchObject({ status: "ok" });
  unit(`${marker}\n[Service]\nExecStart=/nonexistent/node server.js\n`);
  expect(services(paths)).toMatchObject({ status: "failed", found: expect.stringContaining("not there any more") as string });
});

test("what runs and is unknown, by number and never by name", async () => {
  const observed = (component: string, instances: number): Observed => ({
    ref: { stack: "hidden", component },
    fence: { installation: "i", epoch: 1, generation: 1 },
    instances: Array.from({ length: instances }, (_, n) => ({
      id: `${component}-${n}`,
      track: "stable",
      revision: { releaseHash: "h", restart: 0 },
      releaseNumber: 1,
      phase: "running",
      ready: true,
      restarts: 0,
      addresses: {},
      probes: [],
    })),
  });
  const engine = (all: readonly Observed[]) => ({
    async *list() {
      yield* all;
    },
  });
  const signal = new AbortController().signal;
  expect(await unknownObjects(database().db, engine([observed("gone", 0)]), "local", signal)).toMatchObject({ status: "ok" });
  const found = await unknownObjects(database().db, engine([observed("web", 2), observed("api", 1)]), "local", signal);
  expect(found).toMatchObject({ status: "warning", found: expect.stringMatching(/^2 component/) as string });
  expect(JSON.stringify(found)).not.toContain("hidden");
});
