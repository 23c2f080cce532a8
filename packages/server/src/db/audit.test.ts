// The audit log: whatever is changed in it behind Berth's back is found.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/database.ts";
import { appendAudit, openAuditKey, readAuditHead, sealAudit, verifyAudit, type AuditKey } from "./audit.ts";
import { transaction } from "./transaction.ts";

const folder = mkdtempSync(join(tmpdir(), "berth-audit-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

let database: TestDatabase;
let key: AuditKey;
let keys = 0;
beforeEach(async () => {
  database = await createTestDatabase();
  key = openAuditKey(join(folder, `audit${keys++}.key`));
});
afterEach(async () => {
  await database.drop();
});

const append = (action: string, params: Record<string, unknown> = {}) =>
  transaction(database.db, (trx) => appendAudit(trx, { principal: "ada", action, object: "stack:shop", params, requestId: "r1" }));
const seal = (limit?: number) => sealAudit(database.db, key, 1, limit);
const verify = (epoch = 1) => verifyAudit(database.db, key, epoch);
/** What somebody with the database's password could do. */
const forge = (statement: string) =>
  database.pool.query(`alter table audit disable trigger all; ${statement}; alter table audit enable trigger all`);

async function five(): Promise<void> {
  for (const action of ["stacks.create", "stacks.update", "secrets.set", "components.scale", "stacks.delete"])
    await append(action, { n: 1, nested: { b: [1, "x"], a: null } });
  expect(await seal(2)).toBe(2);
  expect(await seal()).toBe(3);
}

describe("the audit log", () => {
  it("is numbered, chained and signed, and verifies", async () => {
    await five();
    await append("late");
    expect(await verify()).toEqual({ ok: true, entries: 5, unsealed: 1 });
    const rows = await database.db.selectFrom("audit").select(["seq", "action"]).where("seq", "is not", null).orderBy("seq").execute();
    expect(rows.map((row) => row.seq)).toEqual([1, 2, 3, 4, 5]);
  });

  it("shows an entry that was changed, removed, re-ordered, slipped in or cut off", async () => {
    await five();
    const save = "create table saved as select * from audit";
    const restore = "delete from audit; insert into audit select * from saved";
    await database.pool.query(save);
    for (const [statement, problem] of [
      ["update audit set params = '{\"n\": 2}' where seq = 3", { ok: false, seq: 3, problem: "changed" }],
      ["update audit set at = at + interval '1 second' where seq = 1", { ok: false, seq: 1, problem: "changed" }],
      ["delete from audit where seq = 2", { ok: false, seq: 2, problem: "missing" }],
      ["delete from audit where seq >= 4", { ok: false, seq: 4, problem: "cut_off" }],
      ["delete from audit", { ok: false, seq: 1, problem: "cut_off" }],
      [
        "update audit set signature = (select signature from audit where seq = 1) where seq = 4",
        { ok: false, seq: 4, problem: "signature" },
      ],
      [
        "update audit set seq = -seq; update audit set seq = case seq when -2 then 3 when -3 then 2 else -seq end",
        { ok: false, seq: 2, problem: "changed" },
      ],
    ] as const) {
      await forge(statement);
      expect(await verify(), statement).toEqual(problem);
      await forge(restore);
      expect(await verify()).toMatchObject({ ok: true });
    }
  });

  it("shows a whole chain that was forged with another key", async () => {
    await five();
    await forge(
      "update audit set seq = null, previous_hash = null, hash = null, signature = null, key_id = null, sealed_at = null, principal = 'eve'",
    );
    const other = openAuditKey(join(folder, `forged${keys}.key`));
    expect(await sealAudit(database.db, other, 1)).toBe(5);
    expect(await verify()).toEqual({ ok: false, seq: 1, problem: "signature" });
  });

  it("cannot be changed by a slip of Berth's own", async () => {
    await five();
    for (const statement of [
      "update audit set principal = 'x' where seq = 1",
      "delete from audit",
      "truncate audit",
      "update audit set seq = 9 where seq = 1",
    ]) {
      await expect(database.pool.query(statement), statement).rejects.toThrow("never changed or removed");
    }
  });

  it("has one sealer at a time, and no number twice", async () => {
    for (let n = 0; n < 30; n += 1) await append("stacks.update");
    let sealed = 0;
    while (sealed < 30) sealed += (await Promise.all([seal(7), seal(7), seal(7)])).reduce((sum, one) => sum + one, 0);
    expect(sealed).toBe(30);
    expect(await verify()).toEqual({ ok: true, entries: 30, unsealed: 0 });
  });

  it("keeps its head and its key outside of the database, and is no forgery after a restore with a new epoch", async () => {
    await five();
    expect(readAuditHead(key)).toMatchObject({ seq: 5, keyId: key.id, epoch: 1 });
    expect(statSync(join(folder, `audit${keys - 1}.key`)).mode & 0o777).toBe(0o600);
    expect(readFileSync(key.headPath, "utf8")).not.toContain("PRIVATE");
    expect(openAuditKey(join(folder, `audit${keys - 1}.key`)).id).toBe(key.id);
    await forge("delete from audit where seq > 3");
    expect(await verify(2)).toMatchObject({ ok: true, entries: 3 });
  });
});
