// A folder of an older PostgreSQL, made by its real programs: moved whole, or left as it was.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { migrationsFolder, withClient } from "../../../test/server.ts";
import { startEmbedded, stopEmbedded } from "../embedded.ts";
import { silentLog } from "../log.ts";
import { migrate, readMigrations } from "../migrate.ts";
import { upgradeData } from "./upgrade.ts";

// Old and new databases are made, started and stopped.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const bin = "/usr/lib/postgresql/15/bin";
const possible = existsSync(join(bin, "initdb")) && process.getuid?.() === 0;
const uid = 65_534;
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "bpg-"));
  chmodSync(home, 0o711);
});
afterEach(async () => {
  await stopEmbedded(home);
  rmSync(home, { recursive: true, force: true });
});

/** As an older Berth left it: role, database and schema, stopped; `content` runs on it as the application's role. */
async function makeOld(content: string): Promise<void> {
  const data = join(home, "postgres/data");
  mkdirSync(data, { recursive: true });
  for (const folder of [join(home, "postgres"), join(home, "run")]) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o711);
  }
  chownSync(data, uid, uid);
  const sockets = join(home, "s");
  mkdirSync(sockets);
  chownSync(sockets, uid, uid);
  const as = { uid, gid: uid, cwd: "/", env: { PATH: "/usr/bin:/bin", LC_ALL: "C" } };
  execFileSync(
    join(bin, "initdb"),
    ["-D", data, "--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"],
    { ...as, stdio: "ignore" },
  );
  const child = spawn(join(bin, "postgres"), ["-D", data, "-c", `unix_socket_directories=${sockets}`, "-c", "listen_addresses="], {
    ...as,
    stdio: "ignore",
  });
  try {
    const root = { host: sockets, port: 5432, user: "postgres", password: "", database: "postgres" };
    await expect
      .poll(
        () =>
          withClient(root, (client) => client.query("create role berth login createdb")).then(
            () => true,
            () => false,
          ),
        { timeout: 60_000 },
      )
      .toBe(true);
    await withClient(root, (client) => client.query("create database berth owner berth"));
    const own = { ...root, user: "berth", database: "berth" };
    await migrate({ address: own, folder: migrationsFolder, program: "0.1.0", log: silentLog });
    await withClient(own, (client: pg.Client) => client.query(content));
  } finally {
    const gone = once(child, "exit");
    child.kill("SIGINT");
    await gone;
    rmSync(sockets, { recursive: true });
  }
}

const upgrade = async (more: { programs?: string; signal?: AbortSignal } = {}) =>
  upgradeData({
    home,
    runDir: join(home, "run"),
    log: silentLog,
    known: await readMigrations(migrationsFolder),
    program: "0.1.0",
    now: new Date("2026-05-01T12:00:00Z"),
    signal: new AbortController().signal,
    ...more,
  });
const rows =
  "insert into installation (epoch) values (7); insert into teams (name) values ('tab\ttéam'); insert into events (code, params) values ('odd', '{\"a\": [1, null, 9007199254740991]}'); select nextval('fences') from generate_series(1, 41)";

describe.skipIf(!possible && process.env["BERTH_REQUIRE_ALL"] !== "1")("as root, a folder of PostgreSQL 15", () => {
  test("is refused by a start with what to do, moved whole, and its old folder kept", async () => {
    await makeOld(rows);
    const options = { home, runDir: join(home, "run"), log: silentLog };
    await expect(startEmbedded(options)).rejects.toMatchObject({
      reason: "data_older",
      hint: expect.stringContaining("berth server upgrade-database") as string,
    });
    const done = await upgrade();
    expect(done).toMatchObject({ from: 15, to: 18 });
    expect(readFileSync(join(done.old ?? "", "PG_VERSION"), "utf8").trim()).toBe("15");
    expect(readdirSync(join(home, "postgres")).filter((name) => name === "upgrade")).toEqual([]);
    const now = await startEmbedded(options);
    await withClient(now.connection, async (client) => {
      const one = async (sql: string): Promise<unknown> => (await client.query(sql)).rows[0];
      expect(await one("select epoch::int, current_setting('server_version_num')::int / 10000 as server from installation")).toEqual({
        epoch: 7,
        server: 18,
      });
      expect(await one("select name from teams where name like 'tab%'")).toEqual({ name: "tab\ttéam" });
      expect(await one("select params::text from events")).toEqual({ params: '{"a": [1, null, 9007199254740991]}' });
      expect(await one("select nextval('fences')::int as next")).toEqual({ next: 42 });
    });
    await stopEmbedded(home);
    expect(await upgrade()).toMatchObject({ from: 18, to: 18, old: undefined });
  });

  test("stays as it was when the programs are missing, the folder is damaged, or it is stopped half-way", async () => {
    await makeOld(rows);
    const version = (): string => readFileSync(join(home, "postgres/data/PG_VERSION"), "utf8").trim();
    await expect(upgrade({ programs: "/nonexistent" })).rejects.toMatchObject({ reason: "no_binaries" });
    const stopped = new AbortController();
    const begun = setInterval(() => {
      // The new folder is there, and nothing in it yet.
      if (existsSync(join(home, "postgres/upgrade"))) stopped.abort(new Error("stopped"));
    }, 1);
    try {
      await expect(upgrade({ signal: stopped.signal })).rejects.toThrow();
    } finally {
      clearInterval(begun);
    }
    expect([
      version(),
      readdirSync(join(home, "postgres")).filter((name) => name.startsWith("upgrade") || name.startsWith("data.")),
    ]).toEqual(["15", []]);
    // Nor does the new database that was just starting.
    expect(spawnSync("pgrep", ["-f", join(home, "postgres/upgrade")], { encoding: "utf8" }).stdout).toBe("");
    const control = join(home, "postgres/data/global/pg_control");
    const whole = readFileSync(control);
    writeFileSync(control, Buffer.alloc(whole.length));
    await expect(upgrade()).rejects.toMatchObject({ reason: "start_failed" });
    writeFileSync(control, whole);
    expect(version()).toBe("15");
    expect(await upgrade()).toMatchObject({ from: 15, to: 18 });
  });
});
