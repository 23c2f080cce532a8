// Seals the audit log in the background: chains and signs what was appended. A sealer that is away delays the seal, never an entry.
import { setTimeout as delay } from "node:timers/promises";
import { openAuditKey, sealAudit } from "../db/audit.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";

const period = 5_000;

export async function runSealer(
  options: { readonly db: Db; readonly keyFile: string; readonly epoch: number; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const key = openAuditKey(options.keyFile);
  while (!signal.aborted) {
    try {
      while ((await sealAudit(options.db, key, options.epoch)) > 0) signal.throwIfAborted();
    } catch (error) {
      if (!signal.aborted) options.log.warn({ error: String(error) }, "the audit log could not be sealed; trying again");
    }
    await delay(period, undefined, { signal }).catch(() => undefined);
  }
}
