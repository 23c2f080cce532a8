// The reconcile queue: one row per thing that is due to be looked at, taken under a lease with a fence number. Must never lose a
// wake, not even one that comes while the row is being worked on, and never let a holder whose lease was taken finish (promise 2).
import { sql } from "kysely";
import { BerthError } from "../core/errors.ts";
import type { Db } from "../db/pool.ts";
import { transaction, type Trx } from "../db/transaction.ts";

/** Channel of the hints that wake loops; the payload is the kind. */
export const dueChannel = "berth_due";

export interface DueRef {
  readonly kind: string;
  readonly key: string;
}

/** A row that this holder may work on until its lease runs out. */
export interface Claim extends DueRef {
  readonly cluster: string;
  /** Rises with every claim of any row. */
  readonly fence: number;
  /** Claims since the last one that ended well, this one included. */
  readonly attempts: number;
}

/**
 * Makes the thing due now, or at `at`; an earlier instant wins. Call it inside the transaction that changes the intent. A row that
 * is being worked on is due again afterwards.
 */
export async function enqueue(trx: Db, row: DueRef & { readonly cluster: string; readonly at?: Date }): Promise<void> {
  const at = row.at === undefined ? sql`now()` : sql`${row.at}::timestamptz`;
  await sql`
    with asked as (
      insert into due (kind, key, cluster, due_at) values (${row.kind}, ${row.key}, ${row.cluster}, ${at})
      on conflict (kind, key) do update set due_at = least(due.due_at, excluded.due_at), cluster = excluded.cluster
      returning due_at <= now() as now
    )
    select pg_notify(${dueChannel}, ${row.kind}) from asked where now`.execute(trx);
}

export interface ClaimOptions {
  readonly kinds: readonly string[];
  /** Only rows of these clusters: those that this process can reach. */
  readonly clusters: readonly string[] | "all";
  readonly limit: number;
  /** Shown to people; the fence decides. */
  readonly holder: string;
  readonly leaseMs: number;
}

/**
 * Takes rows that are due, or whose holder's lease ran out. Two statements of one transaction would be two snapshots, so both sets
 * come from one; `skip locked` keeps claimers from waiting for each other.
 */
export async function claim(db: Db, { kinds, clusters, limit, holder, leaseMs }: ClaimOptions): Promise<Claim[]> {
  if (limit < 1) return [];
  const reachable = clusters === "all" ? sql`true` : sql`cluster = any(${clusters}::text[])`;
  const result = await sql<Claim>`
    with expired as (
      select kind, key from due
      where lease_holder is not null and lease_until < now() and kind = any(${kinds}::text[]) and ${reachable}
      order by lease_until limit ${limit} for update skip locked
    ), free as (
      select kind, key from due
      where lease_holder is null and due_at <= now() and kind = any(${kinds}::text[]) and ${reachable}
      order by due_at limit ${limit} for update skip locked
    ), chosen as (
      select kind, key from (select kind, key from expired union all select kind, key from free) both_sets limit ${limit}
    )
    update due set due_at = null, lease_holder = ${holder}, lease_until = now() + ${leaseMs} * interval '1 millisecond', fence = nextval('fences'), attempts = attempts + 1
    from chosen where due.kind = chosen.kind and due.key = chosen.key
    returning due.kind, due.key, due.cluster, due.fence, due.attempts`.execute(db);
  return result.rows;
}

/**
 * Prolongs a lease; false when it is not held any more. One row at a time: who held several locked ones and waited for another would stand in the way of a
 * transaction that wakes one thing while it writes about another, and each would wait for the other.
 */
export async function renew(db: Db, held: Claim, leaseMs: number): Promise<boolean> {
  const { numAffectedRows = 0n } = await sql`
    update due set lease_until = now() + ${leaseMs} * interval '1 millisecond'
    where kind = ${held.kind} and key = ${held.key} and fence = ${held.fence} and lease_holder is not null`.execute(db);
  return numAffectedRows > 0n;
}

/**
 * The work ended well: the row goes away, unless somebody asked again meanwhile or `again` says when to look next. False when the
 * lease was taken by another holder; then nothing is changed.
 */
export async function finish(db: Db, held: Claim, options: { readonly again?: Date } = {}): Promise<boolean> {
  // In one statement: what is neither held nor due would stay for ever if the database ended between two. One who asks at this moment makes the row anew.
  if (options.again === undefined) {
    const { numAffectedRows = 0n } =
      await sql`delete from due where kind = ${held.kind} and key = ${held.key} and fence = ${held.fence} and lease_holder is not null and due_at is null`.execute(
        db,
      );
    if (numAffectedRows > 0n) return true;
  }
  const again = options.again === undefined ? sql`null` : sql`${options.again}`;
  return await giveBack(
    db,
    held,
    sql`due_at = least(due_at, ${again}::timestamptz), attempts = 0, last_error = null, last_error_at = null`,
  );
}

/** The work failed: the row is due again after `backoffMs`, or at once when somebody asked again meanwhile. False as for `finish`. */
export async function fail(db: Db, held: Claim, failure: { readonly error: string; readonly backoffMs: number }): Promise<boolean> {
  return await giveBack(
    db,
    held,
    sql`due_at = least(due_at, now() + ${failure.backoffMs} * interval '1 millisecond'), last_error = ${failure.error.slice(0, 2000)}, last_error_at = now()`,
  );
}

