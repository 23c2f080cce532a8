// A database that goes away in the middle of anything, or has no strength left: callers are told so with a 503 that they may repeat, never with a 500.
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { sql } from "kysely";
import { useTestDatabase } from "../../test/database.ts";
import { silentLog } from "../db/log.ts";
import { openDatabase, type DatabaseAddress, type Db } from "../db/pool.ts";
import { isUnavailable, transaction } from "../db/transaction.ts";
import { codedError, problemOf } from "./problem.ts";

const database = useTestDatabase();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

type Side = "server" | "client";
interface Cut {
  /** FIN over a unix socket, as when a process ends; RST over TCP, as when it is killed with something unread. */
  readonly how: "end" | "reset";
  readonly side: Side;
  /** Bytes of that side that pass before; all others pass unchanged. */
  readonly after: number;
}

/** A way to the real database that ends in the middle. */
async function wayThatEnds({ how, side, after }: Cut): Promise<{ readonly address: DatabaseAddress; readonly passed: () => number }> {
  const real = database().address;
  const folder = mkdtempSync(join(tmpdir(), "berth-cut-"));
  const sockets = new Set<Socket>();
  let passed = 0;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect(`${real.host}/.s.PGSQL.${String(real.port)}`);
    sockets.add(client).add(upstream);
    let over = false;
    const cut = (): void => {
      over = true;
      if (how === "end") client.end();
      else client.resetAndDestroy();
      upstream.destroy();
    };
    const pass =
      (from: Side, to: Socket) =>
      (chunk: Buffer): void => {
        if (over) return;
        const left = from === side ? after - passed : Number.POSITIVE_INFINITY;
        if (from === side) passed += chunk.length;
        if (chunk.length < left) to.write(chunk);
        else if (left > 0) to.write(chunk.subarray(0, left), cut);
        else cut();
      };
    client
      .on("data", pass("client", upstream))
      .on("error", () => undefined)
      .on("close", () => upstream.destroy());
    upstream.on("data", pass("server", client)).on("error", () => undefined);
  });
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });
  const address = await new Promise<DatabaseAddress>((resolve) => {
    if (how === "end")
      server.listen(join(folder, ".s.PGSQL.5432"), () => {
        resolve({ ...real, host: folder, port: 5432 });
      });
    else
      server.listen(0, "127.0.0.1", () => {
        resolve({ ...real, host: "127.0.0.1", port: (server.address() as AddressInfo).port });
      });
  });
  return { address, passed: () => passed };
}

/** What a request does to the database: a question of its own, and a transaction with several, some at once. The error, if any. */
async function asked(address: DatabaseAddress): Promise<unknown> {
  const open = openDatabase({ address, log: silentLog, max: 2 });
  try {
    await open.db.selectFrom("users").select("id").execute();
    await transaction(open.db, async (trx) => {
      await Promise.all([trx.selectFrom("users").selectAll().execute(), trx.selectFrom("teams").select("id").execute()]);
      await trx.updateTable("teams").set({ name: "x" }).where("name", "=", "none").execute();
    });
    await open.db.selectFrom("teams").select("id").execute();
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await open.close();
  }
}

describe("a connection that ends", () => {
  it.each([
    ["end", "server"],
    ["end", "client"],
    ["reset", "server"],
    ["reset", "client"],
  ] as const)(
    "with %s after any number of bytes of the %s is told as database_unavailable",
    async (how, side) => {
      const whole = await wayThatEnds({ how, side, after: Number.POSITIVE_INFINITY });
      expect(await asked(whole.address)).toBeUndefined();
      const told = new Map<string, number>();
      // Not in the farewell, 5 bytes of each connection, which nobody waits for. A prime, so that it falls on every part of the protocol's messages.
      for (let after = 0; after < whole.passed() - 10; after += 13) {
        const error = await asked((await wayThatEnds({ how, side, after })).address);
        const { code } = error === undefined ? { code: "nothing" } : codedError(error);
        told.set(code, (told.get(code) ?? 0) + 1);
      }
      expect([...told.keys()]).toEqual(["database_unavailable"]);
      expect(told.get("database_unavailable")).toBeGreaterThan(40);
    },
    60_000,
  );
});

describe("what PostgreSQL says", () => {
  const raised = (db: Db, code: string): Promise<unknown> =>
    sql`do ${sql.raw(`$$ begin raise exception using errcode = '${code}', message = 'made up'; end $$`)}`
      .execute(db)
      .catch((error: unknown) => error);

  it.each([
    ["08006", "connection_failure"],
    ["08P01", "protocol_violation"],
    ["25006", "read_only_sql_transaction: a standby since a failover"],
    ["25P03", "idle_in_transaction_session_timeout"],
    ["40001", "serialization_failure, again and again"],
    ["40P01", "deadlock_detected, again and again"],
    ["53200", "out_of_memory"],
    ["53300", "too_many_connections"],
    ["55P03", "lock_not_available"],
    ["57014", "query_canceled: its time was over"],
    ["57P01", "admin_shutdown"],
    ["57P02", "crash_shutdown"],
    ["57P03", "cannot_connect_now"],
    ["58030", "io_error"],
  ])("%s (%s) is a 503", async (code) => {
    const alone = await raised(database().db, code);
    expect(alone).toMatchObject({ code });
    const within = await transaction(database().db, (trx) => raised(trx, code).then((error) => Promise.reject(error as Error)), {
      random: () => 0,
    }).catch((error: unknown) => error);
    for (const error of [alone, within])
      expect(problemOf(codedError(error), "r")).toMatchObject({ status: 503, code: "database_unavailable" });
  });

  it("53100 (disk_full) is a 507", async () => {
    expect(problemOf(codedError(await raised(database().db, "53100")), "r")).toMatchObject({ status: 507, code: "storage_full" });
  });

  it.each(["22P02", "23505", "25P02", "42P01", "XX000"])("%s is a mistake of ours and stays a 500", async (code) => {
    expect(problemOf(codedError(await raised(database().db, code)), "r")).toMatchObject({ status: 500, code: "internal" });
  });
});

describe("errors without PostgreSQL's code", () => {
  it("of other files and sockets are not the database's", () => {
    for (const error of [
      Object.assign(new Error("open"), { code: "ENOENT", syscall: "open" }),
      // What Node says of a caller that hung up.
      Object.assign(new Error("aborted"), { code: "ECONNRESET" }),
      new TypeError("a mistake"),
    ])
      expect(isUnavailable(error)).toBe(false);
  });
});
