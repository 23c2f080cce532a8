// A newer Berth on the same database may raise the lowest version that may use it (expand, then contract). A server that is below it from then on must
// not act on columns that it does not know: it leaves, with words.
import { setTimeout as delay } from "node:timers/promises";
import type { Db } from "../db/pool.ts";
import { isBelow, schemaNeedsNewer } from "../db/migrate.ts";
import type { DatabaseRefused } from "../db/refused.ts";

const period = 5_000;

export async function watchSchema(
  options: { readonly db: Db; readonly program: string; readonly onLost: (why: DatabaseRefused) => void },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delay(period, undefined, { signal }).catch(() => undefined);
    // A database that is away says nothing about its schema.
    const minimum = signal.aborted
      ? undefined
      : await options.db
          .selectFrom("schema_info")
          .select("minimum_program")
          .executeTakeFirst()
          .catch(() => undefined);
    if (minimum !== undefined && isBelow(options.program, minimum.minimum_program))
      return options.onLost(schemaNeedsNewer(options.program, minimum.minimum_program));
  }
}