/** The work was not done (this process stops): the row is due at once, and the attempt does not count. False as for `finish`. */
export async function release(db: Db, held: Claim): Promise<boolean> {
  return await giveBack(db, held, sql`due_at = least(due_at, now()), attempts = greatest(attempts - 1, 0)`);
}

/** At the start of the one process that works for these clusters: what an earlier one held when it died is due at once, not when its lease ends. */
export async function freeLeases(db: Db, clusters: readonly string[]): Promise<number> {
  const freed =
    await sql`update due set lease_holder = null, lease_until = null, due_at = least(due_at, now()) where lease_holder is not null and cluster = any(${clusters}::text[])`.execute(
      db,
    );
  return Number(freed.numAffectedRows ?? 0n);
}

/** When a cluster is back: what failed there, and waits longer and longer for its next try, is due at once. */
export async function hurryFailed(db: Db, cluster: string): Promise<void> {
  await sql`
    with hurried as (
      update due set due_at = now() where cluster = ${cluster} and lease_holder is null and last_error is not null and due_at > now() returning kind
    )
    select pg_notify(${dueChannel}, kind) from (select distinct kind from hurried) kinds`.execute(db);
}

/**
 * After the wall clock was set back: what is due at an instant to come is looked at now, since nobody can tell whether that instant was meant by the old clock or
 * by the new one, and who looks says when he wants to look again. A lease that is longer than leases are ends when one that is taken now would.
 */
export async function afterSetBack(
  db: Db,
  { kinds, leaseMs }: { readonly kinds: readonly string[]; readonly leaseMs: number },
): Promise<void> {
  await sql`update due set due_at = now() where kind = any(${kinds}::text[]) and due_at > now()`.execute(db);
  await sql`update due set lease_until = now() + ${leaseMs} * interval '1 millisecond'
    where kind = any(${kinds}::text[]) and lease_holder is not null and lease_until > now() + ${2 * leaseMs} * interval '1 millisecond'`.execute(
    db,
  );
}

async function giveBack(db: Db, held: Claim, change: ReturnType<typeof sql>): Promise<boolean> {
  const updated = await sql`
    with back as (
      update due set lease_holder = null, lease_until = null, ${change}
      where kind = ${held.kind} and key = ${held.key} and fence = ${held.fence} and lease_holder is not null
      returning due_at <= now() as now
    )
    select case when now then pg_notify(${dueChannel}, ${held.kind}) end from back`.execute(db);
  return updated.rows.length > 0;
}

/**
 * Inside a transaction that writes what the work found: makes sure that the lease was not taken, and that nobody takes it before the
 * commit. Throws `stale_generation`.
 */
export async function assertHeld(trx: Db, held: Claim): Promise<void> {
  const rows = await sql<{
    fence: number;
  }>`select fence from due where kind = ${held.kind} and key = ${held.key} and lease_holder is not null for update`.execute(trx);
  const seen = rows.rows[0]?.fence;
  if (seen !== held.fence) throw staleHolder(seen, held);
}

const staleHolder = (seen: number | undefined, held: Claim, because?: unknown): BerthError =>
  new BerthError("stale_generation", { seen: seen ?? 0, given: held.fence }, { cause: because });

/** One transaction under a lease; `stale_generation`, and nothing of it is done, when another holder has the row by its end. */
export type Commit = <T>(work: (trx: Trx) => Promise<T>) => Promise<T>;

/**
 * How the work on a row writes what it found: a holder that stalled until its lease was taken changes nothing any more (promise 2). The lease is looked at
 * last: whoever changes intent locks the thing first and its due row after it, and two orders would wait for each other. Work that fails when the lease
 * is gone failed for that reason: what it works on may have been removed by the next holder.
 */
export function commitUnder(db: Db, held: Claim): Commit {
  return async (work) => {
    try {
      return await transaction(db, async (trx) => {
        const result = await work(trx);
        await assertHeld(trx, held);
        return result;
      });
    } catch (error) {
      if (error instanceof BerthError && error.code === "stale_generation") throw error;
      const now = await db
        .selectFrom("due")
        .select("fence")
        .where("kind", "=", held.kind)
        .where("key", "=", held.key)
        .where("lease_holder", "is not", null)
        .executeTakeFirst()
        // The database that refused the work may refuse this, too; then the first error is the one to tell.
        .catch(() => ({ fence: held.fence }));
      throw now?.fence === held.fence ? error : staleHolder(now?.fence, held, error);
    }
  };
}

export interface QueueStats {
  readonly kind: string;
  /** Due and not taken. */ readonly waiting: number;
  readonly held: number;
  /** Failed at least once since they last went well. */ readonly failing: number;
  /** Seconds that the oldest waiting row is late. */ readonly lag: number;
}

/** Figures per kind, for metrics and `berth doctor`. */
export async function queueStats(db: Db): Promise<QueueStats[]> {
  const result = await sql<QueueStats>`
    select kind, count(*) filter (where lease_holder is null and due_at <= now())::int as waiting, count(*) filter (where lease_holder is not null)::int as held,
      count(*) filter (where last_error is not null)::int as failing,
      coalesce(extract(epoch from max(now() - due_at) filter (where lease_holder is null and due_at <= now())), 0)::float8 as lag
    from due group by kind order by kind`.execute(db);
  return result.rows;
}
