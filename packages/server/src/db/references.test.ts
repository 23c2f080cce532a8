// The indexes that references need: whoever deletes a row looks in every table that may name it, and whoever shows one asks for what belongs to it.
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";

const database = useTestDatabase();

/** Few, and hardly ever deleted: a look through all rows then is less than an index with every row. */
const few = new Set(["clusters", "teams", "roles", "users", "stack_versions"]);

describe("references", () => {
  it("lead back from a row to all that name it, without a look at every row", async () => {
    // An index helps that begins with the column and holds every row that names something.
    const { rows } = await sql<{ from: string; to: string }>`
      select c.conrelid::regclass::text || '.' || a.attname as from, c.confrelid::regclass::text as to
      from pg_constraint c
      join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
      where c.contype = 'f' and c.connamespace = current_schema()::regnamespace and not exists (
        select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]
        and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = '(' || quote_ident(a.attname) || ' IS NOT NULL)')
      )
      order by 1`.execute(database().db);
    expect(rows.filter(({ to }) => !few.has(to))).toEqual([]);
    // It does look at references at all.
    expect(rows.map(({ from }) => from)).toContain("stacks.cluster_id");
  });
});
