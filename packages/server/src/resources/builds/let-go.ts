// Images that were built and that nobody needs: their builds let go of them.
import { sql } from "kysely";
import type { Db } from "../../db/pool.ts";
import { transaction } from "../../db/transaction.ts";

/** Builds whose artifact is let go in one transaction. */
const batch = 100;

/**
 * Lets go of images that only a build still names: no kept release, and no rollout that is under way. Whoever is about to use such a build holds its row meanwhile
 * (`findReusable`), so that what comes of that is seen here.
 */
export async function letGoOfBuilds(db: Db, before: Date): Promise<void> {
  const unused = sql`b.ended_at < ${before}
    and not exists (select 1 from releases r where r.build_id = b.id or r.artifact_digest = b.artifact_digest)
    and not exists (select 1 from rollouts o where o.build_id = b.id and o.ended_at is null)`;
  for (;;) {
    const done = await transaction(db, async (trx) => {
      const { rows } = await sql<{ id: string }>`select b.id from builds b join artifacts a on a.digest = b.artifact_digest
        where a.kind = 'image' and b.phase = 'succeeded' and ${unused} order by b.id limit ${batch} for update of b skip locked`.execute(
        trx,
      );
      if (rows.length === 0) return true;
      const ids = rows.map(({ id }) => id);
      // Looked at once more, now that nobody else has them.
      const { numAffectedRows = 0n } = await sql`update builds b set artifact_digest = null, artifact_reference = null
        where b.id = any(${sql.val(ids)}::uuid[]) and ${unused}`.execute(trx);
      return rows.length < batch || numAffectedRows === 0n;
    });
    if (done) return;
  }
}
