// Who this installation is. Its id and epoch live in the database and outside of it; a database that is older than what is remembered
// outside was replaced by another one since, and must not act again unless somebody says so (promise 7): `berth restore` raises its epoch.
import { sql } from "kysely";
import type { Db } from "./pool.ts";
import { transaction } from "./transaction.ts";

export interface Installation {
  readonly id: string;
  readonly epoch: number;
  readonly createdAt: Date;
}
/** `older`: a newer database of the same installation was at work here since. `other`: what is remembered outside belongs to another installation. The caller decides. */
export type InstallationState = { readonly found: "same" | "created" | "older" | "other"; readonly installation: Installation };

/**
 * Reads the installation, or makes it: with the remembered id where there is one, so that what runs is recognised after the database
 * was lost. Call it at each start with what the home folder remembers, and write the answer back there.
 */
export async function ensureInstallation(db: Db, remembered?: { readonly id: string; readonly epoch: number }): Promise<InstallationState> {
  return await transaction(db, async (trx) => {
    await sql`lock table installation in share row exclusive mode`.execute(trx);
    const row = await trx.selectFrom("installation").selectAll().executeTakeFirst();
    if (row === undefined) {
      const made = await trx
        .insertInto("installation")
        .values({ ...(remembered === undefined ? {} : { id: remembered.id }), epoch: (remembered?.epoch ?? 0) + 1 })
        .returningAll()
        .executeTakeFirstOrThrow();
      return { found: "created", installation: { id: made.id, epoch: made.epoch, createdAt: made.created_at } };
    }
    const installation = { id: row.id, epoch: row.epoch, createdAt: row.created_at };
    if (remembered !== undefined && remembered.id !== row.id) return { found: "other", installation };
    if (remembered === undefined || remembered.epoch <= row.epoch) return { found: "same", installation };
    return { found: "older", installation };
  });
}
