// Events: one order for everybody, in which nothing is ever skipped, whoever commits late.
import { sql } from "kysely";
import { afterEach, describe, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { withClient } from "../../test/server.ts";
import { appendEvent, createEventReader, removeEventsBefore, type EventBatch, type NewEvent } from "./events.ts";
import { ensureInstallation } from "./installation.ts";
import { createListener, type Listener } from "./listen.ts";
import { silentLog } from "./log.ts";
import { settleRestored } from "./settle.ts";
import { transaction } from "./transaction.ts";

const database = useTestDatabase();
const db = () => database().db;
const reader = (more: { epoch?: number; listener?: Listener; pollMs?: number } = {}) =>
  createEventReader({ db: db(), epoch: 1, pollMs: 20, ...more });
const all = { within: "all" } as const;
const append = (code: string, more: Partial<NewEvent> = {}) => transaction(db(), (trx) => appendEvent(trx, { code, ...more }));
const codes = (batch: EventBatch) => batch.events.map((event) => event.code);

/** Reads until the condition holds; other databases' transactions may hold back the end of the order for a moment. */
async function readUntil(after: string, wanted: string[]): Promise<void> {
  await expect.poll(async () => codes(await reader().read(after, all))).toEqual(wanted);
}

let listeners: Listener[] = [];
afterEach(async () => {
  await Promise.all(listeners.map((listener) => listener.close()));
  listeners = [];
});

describe("events", () => {
  it("are read in order after a cursor, with everything that they carry", async () => {
    const from = await reader().head();
    await append("rollout_failed", {
      params: { rollout: 3 },
      topics: ["stack:shop", "component:shop/web"],
      stack: "shop",
      component: "web",
      cause: { code: "internal", params: {}, evidence: [] },
    });
    await append("stack_updated", { stack: "shop" });
    await readUntil(from, ["rollout_failed", "stack_updated"]);
    const { events } = await reader().read(from, all);
    expect(events[0]).toMatchObject({
      params: { rollout: 3 },
      topics: ["stack:shop", "component:shop/web"],
      stack: "shop",
      component: "web",
      cause: { code: "internal" },
    });
    expect(codes(await reader().read(events[0]?.cursor ?? "", all))).toEqual(["stack_updated"]);
  });

  it("never skip a transaction that began earlier and committed later", async () => {
    const from = await reader().head();
    let commit: () => void = () => undefined;
    const committing = new Promise<void>((resolve) => {
      commit = resolve;
    });
    const written = Promise.withResolvers<void>();
    const late = transaction(db(), async (trx) => {
      await appendEvent(trx, { code: "late" });
      written.resolve();
      await committing;
    });
    await written.promise;
    await append("early");
    let cursor = from;
    // However often is read meanwhile, the one that committed first waits for the one that began first.
    for (let n = 0; n < 3; n += 1) {
      const batch = await reader().read(cursor, all);
      expect(codes(batch)).toEqual([]);
      cursor = batch.cursor;
    }
    commit();
    await late;
    await readUntil(cursor, ["late", "early"]);
  });

  it("reach a follower exactly once and in one order, with many writers at once", { timeout: 120_000 }, async () => {
    const from = await reader().head();
    const wanted = 120;
    const stop = new AbortController();
    const seen: string[][] = [[], []];
    const following = seen.map(async (list) => {
      for await (const batch of await reader({ pollMs: 5 }).follow(from, all, stop.signal)) {
        list.push(...codes(batch));
        if (list.length >= wanted) return;
      }
    });
    await Promise.all(
      Array.from({ length: 6 }, async (_, writer) => {
        for (let n = 0; n < wanted / 6; n += 1)
          await transaction(db(), async (trx) => {
            await appendEvent(trx, { code: `w${writer}n${n}` });
            if (n % 3 === 0) await trx.selectNoFrom((eb) => eb.fn<string>("pg_sleep", [eb.val(0.003)]).as("slept")).execute();
          });
      }),
    );
    const timer = setTimeout(() => {
      stop.abort();
    }, 60_000);
    await Promise.all(following);
    clearTimeout(timer);
    expect(new Set(seen[0]).size).toBe(wanted);
    expect(seen[0]).toHaveLength(wanted);
    expect(seen[1]).toEqual(seen[0]);
  });

  it("wake a follower by a hint, long before its poll, and it ends when it is aborted", async () => {
    const listener = createListener({ address: database().address, log: silentLog });
    listeners.push(listener);
    await listener.ready;
    const stop = new AbortController();
    const from = await reader().head();
    const got: string[] = [];
    const following = (async () => {
      for await (const batch of await reader({ listener, pollMs: 600_000 }).follow(undefined, all, stop.signal)) got.push(...codes(batch));
    })();
    // Again and again: a hint that comes while another database holds back the end of the order shows nothing.
    const told: string[] = [];
    const tell = async (): Promise<number> => {
      await append("hello");
      told.push("hello");
      return got.length;
    };
    await expect.poll(tell).toBeGreaterThan(0);
    stop.abort();
    await following;
    // Who follows from here on is told of none of them.
    await readUntil(from, told);
  });

  it("reach a follower from the moment that he is told he follows, although he reads later", async () => {
    const stop = new AbortController();
    const batches = await reader({ pollMs: 5 }).follow(undefined, all, stop.signal);
    await append("at once");
    const { value } = (await batches.next()) as { value: EventBatch };
    expect(codes(value)).toEqual(["at once"]);
    stop.abort();
    await batches.return(undefined);
  });

  it("are filtered by topic, beginning of a topic, team and code", async () => {
    const { id: team } = await db().selectFrom("teams").select("id").executeTakeFirstOrThrow();
    const from = await reader().head();
    await append("one", { topics: ["component:shop/web", "stack:shop"], teamId: team });
    await append("two", { topics: ["component:shop2/web"] });
    await append("three", { topics: ["component:shop/api"] });
    await readUntil(from, ["one", "two", "three"]);
    const only = async (filter: object) => codes(await reader().read(from, { ...all, ...filter }));
    expect(await only({ topics: ["component:shop/*"] })).toEqual(["one", "three"]);
    expect(await only({ topics: ["stack:shop", "component:shop2/web"] })).toEqual(["one", "two"]);
    expect(await only({ topics: ["component:shop/%"] })).toEqual([]);
    expect(await only({ topics: [] })).toEqual([]);
    expect(await only({ within: { teams: [team], stacks: [] } })).toEqual(["one"]);
    expect(await only({ within: { teams: [], stacks: [] } })).toEqual([]);
    expect(await only({ code: "two" })).toEqual(["two"]);
  });

  it("are listed newest first, page by page, and removed when they are old", async () => {
    const from = await reader().head();
    for (const code of ["p1", "p2", "p3"]) await append(code, { stack: "paged" });
    await readUntil(from, ["p1", "p2", "p3"]);
    const filter = { ...all, stack: "paged" };
    const newest = { order: sql`at desc, id desc`, keys: sql<unknown[]>`jsonb_build_array(id)`, limit: 1 };
    const first = await reader().list(filter, { ...newest, where: sql<boolean>`true` });
    expect(first.map((event) => event.code)).toEqual(["p3", "p2"]);
    expect(
      (await reader().list(filter, { ...newest, where: sql<boolean>`id < ${first[1]?.cursor_keys[0]}` })).map((event) => event.code),
    ).toEqual(["p1"]);
    expect(await reader().list({ ...filter, since: new Date(Date.now() + 60_000) }, { ...newest, where: sql<boolean>`true` })).toEqual([]);
    expect(await reader().list({ ...filter, until: new Date(0) }, { ...newest, where: sql<boolean>`true` })).toEqual([]);
    await db()
      .updateTable("events")
      .set({ at: new Date(0) })
      .where("code", "=", "p1")
      .execute();
    expect(await removeEventsBefore(db(), new Date(1_000))).toBe(1);
  });

  it("go on in order after a restore, whatever transaction numbers the new server has", async () => {
    const { installation } = await ensureInstallation(db());
    const from = await reader({ epoch: installation.epoch }).head();
    await append("before_1");
    await append("before_2");
    await readUntil(from, ["before_1", "before_2"]);
    const old = (await reader().read(from, all)).events;
    // As if the dump came from a server that had counted much further.
    await database().pool.query("update events set xid = (xid::text::bigint + 1000000)::text::xid8");
    await withClient(database().address, (client) =>
      settleRestored(client, { epoch: installation.epoch + 5, from: new Date(0).toISOString() }),
    );
    await append("after");
    const now = reader({ epoch: installation.epoch + 5 });
    await expect.poll(async () => codes(await now.read(old[0]?.cursor ?? "", all))).toEqual(["before_2", "installation_restored", "after"]);
  });

  it("refuse a cursor that is none", async () => {
    await expect(reader().read("1-2", all)).rejects.toMatchObject({ code: "invalid_request" });
    await expect(reader().read("1-99999999999999999999999-1", all)).rejects.toMatchObject({ code: "invalid_request" });
  });
});
