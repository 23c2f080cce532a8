// Migrations: applied once whoever starts first, and words instead of damage when program and schema do not fit.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/database.ts";
import { migrationsFolder, withClient } from "../../test/server.ts";
import { silentLog } from "./log.ts";
import { migrate } from "./migrate.ts";

let database: TestDatabase;
let folder: string;
beforeEach(async () => {
  database = await createTestDatabase({ empty: true });
  folder = await mkdtemp(join(tmpdir(), "berth-migrate-"));
});
afterEach(async () => {
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

const run = (program = "1.0.0", from = folder) => migrate({ address: database.address, folder: from, program, log: silentLog });
const file = (name: string, sql: string) => writeFile(join(folder, name), sql);

describe("migrate", () => {
  it("applies Berth's own migrations once, with two starters at once", async () => {
    const results = await Promise.all([run("1.0.0", migrationsFolder), run("1.0.0", migrationsFolder)]);
    expect(results.flatMap((result) => result.applied).filter((name) => name === "0001_foundation.sql")).toHaveLength(1);
    expect((await run("1.0.0", migrationsFolder)).applied).toEqual([]);
    expect(await database.db.selectFrom("roles").select("name").where("name", "=", "administrator").execute()).toHaveLength(1);
  });

  it("adds only what is missing", async () => {
    await file("0001_one.sql", "create table one (id int)");
    expect((await run()).applied).toEqual(["0001_one.sql"]);
    await file("0002_two.sql", "create table two (id int)");
    expect((await run()).applied).toEqual(["0002_two.sql"]);
  });

  it("refuses an older program where the schema needs a newer one, and lets it run where it does not", async () => {
    await file("0001_one.sql", "create table one (id int)");
    await run("1.0.0");
    await file("0002_expand.sql", "create table two (id int)");
    await run("1.1.0");
    await rm(join(folder, "0002_expand.sql"));
    expect((await run("1.0.0")).applied).toEqual([]);

    await file("0002_expand.sql", "create table two (id int)");
    await file("0003_contract.sql", "-- minimum program: 1.1.0\ndrop table one");
    expect(await run("1.2.0")).toEqual({ applied: ["0003_contract.sql"], minimumProgram: "1.1.0" });
    await expect(run("1.0.0")).rejects.toMatchObject({
      reason: "schema_needs_newer",
      message: expect.stringContaining("at least 1.1.0; this is 1.0.0") as string,
    });
    expect((await run("1.1.0-dev.3")).applied).toEqual([]);
  });

  it("refuses a migration that was edited after it was applied", async () => {
    await file("0001_one.sql", "create table one (id int)");
    await run();
    await file("0001_one.sql", "create table one (id bigint)");
    await expect(run()).rejects.toMatchObject({ reason: "migration_changed" });
  });

  it("is tried again when it and a server that works beside it wait for each other", async () => {
    await file("0001_tables.sql", "create table a (id int); create table b (id int)");
    await run();
    await withClient(database.address, async (server) => {
      const waits = "select from pg_stat_activity where application_name = 'berth-migrate' and wait_event_type = 'Lock'";
      // PostgreSQL ends who waited longer, or the other one where both took their time: then once more.
      let isEnded = true;
      for (let number = 2; isEnded; number += 1) {
        const name = `${String(number).padStart(4, "0")}_both.sql`;
        await file(name, `lock table a; lock table b; create table c_${String(number)} (id int)`);
        await server.query("begin; lock table b");
        const migrated = run();
        await expect.poll(async () => (await database.pool.query(waits)).rowCount, { timeout: 30_000, interval: 5 }).toBe(1);
        isEnded = await server.query("lock table a").then(
          () => false,
          (error: { readonly code?: string }) => {
            expect(error.code).toBe("40P01");
            return true;
          },
        );
        await server.query("commit");
        expect((await migrated).applied).toEqual([name]);
      }
    });
  });

  it("leaves nothing of a migration that fails half-way, and goes on once it is mended", async () => {
    await file("0001_one.sql", "create table one (id int); create table broken (id nonsense)");
    await expect(run()).rejects.toMatchObject({ reason: "migration_failed", message: expect.stringContaining("nonsense") as string });
    await withClient(database.address, async (client) => {
      expect((await client.query("select to_regclass('one') as found")).rows).toEqual([{ found: null }]);
    });
    await file("0001_one.sql", "create table one (id int)");
    expect((await run()).applied).toEqual(["0001_one.sql"]);
  });
});
