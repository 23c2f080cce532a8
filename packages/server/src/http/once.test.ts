// A request with an Idempotency-Key does its work once, whatever dies in between: the process after the work, the database under it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { afterAll, expect, test } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { freeIdempotent } from "../db/idempotency.ts";
import { openSecretBox } from "../db/secretbox.ts";
import { transaction } from "../db/transaction.ts";
import { idempotentOnce, type KeepAnswer } from "./once.ts";

const database = useTestDatabase();
const folder = mkdtempSync(join(tmpdir(), "berth-once-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const box = openSecretBox(join(folder, "key"));
const clock = (): Date => new Date("2030-01-01T00:00:00Z");
const request = (key: string) => ({ principal: "ada", key, hash: "same", status: 201 });

/** Work that leaves a row in the same transaction as its answer. */
function work(team: string): (keep: KeepAnswer) => Promise<unknown> {
  return (keep) =>
    transaction(database().db, async (trx) => {
      await trx.insertInto("teams").values({ name: team }).execute();
      await keep(trx, { team });
      return { team };
    });
}
const made = async (team: string): Promise<number> =>
  (await database().db.selectFrom("teams").select("id").where("name", "like", `${team}%`).execute()).length;

test("a process that dies between its work and its answer leaves the answer to the next one", async () => {
  const { db } = database();
  const done = Promise.withResolvers<void>();
  // Its process never answers any more.
  void idempotentOnce(
    db,
    box,
    clock,
  )(request("died"), async (keep) => {
    await work("died")(keep);
    done.resolve();
    return new Promise(() => undefined);
  });
  await done.promise;
  await freeIdempotent(db);
  expect(await idempotentOnce(db, box, clock)(request("died"), work("died-again"))).toEqual({ replayed: true, response: { team: "died" } });
  expect(await made("died")).toBe(1);
});

test("a process that dies before its work leaves the key free for the next one, at once", async () => {
  const { db } = database();
  const begun = Promise.withResolvers<void>();
  void idempotentOnce(
    db,
    box,
    clock,
  )(request("early"), () => {
    begun.resolve();
    return new Promise(() => undefined);
  });
  await begun.promise;
  await expect(idempotentOnce(db, box, clock)(request("early"), work("early"))).rejects.toMatchObject({ code: "idempotency_in_progress" });
  await freeIdempotent(db);
  expect(await idempotentOnce(db, box, clock)(request("early"), work("early"))).toEqual({ replayed: false, response: { team: "early" } });
});

test("work that lost its key while it ran is undone", async () => {
  const { db } = database();
  const late = idempotentOnce(
    db,
    box,
    clock,
  )(request("late"), async (keep) => {
    await freeIdempotent(db);
    await idempotentOnce(db, box, clock)(request("late"), work("late-winner"));
    return work("late-loser")(keep);
  });
  await expect(late).rejects.toMatchObject({ code: "idempotency_in_progress" });
  expect(await made("late")).toBe(1);
});

test("a commit whose fate the caller did not learn is answered by what it kept", async () => {
  const { db } = database();
  const once = idempotentOnce(db, box, clock);
  await expect(
    once(request("lost"), async (keep) => {
      await work("lost")(keep);
      throw new Error("the connection broke off before the answer to commit came");
    }),
  ).rejects.toThrow("broke off");
  expect(await once(request("lost"), work("lost-again"))).toEqual({ replayed: true, response: { team: "lost" } });
  expect(await made("lost")).toBe(1);
});

test("a key that could not be given back, since the database was away, is free when it is there again", async () => {
  const { db } = database();
  const once = idempotentOnce(db, box, clock);
  // Away, as far as this table goes.
  await expect(
    once(request("away"), async () => {
      await sql`alter table idempotency rename to away`.execute(db);
      throw new Error("no connection");
    }),
  ).rejects.toThrow("no connection");
  await sql`alter table away rename to idempotency`.execute(db);
  expect(await once(request("away"), work("away"))).toEqual({ replayed: false, response: { team: "away" } });
});

test("a route that takes a key and does not keep its answer is found by its first test", async () => {
  await expect(idempotentOnce(database().db, box, clock)(request("careless"), () => Promise.resolve({}))).rejects.toThrow(
    "does not keep its answer",
  );
});

test("an answer is kept encrypted, since it can hold a new token, and a server with another key says whose it is", async () => {
  const { db } = database();
  const answer = { token: "berth_very-secret" };
  await idempotentOnce(
    db,
    box,
    clock,
  )(request("sealed"), (keep) =>
    transaction(db, async (trx) => {
      await keep(trx, answer);
      return answer;
    }),
  );
  const { response } = await db.selectFrom("idempotency").select("response").where("key", "=", "sealed").executeTakeFirstOrThrow();
  expect(JSON.stringify(response)).not.toContain("very-secret");
  expect(await idempotentOnce(db, box, clock)(request("sealed"), () => Promise.reject(new Error("done twice")))).toEqual({
    replayed: true,
    response: answer,
  });
  const other = openSecretBox(join(folder, "other-key"));
  await expect(idempotentOnce(db, other, clock)(request("sealed"), () => Promise.reject(new Error("done twice")))).rejects.toMatchObject({
    code: "idempotency_elsewhere",
  });
});
