// What is asked of a PostgreSQL that somebody else runs. That a real one is refused and waited for is tested in e2e/outside.test.ts.
import { expect, it } from "vitest";
import { nameOf, refusalOf, type ServerFacts } from "./outside.ts";

const good: ServerFacts = { version: "15.1", number: 150_001, standby: false, readOnly: false, encoding: "UTF8" };

it.each([
  [
    { version: "14.22 (Debian 14.22-1)", number: 140_022 },
    "database_too_old",
    "is PostgreSQL 14.22 (Debian 14.22-1); Berth needs 15 or newer.",
  ],
  [{ version: "9.6.24", number: 90_624 }, "database_too_old", "is PostgreSQL 9.6.24"],
  [{ standby: true, readOnly: true }, "database_read_only", "standby"],
  [{ readOnly: true }, "database_read_only", "takes no writes"],
  [{ encoding: "LATIN1" }, "database_encoding", "LATIN1"],
] as const)("refuses %o", (fact, reason, words) => {
  const refusal = refusalOf({ ...good, ...fact }, "shop at db:5432");
  expect(refusal).toMatchObject({ reason, message: expect.stringContaining(words) as string });
  expect(refusal?.hint.length).toBeGreaterThan(20);
});

it("takes 15 and everything newer", () => {
  for (const number of [150_000, 150_018, 160_003, 180_004, 250_000]) expect(refusalOf({ ...good, number }, "x")).toBeUndefined();
});

it("names a database without its password", () => {
  expect(nameOf("postgres://berth:s3cret@db.example.com/shop")).toBe("shop at db.example.com:5432");
  expect(nameOf("postgres://berth:s3cret@[::1]:6000/shop")).toBe("shop at [::1]:6000");
  expect(nameOf("postgresql://berth:s3cret@/shop?host=%2Frun%2Fpg")).toBe("shop at /run/pg");
  expect(() => nameOf("postgres://berth:s3cret@h:99999999/x")).toThrow(/^DATABASE_URL cannot be read as an address\.$/);
});
