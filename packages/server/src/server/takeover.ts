// Before anything acts: this machine's edge and agent learn the epoch, so that an older database's orders are void, and a restored database
// learns what runs. A database that is itself the older one is refused here, in words.
import { setTimeout as delay } from "node:timers/promises";
import { BerthError } from "../core/errors.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";
import { DatabaseRefused } from "../db/refused.ts";
import { EngineFailure, type Epoch } from "../engines/engine.ts";
import type { Places } from "../resources/deps.ts";
import { adoptKnown } from "./adoption.ts";

/** ms that a restored database waits for the machine's agent; acting without having looked is not possible. */
const patience = 60_000;

export interface TakeOver {
  readonly db: Db;
  readonly places: Places;
  readonly cluster: string;
  readonly installation: { readonly id: string; readonly epoch: number };
  readonly log: Log;
}

/** Call it before the loops start. Throws `DatabaseRefused` (`epoch_older`) when a newer database was at work here. */
export async function takeOver(deps: TakeOver, signal: AbortSignal): Promise<void> {
  const { db, places, cluster, installation, log } = deps;
  const epoch: Epoch = { installation: installation.id, epoch: installation.epoch };
  await announced(() => places.traffic(cluster).raiseEpoch(epoch, signal), installation.epoch);
  const { unadopted } = await db.selectFrom("clusters").select("unadopted").where("name", "=", cluster).executeTakeFirstOrThrow();
  const engine = async (): Promise<void> => {
    await whenThere(() => announced(() => places.engine(cluster).raiseEpoch(epoch, signal), installation.epoch), signal);
  };
  if (!unadopted) {
    // Orders carry the epoch anyway; an agent that is still coming up must not delay the start.
    void engine().catch((error: unknown) => {
      if (!signal.aborted) log.error({ error: String(error) }, "the agent was not told of the epoch");
    });
    return;
  }
  await engine();
  const { adopted, held } = await whenThere(() => adoptKnown({ db, places }, cluster, signal), signal);
  log.warn(
    { adopted, held, epoch: installation.epoch },
    "the database was restored: what it knows was taken over as it runs, what it does not know is left alone",
  );
}

/** Refuses a database that something here has seen a successor of. An edge of before, which knows no epochs by themselves, reads them from the orders. */
async function announced(tell: () => Promise<void>, own: number): Promise<void> {
  try {
    await tell();
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    if (error.code === "not_found") return;
    if (error.code !== "stale_generation") throw error;
    throw olderDatabase(own, String(error.params["seen"]).replace(/^epoch /, ""), error);
  }
}

/** Words for a start on a database that another one has replaced. */
export function olderDatabase(own: number, seen: number | string, because?: unknown): DatabaseRefused {
  return new DatabaseRefused(
    "epoch_older",
    `This database is not the newest of its installation: it has epoch ${own}, and one with epoch ${seen} was at work here since.`,
    "Use the newer database. If this one is meant to take its place, say so with `berth restore --database-as-it-is`.",
    because === undefined ? {} : { cause: because },
  );
}

async function whenThere<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (const until = Date.now() + patience; ;) {
    try {
      return await work();
    } catch (error) {
      const away = error instanceof EngineFailure ? error.retryable : error instanceof BerthError && error.code === "engine_unavailable";
      if (!away || Date.now() > until) throw error;
      await delay(50, undefined, { signal });
    }
  }
}
