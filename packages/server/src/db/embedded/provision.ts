// Makes the application's role, password and database on a running server. The superuser has no password and can log in only
// while this works, through the private socket folder that none but the database's user and root may enter.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Account } from "./account.ts";
import { writeAccess } from "./datafolder.ts";
import type { SocketConnection } from "./postmaster.ts";

/** Idempotent: what exists is kept, and the role gets the connection's password. */
export async function provision(connection: SocketConnection, pid: number, dataDir: string, account: Account | undefined): Promise<void> {
  writeAccess(dataDir, account, "open");
  try {
    process.kill(pid, "SIGHUP");
    const superuser = await connectSuperuser(connection);
    try {
      const role = pg.escapeIdentifier(connection.user);
      const has = async (sql: string, name: string): Promise<boolean> => (await superuser.query(sql, [name])).rowCount !== 0;
      if (!(await has("select from pg_roles where rolname = $1", connection.user))) await superuser.query(`create role ${role}`);
      await superuser.query(`alter role ${role} login createdb password ${pg.escapeLiteral(connection.password)}`);
      if (!(await has("select from pg_database where datname = $1", connection.database)))
        await superuser.query(`create database ${pg.escapeIdentifier(connection.database)} owner ${role}`);
    } finally {
      await superuser.end();
    }
  } finally {
    writeAccess(dataDir, account, "closed");
    process.kill(pid, "SIGHUP");
  }
}

/** The server reads its access rules a moment after the signal. */
async function connectSuperuser(connection: SocketConnection): Promise<pg.Client> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const client = new pg.Client({
      host: connection.host,
      port: connection.port,
      user: "postgres",
      database: "template1",
      connectionTimeoutMillis: 5_000,
    });
    // What breaks it is what the next question fails of.
    client.on("error", () => undefined);
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(5);
    }
  }
}
