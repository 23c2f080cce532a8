// The end of long work that somebody asks for, while the database comes and goes.
import { expect, it } from "vitest";
import { useTestDatabase } from "../../test/database.ts";
import { silentLog } from "../db/log.ts";
import { openDatabase } from "../db/pool.ts";
import { watchForCancel } from "./cancel-watch.ts";

const database = useTestDatabase();
const never = new AbortController().signal;

it("goes on while the database is away, and hears of a cancellation afterwards", async () => {
  const gone = openDatabase({ address: { ...database().address, host: "/nonexistent" }, log: silentLog });
  try {
    const cancelled = new AbortController();
    let looks = 0;
    await watchForCancel(
      async () => {
        looks += 1;
        const { db } = looks < 3 ? gone : database();
        return (await db.selectFrom("users").select("name").where("name", "=", "admin").executeTakeFirst())?.name;
      },
      cancelled,
      never,
      1,
    );
    expect([looks, cancelled.signal.reason]).toEqual([3, "admin"]);
  } finally {
    await gone.close();
  }
});

it("tells whoever awaits it of any other failure, and nobody else: the process lives", async () => {
  const watching = watchForCancel(() => Promise.reject(new TypeError("a mistake")), new AbortController(), never, 1);
  // An unhandled rejection in the meantime would fail this test's run.
  await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(watching).rejects.toThrow("a mistake");
});

it("ends with the work", async () => {
  const ended = new AbortController();
  const watching = watchForCancel(() => Promise.resolve(undefined), new AbortController(), ended.signal, 60_000);
  ended.abort();
  await watching;
});
