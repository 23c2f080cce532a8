// Pool, transactions, hints, keys of repeated requests, and who the installation is: over a real database that also goes away.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { createTestDatabase, useTestDatabase } from "../../test/database.ts";
import { withClient } from "../../test/server.ts";
import { BerthError } from "../core/errors.ts";
import { abandonIdempotent, beginIdempotent, finishIdempotent, removeOldIdempotency, requestHash } from "./idempotency.ts";
import { ensureInstallation } from "./installation.ts";
import { createListener, type Listener } from "./listen.ts";
import { silentLog } from "./log.ts";
import { openDatabase } from "./pool.ts";
import { bury, openTombstone, removeTombstonesBefore, settleTombstone, tombstoneFor, withdrawTombstone } from "./tombstones.ts";
import { isUnavailable, isUniqueViolation, transaction } from "./transaction.ts";

const database = useTestDatabase();
const db = () => database().db;
let listeners: Listener[] = [];
afterEach(async () => {
  await Promise.all(listeners.map((listener) => listener.close()));
  listeners = [];
});
/** They are gone when it resolves; that its connection is gone a client hears in its own time. */
const kill = (name: string) =>
  withClient(database().address, (client) =>
    client.query(
      "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and application_name = $1 and pid <> pg_backend_pid()",
      [name],
    ),
  );

describe("the pool", () => {
  it("reads 64-bit numbers as numbers, and refuses one that would be rounded", async () => {
    expect((await database().pool.query("select 9007199254740991::bigint as n, array[1,null]::bigint[] as many")).rows).toEqual([
      { n: 9007199254740991, many: [1, null] },
    ]);
    await expect(database().pool.query("select 9007199254740993::bigint as n")).rejects.toThrow("does not fit");
  });

  it("limits statements, locks and idling inside a transaction, and keeps commits durable", async () => {
    const short = database().open({ statementTimeout: 50 });
    const idle = database().open({ idleInTransactionTimeout: 50 });
    try {
      await expect(short.pool.query("select pg_sleep(600)")).rejects.toMatchObject({ code: "57014" });
      await expect(
        transaction(idle.db, async (trx) => {
          await trx.selectFrom("users").select("id").execute();
          await sleep(200);
          await trx.selectFrom("users").select("id").execute();
        }),
      ).rejects.toMatchObject({ code: "database_unavailable" });
    } finally {
      await short.close();
      await idle.close();
    }
  });
});

describe("a transaction", () => {
  it("runs again after a deadlock, and changes are made once", async () => {
    const [a, b] = await db()
      .insertInto("teams")
      .values([{ name: "dead" }, { name: "lock" }])
      .returning("id")
      .execute();
    let runs = 0;
    let locked = 0;
    const both = (first: string, second: string) =>
      transaction(db(), async (trx) => {
        runs += 1;
        await trx
          .updateTable("teams")
          .set((eb) => ({ name: eb("name", "||", "+") }))
          .where("id", "=", first)
          .execute();
        // Each has its first row before one asks for its second.
        locked += 1;
        if (runs <= 2) await expect.poll(() => locked).toBeGreaterThanOrEqual(2);
        await trx
          .updateTable("teams")
          .set((eb) => ({ name: eb("name", "||", "-") }))
          .where("id", "=", second)
          .execute();
      });
    await Promise.all([both(a?.id ?? "", b?.id ?? ""), both(b?.id ?? "", a?.id ?? "")]);
    expect(runs).toBeGreaterThan(2);
    const names = (
      await db()
        .selectFrom("teams")
        .select("name")
        .where("id", "in", [a?.id ?? "", b?.id ?? ""])
        .execute()
    ).map((row) => row.name.replace(/[a-z]/g, ""));
    for (const marks of names) expect([...marks].sort().join("")).toBe("+-");
  });

  it("gives up after its attempts, and never repeats what was refused for another reason", async () => {
    let runs = 0;
    const failing = (error: unknown, attempts: number) =>
      transaction(
        db(),
        async () => {
          runs += 1;
          throw error;
        },
        { attempts, random: () => 0 },
      );
    await expect(failing(Object.assign(new Error("serialise"), { code: "40001" }), 3)).rejects.toThrow("serialise");
    expect(runs).toBe(3);
    runs = 0;
    await expect(failing(new BerthError("conflict"), 3)).rejects.toMatchObject({ code: "conflict" });
    expect(runs).toBe(1);
  });

  it("says database_unavailable when the connection is cut, refused, or was never there", async () => {
    await expect(
      transaction(db(), async (trx) => {
        await trx.selectFrom("users").select("id").execute();
        await kill("berth");
        await trx.selectFrom("users").select("id").execute();
      }),
    ).rejects.toMatchObject({ code: "database_unavailable" });
    const nowhere = openDatabase({ address: { ...database().address, host: "/nonexistent" }, log: silentLog });
    await expect(transaction(nowhere.db, (trx) => trx.selectFrom("users").select("id").execute())).rejects.toMatchObject({
      code: "database_unavailable",
    });
    await nowhere.close();
    const gone = openDatabase({ address: { connectionString: "postgresql://nobody@127.0.0.1:1/none" }, log: silentLog });
    await expect(transaction(gone.db, (trx) => trx.selectFrom("users").select("id").execute())).rejects.toMatchObject({
      code: "database_unavailable",
    });
    await gone.close();
    // The pool recovers by itself.
    const admins = () => db().selectFrom("users").select("name").where("name", "=", "admin").execute();
    await expect.poll(() => admins().catch(() => [])).toHaveLength(1);
  });

  it("tells a wrong question from a database that is away", async () => {
    const wrong = await database()
      .pool.query("select nonsense")
      .catch((error: unknown) => error);
    expect(isUnavailable(wrong)).toBe(false);
    const double = await db()
      .insertInto("users")
      .values({ name: "admin" })
      .execute()
      .catch((error: unknown) => error);
    expect(isUniqueViolation(double)).toBe(true);
    expect(isUniqueViolation(double, "users_name_key")).toBe(true);
    expect(isUniqueViolation(double, "another")).toBe(false);
    expect(isUnavailable(Object.assign(new Error("no such file"), { code: "ENOENT", syscall: "open" }))).toBe(false);
  });
});

