// A snapshot put into another database: every row exactly as it was, in one piece or not at all.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, useTestDatabase, type TestDatabase } from "../../test/database.ts";
import { migrationsFolder, withClient } from "../../test/server.ts";
import { replaceContent, type Replacement } from "./content.ts";
import { readMigrations, type Migration } from "./migrate.ts";
import { openSnapshot, type Snapshot } from "./snapshot.ts";

const source = useTestDatabase();
let target: TestDatabase;
let known: Migration[];
beforeAll(async () => {
  target = await createTestDatabase({ empty: true });
  known = await readMigrations(migrationsFolder);
});
afterAll(async () => {
  await target.drop();
});

const odd = "tab\t quote ' \" back\\slash \u{1F600} line\nend";
async function fill(): Promise<void> {
  await source().pool.query("insert into installation default values on conflict do nothing");
  await source().pool.query(
    "insert into events (code, params, topics, cause) values ('odd', $1, $2, 'null'), ('plain', '{}', '{}', null)",
    [JSON.stringify({ text: odd, big: 9007199254740991, deep: [null, { a: 1.5 }] }), [odd, "stack:a", ""]],
  );
  await source().pool.query(
    "insert into api_tokens (prefix, hash, user_id, name, scopes) select 'p', '\\x00ff10'::bytea, id, $1, '{*}' from users",
    [odd],
  );
  await source().pool.query("insert into audit (principal, action, object, params) values ('a', 'b', 'c', '{}')");
  await source().pool.query(
    "insert into due (kind, key, cluster, due_at) values ('component', 'k', 'local', '2026-01-02 03:04:05.678901Z')",
  );
  await source().pool.query(
    "insert into clusters (name, engine) values ('local', 'local'); insert into stacks (team_id, cluster_id, name) select t.id, c.id, 'shop' from teams t, clusters c",
  );
  await source().pool.query(
    "with made as (insert into components (stack_id, name, kind, spec, replicas) select id, 'web', 'web', '{}', 2 from stacks returning id), a as (insert into artifacts (digest, kind, size) values ('sha256:aa', 'bundle', 1) returning digest) insert into releases (component_id, number, hash, artifact_digest, config, secret_refs, spec, runtime, reason, created_by) select made.id, 1, 'h', a.digest, '{}', '{}', '{}', '{}', 'r', 'me' from made, a",
  );
  await source().pool.query(
    "update components set stable_release_id = (select id from releases); select nextval('fences'), nextval('fences')",
  );
}

/** Without Berth's own pool, which a restore would take for a server. */
const ask = (database: TestDatabase, sql: string) =>
  withClient(database.address, async (client) => (await client.query<Record<string, string>>(sql)).rows);
async function contents(database: TestDatabase, snapshot: Snapshot): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const { name } of snapshot.tables)
    found[name] = (await ask(database, `select t::text as line from ${name} t order by 1`)).map((row) => row["line"] ?? "");
  return found;
}

async function copy(snapshot: Snapshot, change: Partial<Replacement> = {}): Promise<void> {
  await replaceContent({
    address: target.address,
    known,
    program: "999.0.0",
    content: snapshot,
    afterwards: () => Promise.resolve(),
    feed: async (insert) => {
      for (const table of snapshot.tables.toReversed()) for await (const lines of snapshot.rows(table)) await insert(table.name, lines);
    },
    ...change,
  });
}

describe("a snapshot", () => {
  it("comes back exactly, into an empty database and over another content, with its sequences", async () => {
    await fill();
    const snapshot = await openSnapshot(source().address);
    try {
      expect(snapshot.blobs).toEqual(["sha256:aa"]);
      await source().pool.query("insert into teams (name) values ('after the snapshot')");
      for (let round = 0; round < 2; round += 1) {
        await copy(snapshot);
        const [here, there] = [await contents(source(), snapshot), await contents(target, snapshot)];
        expect(there["teams"]?.length).toBe(1);
        expect({ ...there, teams: [] }).toEqual({ ...here, teams: [] });
        expect(here["events"]?.length).toBe(2);
        expect(await ask(target, "select last_value from fences")).toEqual(await ask(source(), "select last_value from fences"));
        // Identity columns go on behind what was loaded, and references and triggers are in force again.
        await ask(target, "insert into events (code) values ('next')");
        await expect(ask(target, "delete from audit")).rejects.toThrow("never changed");
        await expect(ask(target, "update components set stable_release_id = gen_random_uuid()")).rejects.toMatchObject({ code: "23503" });
      }
    } finally {
      await snapshot.close();
    }
  });

  it("is loaded whole or not at all: a failure at the end leaves what was there", async () => {
    const snapshot = await openSnapshot(source().address);
    try {
      await copy(snapshot);
      const before = await contents(target, snapshot);
      await expect(copy(snapshot, { afterwards: () => Promise.reject(new Error("power cut")) })).rejects.toThrow("power cut");
      expect(await contents(target, snapshot)).toEqual(before);
      // A row that names one that is not there is found when the references are put back.
      const broken = { ...snapshot, tables: snapshot.tables.filter((table) => table.name !== "stacks") };
      await expect(copy(broken)).rejects.toMatchObject({ code: "23503" });
      expect(await contents(target, snapshot)).toEqual(before);
    } finally {
      await snapshot.close();
    }
  });

  it("is refused with words when a newer program made it, and while another server works there", async () => {
    const snapshot = await openSnapshot(source().address);
    try {
      await expect(
        copy({ ...snapshot, migrations: [...snapshot.migrations, { number: 900, name: "0900_future.sql", checksum: "x" }] }),
      ).rejects.toMatchObject({ reason: "schema_needs_newer", message: expect.stringContaining("0900_future.sql") as string });
      await expect(
        copy({ ...snapshot, migrations: snapshot.migrations.map((one) => ({ ...one, checksum: "other" })) }),
      ).rejects.toMatchObject({ reason: "migration_changed" });
      await withClient({ ...target.address, application_name: "berth" } as typeof target.address, async () => {
        await expect(copy(snapshot)).rejects.toMatchObject({ reason: "in_use" });
      });
    } finally {
      await snapshot.close();
    }
  });

  it("keeps every blob and every migration waiting until it is closed", async () => {
    const snapshot = await openSnapshot(source().address);
    const free = async (): Promise<boolean> =>
      (
        await ask(
          source(),
          "select (pg_try_advisory_xact_lock(7238273411938474) and pg_try_advisory_xact_lock(7238273411938472))::text as free",
        )
      )[0]?.["free"] === "true";
    expect(await free()).toBe(false);
    await snapshot.close();
    await expect.poll(free).toBe(true);
  });
});
