// What is kept for people who look again: never older than their question, whoever wrote, whatever was committed late and whichever connection was lost.
import { afterEach, describe, expect, it } from "vitest";
import { sql } from "kysely";
import { useTestDatabase } from "../../test/database.ts";
import { withClient } from "../../test/server.ts";
import { silentLog } from "./log.ts";
import { createViews, removeViewChanges, type Read, type Views } from "./views.ts";

const database = useTestDatabase();
const db = () => database().db;
let opened: Views[] = [];
afterEach(async () => {
  await Promise.all(opened.map((views) => views.close()));
  opened = [];
});
function open(most?: number): Views {
  const views = createViews({ address: database().address, log: silentLog, ...(most === undefined ? {} : { most }) });
  opened.push(views);
  return views;
}

/** A stack with components, straight in the database. */
async function make(components: number): Promise<{ readonly stack: string; readonly ids: readonly string[] }> {
  const { id: team } = await db().selectFrom("teams").select("id").where("name", "=", "default").executeTakeFirstOrThrow();
  const cluster = await db()
    .insertInto("clusters")
    .values({ name: `c-${crypto.randomUUID()}`, engine: "local" })
    .returning("id")
    .executeTakeFirstOrThrow();
  const stack = await db()
    .insertInto("stacks")
    .values({ name: `s-${crypto.randomUUID()}`, team_id: team, cluster_id: cluster.id })
    .returning("id")
    .executeTakeFirstOrThrow();
  const rows = await db()
    .insertInto("components")
    .values(
      Array.from({ length: components }, (_, n) => ({
        stack_id: stack.id,
        name: `c-${String(n)}`,
        kind: "worker" as const,
        spec: "{}",
        replicas: 0,
        stable_release_id: null,
      })),
    )
    .returning("id")
    .execute();
  return { stack: stack.id, ids: rows.map(({ id }) => id) };
}

const set = (id: string, ready: number, at = db()) => at.updateTable("components").set({ ready }).where("id", "=", id).execute();
async function read(id: string): Promise<Read<number>> {
  const { ready } = await db().selectFrom("components").select("ready").where("id", "=", id).executeTakeFirstOrThrow();
  return { value: ready, of: [id], bytes: 10 };
}
/** As a request of its own. */
const ask = (views: Views, id: string, reading = () => read(id)): Promise<number> => views.get({}, id, reading);

