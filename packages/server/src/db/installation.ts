// Who this installation is. Its id and epoch live in the database and outside of it; a database that is older than what is
// remembered outside was restored from a backup, and gets a higher epoch, so that it never fights its original (promise 7).
import { sql } from "kysely";
import type { Db } from "./pool.ts";
import { transaction } from "./transaction.ts";

export interface Installation { readonly id: string; readonly epoch: number; readonly createdAt: Date }
/** `other`: what is remembered outside belongs to another installation; the caller decides. */
export type InstallationState = { readonly found: "same" | "created" | "restored" | "other"; readonly installation: Installation };

/**
 * Reads the installation, or makes it: with the remembered id where there is one, so that what runs is recognised after the database
 * was lost. Call it at each start with what the home folder remembers, and write the answer back there.
 */
export async function ensureInstallation(db: Db, remembered?: { readonly id: string; readonly epoch: number }): Promise<InstallationState> {
  return await transaction(db, async (trx) => {
    await sql`lock table installation in share row exclusive mode`.execute(trx);
    const row = await trx.selectFrom("installation").selectAll().executeTakeFirst();
    if (row === undefined) {
      const made = await trx.insertInto("installation").values({ ...(remembered === undefined ? {} : { id: remembered.id }), epoch: (remembered?.epoch ?? 0) + 1 }).returningAll().executeTakeFirstOrThrow();
      return { found: "created", installation: { id: made.id, epoch: made.epoch, createdAt: made.created_at } };
    }
    const installation = { id: row.id, epoch: row.epoch, createdAt: row.created_at };
    if (remembered !== undefined && remembered.id !== row.id) return { found: "other", installation };
    if (remembered === undefined || remembered.epoch <= row.epoch) return { found: "same", installation };
    return { found: "restored", installation: { ...installation, epoch: await raiseEpoch(trx, remembered.epoch + 1) } };
  });
}

/** For a restore: a new epoch, and the old events moved below every transaction number of this server. */
export async function raiseEpoch(trx: Db, epoch?: number): Promise<number> {
  const row = await trx.updateTable("installation").set((eb) => ({ epoch: epoch ?? eb("epoch", "+", 1) })).returning("epoch").executeTakeFirstOrThrow();
  await sql`update events set xid = '0'`.execute(trx);
  return row.epoch;
}

/** The next number of intent; an engine refuses to act with an older one. */
export async function nextGeneration(trx: Db): Promise<number> {
  const { rows } = await sql<{ generation: number }>`select nextval('generations') as generation`.execute(trx);
  return rows[0]?.generation ?? 0;
}