describe("hints", () => {
  it("arrive, and everybody is told to look after the connection was lost and found", async () => {
    const listener = createListener({ address: database().address, log: silentLog });
    listeners.push(listener);
    const seen: (string | undefined)[] = [];
    const off = listener.on("berth_test", (payload) => {
      seen.push(payload);
    });
    await listener.ready;
    await database().pool.query("select pg_notify('berth_test', 'one')");
    await expect.poll(() => seen).toContain("one");
    seen.length = 0;
    await kill("berth-listen");
    await expect.poll(() => seen).toContain(undefined);
    await database().pool.query("select pg_notify('berth_test', 'two')");
    await expect.poll(() => seen).toContain("two");
    off();
    seen.length = 0;
    const late: (string | undefined)[] = [];
    listener.on("berth_late", (payload) => {
      late.push(payload);
    });
    await expect.poll(() => late).toEqual([undefined]);
    await database().pool.query("select pg_notify('berth_test', 'three'), pg_notify('berth_late', 'four')");
    await expect.poll(() => late).toContain("four");
    expect(seen).toEqual([]);
  });
});

describe("Idempotency-Key", () => {
  const start = new Date("2030-01-01T00:00:00Z");
  const later = (ms: number) => new Date(start.getTime() + ms);
  const request = (key: string, body: unknown = { name: "shop" }) => ({
    principal: "ada",
    key,
    hash: requestHash("POST", "/stacks", body),
  });

  it("lets one of many do the work and gives the others its answer", async () => {
    const begun = await Promise.all(
      Array.from({ length: 5 }, () => beginIdempotent(db(), request("a"), start).catch((error: { code: string }) => error.code)),
    );
    const [mine] = begun.filter((one) => typeof one === "object" && one.kind === "new");
    expect(begun.filter((one) => one === "idempotency_in_progress")).toHaveLength(4);
    if (typeof mine !== "object" || mine.kind !== "new") throw new Error("nobody began");
    await transaction(db(), (trx) => finishIdempotent(trx, mine.attempt, { status: 201, response: { name: "shop" } }));
    expect(await beginIdempotent(db(), request("a"), start)).toEqual({ kind: "replay", status: 201, response: { name: "shop" } });
    await expect(beginIdempotent(db(), request("a", { name: "other" }), start)).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect(await beginIdempotent(db(), { ...request("a"), principal: "eve" }, start)).toMatchObject({ kind: "new" });
  });

  it("is free again after a failure, after a day, and when its first holder fell silent", async () => {
    const first = await beginIdempotent(db(), request("b"), start);
    if (first.kind !== "new") throw new Error("not new");
    await abandonIdempotent(db(), first.attempt);
    const second = await beginIdempotent(db(), request("b"), start);
    expect(second.kind).toBe("new");
    const third = await beginIdempotent(db(), request("b"), later(60_001));
    if (second.kind !== "new" || third.kind !== "new") throw new Error("not taken over");
    // The silent one comes back: its transaction is undone, so that the work is never done twice.
    await expect(transaction(db(), (trx) => finishIdempotent(trx, second.attempt, { status: 201, response: {} }))).rejects.toMatchObject({
      code: "idempotency_in_progress",
    });
    await finishIdempotent(db(), third.attempt, { status: 204, response: undefined });
    expect(await beginIdempotent(db(), request("b"), later(120_000))).toEqual({ kind: "replay", status: 204, response: null });
    expect((await beginIdempotent(db(), request("b", "anything"), later(25 * 3_600_000))).kind).toBe("new");
    await removeOldIdempotency(db(), later(100 * 3_600_000));
    expect(await db().selectFrom("idempotency").selectAll().execute()).toEqual([]);
  });
});

