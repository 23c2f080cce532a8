// What is kept and is not well any more, as the database and the key file show it. Bundles and secrets of what was deployed: e2e/doctor.test.ts.
import { sql } from "kysely";
import { expect, test } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { createToken } from "../db/tokens.ts";
import { expiringTokens, latestEvent } from "./doctor-kept.ts";

const database = useTestDatabase();

test("tokens that end within a week, by number and never by name", async () => {
  const { db } = database();
  const now = new Date("2026-05-10T00:00:00Z");
  expect((await expiringTokens(db, now)).status).toBe("ok");
  const { id: userId } = await db.selectFrom("users").select("id").limit(1).executeTakeFirstOrThrow();
  for (const [name, days] of [
    ["past", -1],
    ["later", 30],
    ["soon", 3],
    ["sooner", 2],
  ] as const)
    await createToken(db, { userId, name, scopes: ["*"], expiresAt: new Date(now.getTime() + days * 86_400_000) });
  const found = await expiringTokens(db, now);
  expect(found).toMatchObject({ status: "warning", found: "2 tokens expire within a week, the first on 2026-05-12 00:00 UTC" });
  expect(JSON.stringify(found)).not.toContain("soon");
});

test("events of the future: the clock was set back", async () => {
  const { db } = database();
  const now = new Date();
  expect((await latestEvent(db, now)).status).toBe("ok");
  await sql`insert into events (code, params, at) values ('odd', '{}', ${new Date(now.getTime() + 3 * 86_400_000)})`.execute(db);
  expect(await latestEvent(db, now)).toMatchObject({ status: "failed", found: expect.stringMatching(/3 days in the future/) as string });
});
