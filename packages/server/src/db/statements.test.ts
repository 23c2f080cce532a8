// Prepared statements over a real database: what is prepared, and that a migration beside a running server breaks no question.
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { Statements } from "./statements.ts";
import { transaction } from "./transaction.ts";

const database = useTestDatabase();
const db = () => database().db;
/** In the connection that `trx` has. */
const prepared = async (trx = db()): Promise<string[]> =>
  (await sql<{ statement: string }>`select statement from pg_prepared_statements`.execute(trx)).rows.map(({ statement }) => statement);

describe("statements", () => {
  it("are prepared from the second time on, and few at most", () => {
    const statements = new Statements();
    expect(statements.nameOf("select 1")).toBeUndefined();
    const name = statements.nameOf("select 1");
    expect(name).toMatch(/^berth_\d+$/);
    expect(statements.nameOf("select 1")).toBe(name);
    const names = Array.from({ length: 3_000 }, (_, index) => [`select ${String(index + 2)}`, `select ${String(index + 2)}`])
      .flat()
      .map((text) => statements.nameOf(text))
      .filter((given) => given !== undefined);
    expect(new Set(names).size).toBe(499);
    statements.forget();
    expect(statements.nameOf("select 1")).toBeUndefined();
    expect(statements.nameOf("select 1")).not.toBe(name);
  });

  it("keep their plan in the connection, while texts that differ each time leave nothing there", async () => {
    await db()
      .transaction()
      .execute(async (trx) => {
        const find = (name: string) => trx.selectFrom("teams").select("id").where("name", "=", name).execute();
        for (let time = 0; time < 3; time += 1) await find("default");
        for (let time = 0; time < 5; time += 1) await sql`select ${sql.lit(time)}::int + ${time}::int as sum`.execute(trx);
        const kept = await prepared(trx);
        expect(kept.filter((text) => text.includes('from "teams"'))).toHaveLength(1);
        expect(kept.filter((text) => text.includes("as sum"))).toEqual([]);
      });
  });

  it("answer as before after a migration changed what they answer, alone and in a transaction", async () => {
    await sql`create table changed (a int); insert into changed values (1)`.execute(db());
    const ask = async (trx = db()) => (await sql`select * from changed where a = ${1}`.execute(trx)).rows;
    for (let time = 0; time < 4; time += 1) expect(await ask()).toEqual([{ a: 1 }]);
    expect((await prepared()).filter((text) => text.includes("from changed"))).toHaveLength(1);
    await sql`alter table changed add b int`.execute(db());
    expect(await ask()).toEqual([{ a: 1, b: null }]);
    for (let time = 0; time < 4; time += 1) expect(await ask()).toEqual([{ a: 1, b: null }]);
    await sql`alter table changed add c int`.execute(db());
    let runs = 0;
    const rows = await transaction(db(), async (trx) => {
      runs += 1;
      return ask(trx);
    });
    expect(rows).toEqual([{ a: 1, b: null, c: null }]);
    expect(runs).toBe(2);
  });
});
