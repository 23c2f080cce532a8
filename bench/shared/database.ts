// The database of a Berth that is measured, as the application: what is written here may be no more than what it writes itself.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";

export async function connect(home: string): Promise<pg.Client> {
  const db = new pg.Client({
    host: join(home, "run", "postgres"),
    port: 5432,
    user: "berth",
    database: "berth",
    password: readFileSync(join(home, "postgres", "password"), "utf8").trim(),
  });
  await db.connect();
  return db;
}