describe("the installation", () => {
  it("is made once, recognised, and refused when a newer database was at work since", async () => {
    const own = await createTestDatabase();
    try {
      const made = await Promise.all([ensureInstallation(own.db), ensureInstallation(own.db)]);
      expect(made.map((one) => one.found).sort()).toEqual(["created", "same"]);
      const { id, epoch } = made[0]?.installation ?? { id: "", epoch: 0 };
      expect(epoch).toBe(1);
      expect(await ensureInstallation(own.db, { id, epoch })).toMatchObject({ found: "same", installation: { id, epoch } });
      expect(await ensureInstallation(own.db, { id, epoch: 3 })).toMatchObject({ found: "older", installation: { id, epoch: 1 } });
      expect(await ensureInstallation(own.db, { id: "33333333-3333-4333-8333-333333333333", epoch: 1 })).toMatchObject({ found: "other" });
      await own.pool.query("delete from installation");
      expect(await ensureInstallation(own.db, { id, epoch: 4 })).toMatchObject({ found: "created", installation: { id, epoch: 5 } });
    } finally {
      await own.drop();
    }
  });
});

describe("a tombstone", () => {
  const here = { cluster: "local", teamId: "44444444-4444-4444-8444-444444444444" };
  const web = { kind: "component", stack: "s", component: "web" } as const;
  const age = (generation: number, epoch = 1) => ({ epoch, generation });

  it("is open from the decision to the end of the removal, once however often it is decided, and may be taken back", async () => {
    await bury(db(), web, here);
    await bury(db(), web, here);
    const open = await openTombstone(db(), "local", web);
    expect(open).toMatchObject({ grave: web, cluster: "local", epoch: 1, teamId: here.teamId });
    expect(await db().selectFrom("tombstones").select("id").where("done_at", "is", null).execute()).toHaveLength(1);
    expect(await openTombstone(db(), "far", web)).toBeUndefined();
    expect(await openTombstone(db(), "local", { ...web, component: "we" })).toBeUndefined();
    await settleTombstone(db(), open?.id ?? 0, 1);
    expect(await openTombstone(db(), "local", web)).toBeUndefined();
    const volume = { kind: "volume", stackId: "id", volume: "data" } as const;
    await bury(db(), volume, here);
    await withdrawTombstone(db(), "local", volume);
    expect(await openTombstone(db(), "local", volume)).toBeUndefined();
  });

  it("speaks for what is as old as the removal, its stack's for everything in it, and never for what was made later or in a later life", async () => {
    const job = { kind: "component", stack: "t", component: "job" } as const;
    await bury(db(), job, here);
    const open = await openTombstone(db(), "local", job);
    const ref = { stack: "t", component: "job" };
    await settleTombstone(db(), open?.id ?? 0, 5_000_000);
    const spoken = async (of: typeof ref, seen: ReturnType<typeof age>, cluster = "local") =>
      (await tombstoneFor(db(), cluster, of, seen))?.grave;
    expect(await spoken(ref, age(5_000_000))).toEqual(job);
    expect(await spoken(ref, age(9_000_000, 0))).toEqual(job);
    expect(await spoken(ref, age(5_000_001))).toBeUndefined();
    expect(await spoken(ref, age(1, 2))).toBeUndefined();
    expect(await spoken(ref, age(1), "far")).toBeUndefined();
    expect(await spoken({ stack: "t", component: "other" }, age(1))).toBeUndefined();
    await bury(db(), { kind: "stack", stack: "t" }, here);
    expect(await spoken({ stack: "t", component: "other" }, age(1))).toEqual({ kind: "stack", stack: "t" });
    expect(await spoken({ stack: "t2", component: "other" }, age(1))).toBeUndefined();
  });

  it("is forgotten long after it was settled, and never while it is open", async () => {
    await bury(db(), { ...web, component: "kept" }, here);
    await removeTombstonesBefore(db(), new Date(Date.now() + 60_000));
    expect(await openTombstone(db(), "local", { ...web, component: "kept" })).toBeDefined();
    expect(await db().selectFrom("tombstones").select("id").where("done_at", "is not", null).execute()).toEqual([]);
  });
});

describe("the test database itself", () => {
  it("fails a test that leaves a connection open", async () => {
    const leaky = await createTestDatabase();
    const left = leaky.open();
    await left.pool.query("select 'left open'");
    await expect(leaky.drop(500)).rejects.toThrow(/1 database connections were left open.*left open/);
    await left.close();
  });
});