describe("what is kept", () => {
  it("is read once for all, until it changes", async () => {
    const {
      ids: [id = "", other = ""],
    } = await make(2);
    const views = open();
    let reads = 0;
    const counted = (): Promise<Read<number>> => {
      reads += 1;
      return read(id);
    };
    expect(await Promise.all(Array.from({ length: 50 }, () => ask(views, id, counted)))).toEqual(Array(50).fill(0));
    expect(reads).toBe(1);
    await set(other, 5);
    expect(await ask(views, id, counted)).toBe(0);
    expect(reads).toBe(1);
    await set(id, 1);
    expect(await ask(views, id, counted)).toBe(1);
    expect(reads).toBe(2);
  });

  it("is never older than what was committed before the question, on any of several servers", async () => {
    const { ids } = await make(3);
    const servers = [open(), open()];
    // A server of its own each, as far as the database can tell.
    const others = [database().open(), database().open()];
    try {
      for (let round = 1; round <= 100; round += 1) {
        const id = ids[(round * 7) % 3] ?? "";
        await set(id, round, others[round % 2]?.db);
        const found = await Promise.all(servers.flatMap((views) => ids.map((one) => ask(views, one))));
        const { rows } = await sql<{
          ready: number;
        }>`select ready from components where id = any(${ids}::uuid[]) order by array_position(${ids}::uuid[], id)`.execute(db());
        const now = rows.map(({ ready }) => ready);
        expect(found).toEqual([...now, ...now]);
      }
    } finally {
      await Promise.all(others.map((one) => one.close()));
    }
  });

  it("does not miss what began early and was committed late", async () => {
    const {
      ids: [late = "", early = ""],
    } = await make(2);
    const views = open();
    await withClient(database().address, async (client) => {
      await client.query("begin");
      await client.query("update components set ready = 7 where id = $1", [late]);
      await set(early, 1);
      expect([await ask(views, late), await ask(views, early)]).toEqual([0, 1]);
      await set(early, 2);
      expect([await ask(views, late), await ask(views, early)]).toEqual([0, 2]);
      await client.query("commit");
    });
    expect([await ask(views, late), await ask(views, early)]).toEqual([7, 2]);
  });

  it("is not what changed while it was read, and nobody who asks later is given that", async () => {
    const {
      ids: [id = "", other = ""],
    } = await make(2);
    const views = open();
    const gate = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    const slow = ask(views, id, async () => {
      const found = await read(id);
      began.resolve();
      await gate.promise;
      return found;
    });
    await began.promise;
    await set(id, 3);
    expect(await ask(views, id)).toBe(3);
    await set(id, 4);
    await ask(views, other);
    gate.resolve();
    expect(await slow).toBe(0);
    expect(await ask(views, id)).toBe(4);
  });

  it("is the same for all that one request looks at, and new for the next", async () => {
    const {
      ids: [id = ""],
    } = await make(1);
    const views = open();
    const request = {};
    expect(await views.get(request, id, () => read(id))).toBe(0);
    await set(id, 1);
    expect(await ask(views, id)).toBe(1);
    expect(await views.get({}, id, () => read(id))).toBe(1);
  });

  it("is read anew where what the database does not know is another", async () => {
    const {
      ids: [id = ""],
    } = await make(1);
    const views = open();
    let around = "a";
    const told = (): Promise<string> =>
      views.get(
        {},
        "told",
        () => Promise.resolve({ value: around, of: [id], bytes: 1 }),
        (value) => value === around,
      );
    expect(await told()).toBe("a");
    around = "b";
    expect(await told()).toBe("b");
  });

  it("does not keep that there is nothing, nor a failure", async () => {
    const views = open();
    const found: (string | undefined)[] = [];
    for (const value of [undefined, "made"])
      found.push(
        await views.get({}, "x", () => Promise.resolve({ value, of: value === undefined ? [] : [crypto.randomUUID()], bytes: 1 })),
      );
    expect(found).toEqual([undefined, "made"]);
    await expect(views.get({}, "y", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await views.get({}, "y", () => Promise.resolve({ value: 1, of: [crypto.randomUUID()], bytes: 1 }))).toBe(1);
  });

  it("is let go of when it is too much, what nobody asked for first", async () => {
    const { ids } = await make(3);
    // Two of them, with what it takes to find them.
    const views = open(1_500);
    let reads = 0;
    const look = async (index: number): Promise<void> => {
      const id = ids[index] ?? "";
      await ask(views, id, () => {
        reads += 1;
        return read(id);
      });
    };
    await look(0);
    await look(1);
    await look(0);
    await look(2);
    expect(reads).toBe(3);
    await look(0);
    expect(reads).toBe(3);
    await look(1);
    expect(reads).toBe(4);
  });

  it("is asked for anew after the connection was lost, and a question under way is answered", async () => {
    const {
      ids: [id = ""],
    } = await make(1);
    const views = open();
    expect(await ask(views, id)).toBe(0);
    await set(id, 2);
    await withClient(database().address, (client) =>
      client.query(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and application_name = 'berth-views'",
      ),
    );
    expect(await ask(views, id)).toBe(2);
    expect(await ask(views, id)).toBe(2);
  });
});

/** Columns that no view shows; a new column is one of these, or is noted. */
const unseen: Readonly<Record<string, readonly string[]>> = {
  stacks: ["id", "last_build", "last_task", "delete_volumes", "quota"],
  components: ["id", "last_release", "memory"],
  rollouts: [
    "id",
    "cluster_id",
    "version_id",
    "reason",
    "build_id",
    "release_id",
    "from_release_id",
    "spec",
    "config",
    "secret_refs",
    "waits_for",
    "follows",
    "pause",
    "step",
    "verified",
    "cause",
    "abort_requested_by",
    "ends_as",
    "progress",
    "created_by",
    "image_reference",
    "created_at",
    "started_at",
  ],
  releases: ["id", "artifact_digest", "build_id", "config", "secret_refs", "spec", "runtime", "reason", "created_by"],
  image_looks: ["asked_by", "asked", "looked", "asked_at", "failures"],
  routes: [],
  internal_ports: [],
  teams: ["id", "created_at"],
  clusters: [
    "id",
    "engine",
    "config",
    "created_at",
    "node_id",
    "node_host",
    "seen_at",
    "unadopted",
    "host",
    "host_ciphertext",
    "draining_since",
    "removed_at",
    // Put into the place of `name` where an answer goes out, whatever is kept; `test/cluster-names.test.ts`.
    "called",
  ],
};
/** Those whose rows are shown only once a stack names them. */
const named: readonly string[] = ["teams", "clusters"];

describe("the database", () => {
  it("notes each change of what is shown", async () => {
    // After each row's change: https://www.postgresql.org/docs/current/catalog-pg-trigger.html, bits as in pg_trigger.h.
    const { rows } = await sql<{ table: string; column: string; noted: boolean }>`
      select c.table_name as table, c.column_name as column, exists (
        select from pg_trigger t where t.tgrelid = c.table_name::regclass and t.tgname = 'note_change' and t.tgenabled = 'O'
          and t.tgtype = case when c.table_name = any(${named}) then 1 + 16 else 1 + 4 + 8 + 16 end
          and (cardinality(t.tgattr) = 0 or c.ordinal_position = any(t.tgattr))) as noted
      from information_schema.columns c where c.table_schema = 'public' and c.table_name = any(${Object.keys(unseen)})`.execute(db());
    expect(rows.length).toBeGreaterThan(50);
    for (const { table, column, noted } of rows)
      expect({ table, column, noted }).toEqual({ table, column, noted: unseen[table]?.includes(column) !== true });
  });

  it("is not misled by notes that a dump brought from another database", async () => {
    const {
      ids: [id = ""],
    } = await make(1);
    await sql`insert into view_changes (xid, of, seen, at) values ('900000000000', gen_random_uuid(), '900000000000:900000000000:', now() - interval '1 hour')`.execute(
      db(),
    );
    await set(id, 5);
    await removeViewChanges(db());
    const { rows } = await sql<{ mine: boolean; foreign: boolean }>`
      select count(*) filter (where of = ${id}::uuid) > 0 as mine, count(*) filter (where xid = '900000000000') > 0 as foreign from view_changes`.execute(
      db(),
    );
    expect(rows).toEqual([{ mine: true, foreign: false }]);
  });

  it("removes notes when no server can need them any more", async () => {
    await sql`delete from view_changes`.execute(db());
    const {
      ids: [id = ""],
    } = await make(1);
    await removeViewChanges(db());
    const count = async (): Promise<number> =>
      (await sql<{ n: number }>`select count(distinct xid)::int as n from view_changes`.execute(db())).rows[0]?.n ?? -1;
    const made = await count();
    expect(made).toBeGreaterThan(0);
    await sql`update view_changes set at = at - interval '1 hour'`.execute(db());
    await set(id, 1);
    await sql`update view_changes set at = at - interval '1 hour' where of = ${id}::uuid and xid = (select max(xid) from view_changes)`.execute(
      db(),
    );
    await removeViewChanges(db());
    // The newest of them stays: its own transaction was not over when it was noted.
    expect(await count()).toBe(1);
  });
});
