// Rows of releases that passes ask for again and again. A release's row never changes (promise 5), so that one read is enough.
import type { Db } from "../../db/pool.ts";
import { findRelease, type ReleaseRow } from "../../resources/releases/store.ts";

/** How many are kept: those of what is on its way, and some more. */
const most = 200;
const known = new WeakMap<Db, Map<string, ReleaseRow>>();

/** As `findRelease`; the ones asked for last are remembered. */
export async function releaseOf(db: Db, id: string): Promise<ReleaseRow | undefined> {
  const rows = known.get(db) ?? new Map<string, ReleaseRow>();
  known.set(db, rows);
  const row = rows.get(id) ?? (await findRelease(db, id));
  rows.delete(id);
  if (row === undefined) return undefined;
  rows.set(id, row);
  for (const oldest of rows.keys()) {
    if (rows.size <= most) break;
    rows.delete(oldest);
  }
  return row;
}
