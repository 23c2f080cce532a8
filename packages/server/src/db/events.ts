// Events: what happened to a thing, in one total order that can be followed and resumed. Must never skip an event because its
// transaction was committed late: only what lies below the oldest running transaction is read.
import type { Cause } from "@berth/contract/causes.ts";
import { sql, type RawBuilder } from "kysely";
import { BerthError } from "../core/errors.ts";
import type { Listener } from "./listen.ts";
import type { StackScope } from "./permissions.ts";
import type { Db } from "./pool.ts";

/** Channel of the hints that wake readers. */
export const eventsChannel = "berth_events";

export interface NewEvent {
  /** A key of the contract's `eventsEn`. */
  readonly code: string;
  readonly params?: Readonly<Record<string, unknown>>;
  /** The objects that it is about: `stack:S`, `component:S/C`, `rollout:S/C/N`, ... */
  readonly topics?: readonly string[];
  /** Whose it is; without one only who may see everything sees it. */
  readonly teamId?: string;
  readonly stack?: string;
  readonly component?: string;
  readonly cause?: Cause;
}

/** Writes events, in their order, inside the transaction of the change that they tell of. */
export async function appendEvents(trx: Db, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const rows = events.map(({ code, params = {}, topics = [], teamId, stack, component, cause }) => ({
    code,
    params,
    topics,
    team_id: teamId,
    stack,
    component,
    cause,
  }));
  await sql`
    with written as (
      insert into events (code, params, topics, team_id, stack, component, cause)
      select code, params, topics, team_id, stack, component, cause
      from rows from (jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        as (code text, params jsonb, topics text[], team_id uuid, stack text, component text, cause jsonb)) with ordinality
      order by ordinality
      returning id
    )
    select pg_notify(${eventsChannel}, '') from written limit 1`.execute(trx);
}

export const appendEvent = (trx: Db, event: NewEvent): Promise<void> => appendEvents(trx, [event]);

export interface StoredEvent {
  /** Where it stands in the total order: goes back as `after`, or as Last-Event-ID. */
  readonly cursor: string;
  readonly at: Date;
  readonly code: string;
  readonly params: Record<string, unknown>;
  readonly topics: string[];
  readonly teamId: string | null;
  readonly stack: string | null;
  readonly component: string | null;
  readonly cause: Cause | null;
}

export interface EventFilter {
  /** Whole topics, or beginnings that end in `*`; absent = any. */
  readonly topics?: readonly string[];
  /** The stacks whose events the caller may see. */
  readonly within: StackScope;
  readonly stack?: string;
  readonly component?: string;
  readonly code?: string;
  /** From then on, and before then. */
  readonly since?: Date;
  readonly until?: Date;
}

/** Which part of the matching events, in which order, and what to say beside each for the next page. */
export interface EventSlice {
  readonly where: RawBuilder<boolean>;
  readonly order: RawBuilder<unknown>;
  readonly keys: RawBuilder<unknown[]>;
  readonly limit: number;
}

/** `cursor` is where the next read goes on, also when nothing matched. */
export interface EventBatch {
  readonly events: StoredEvent[];
  readonly cursor: string;
}

export interface EventReaderDeps {
  readonly db: Db;
  /** The installation's: after a restore, transaction numbers start again and older cursors begin at the start. */
  readonly epoch: number;
  readonly listener?: Listener;
  readonly pollMs?: number;
}

export type EventReader = ReturnType<typeof createEventReader>;

interface Position {
  readonly xid: string;
  readonly id: number;
}
interface Row {
  readonly xid: string;
  readonly id: number;
  readonly at: Date;
  readonly code: string;
  readonly params: Record<string, unknown>;
  readonly topics: string[];
  readonly team_id: string | null;
  readonly stack: string | null;
  readonly component: string | null;
  readonly cause: Cause | null;
}

const columns = sql`xid::text as xid, id, at, code, params, topics, team_id, stack, component, cause`;
/** What the database can count. */
const mostXid = 2n ** 64n - 1n;
const horizon = sql`pg_snapshot_xmin(pg_current_snapshot())`;

export function createEventReader(deps: EventReaderDeps) {
  const pollMs = deps.pollMs ?? 1_000;

  /** The end of the order as of now: what is committed from here on comes after it. */
  async function head(): Promise<string> {
    const { rows } = await sql<{ xmin: string }>`select ${horizon}::text as xmin`.execute(deps.db);
    return encode({ xid: rows[0]?.xmin ?? "0", id: 0 });
  }

  /** Oldest first, after the cursor (`0` = from the beginning). Throws `invalid_request` for a cursor that is none. */
  async function read(after: string, filter: EventFilter, limit = 200): Promise<EventBatch> {
    const position = decode(after);
    // One statement is one snapshot: the rows and the horizon up to which they are complete.
    const { rows } = await sql<Partial<Row> & { xmin: string }>`
      select limits.xmin::text as xmin, found.* from (select ${horizon} as xmin) limits left join lateral (
        select ${columns} from events
        where (events.xid, events.id) > (${position.xid}::xid8, ${position.id}::bigint) and events.xid < limits.xmin and ${matching(filter)}
        order by events.xid, events.id limit ${limit}
      ) found on true`.execute(deps.db);
    const events = rows.filter((row): row is Row & { xmin: string } => row.id !== undefined && row.id !== null).map(present);
    const last = events.at(-1);
    const end = encode({ xid: rows[0]?.xmin ?? position.xid, id: 0 });
    return { events, cursor: events.length === limit && last !== undefined ? last.cursor : end };
  }

  /** A list's page of the events that match, and one more. */
  async function list(filter: EventFilter, page: EventSlice): Promise<(StoredEvent & { readonly cursor_keys: unknown[] })[]> {
    const { rows } = await sql<
      Row & { cursor_keys: unknown[] }
    >`select ${columns}, ${page.keys} as cursor_keys from events where ${matching(filter)} and ${page.where} order by ${page.order} limit ${page.limit + 1}`.execute(
      deps.db,
    );
    return rows.map((row) => ({ ...present(row), cursor_keys: row.cursor_keys }));
  }

  /**
   * Batches without end, each as soon as it can be read completely; `after` absent = from now on: whoever is told afterwards that he follows misses nothing
   * of what happens from then on. Ends when the signal aborts.
   * Throws `invalid_request` for a cursor that is none, at once: a stream that has begun could not be refused any more.
   */
  async function follow(after: string | undefined, filter: EventFilter, signal: AbortSignal): Promise<AsyncGenerator<EventBatch>> {
    if (after !== undefined) decode(after);
    return batches(after ?? (await head()), filter, signal);
  }

  async function* batches(from: string, filter: EventFilter, signal: AbortSignal): AsyncGenerator<EventBatch> {
    let cursor = from;
    while (!signal.aborted) {
      const hint = nextHint(signal);
      try {
        const batch = await read(cursor, filter);
        cursor = batch.cursor;
        if (batch.events.length > 0) {
          yield batch;
          continue;
        }
        await hint.came;
      } finally {
        hint.forget();
      }
    }
  }

  /** Resolves on the next hint, after the poll time, or when the signal aborts. */
  function nextHint(signal: AbortSignal): { came: Promise<void>; forget(): void } {
    let wake: () => void = () => undefined;
    const came = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const timer = setTimeout(() => {
      wake();
    }, pollMs);
    const unlisten = deps.listener?.on(eventsChannel, () => {
      wake();
    });
    const onAbort = (): void => {
      wake();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    return {
      came,
      forget() {
        clearTimeout(timer);
        unlisten?.();
        signal.removeEventListener("abort", onAbort);
      },
    };
  }

  function present(row: Row): StoredEvent {
    return {
      cursor: encode(row),
      at: row.at,
      code: row.code,
      params: row.params,
      topics: row.topics,
      teamId: row.team_id,
      stack: row.stack,
      component: row.component,
      cause: row.cause,
    };
  }

  function encode({ xid, id }: Position): string {
    return `${deps.epoch}-${xid}-${id}`;
  }

  function decode(cursor: string): Position {
    if (cursor === "0") return { xid: "0", id: 0 };
    const parts = /^(\d{1,15})-(\d{1,20})-(\d{1,15})$/.exec(cursor);
    if (parts === null || BigInt(parts[2] ?? "0") > mostXid)
      throw new BerthError("invalid_request", { reason: "the event cursor is not one of this server's" });
    const [, epoch, xid, id] = parts;
    // After a restore every event of before has transaction 0, in the order of its id.
    return Number(epoch) === deps.epoch ? { xid: xid ?? "0", id: Number(id) } : { xid: "0", id: Number(id) };
  }

  return { head, read, list, follow };
}

/** An event knows its stack by name only: one that had the name before is not meant. */
function visible(within: StackScope): RawBuilder<boolean> {
  if (within === "all") return sql`true`;
  const { teams, stacks } = within;
  if (stacks.length === 0) return sql`team_id = any(${teams}::uuid[])`;
  return sql`(team_id = any(${teams}::uuid[]) or exists (
    select from stacks s where s.id = any(${stacks}::uuid[]) and s.name = events.stack and s.team_id = events.team_id and events.at >= s.created_at))`;
}

function matching(filter: EventFilter): RawBuilder<boolean> {
  const parts = [visible(filter.within)];
  if (filter.stack !== undefined) parts.push(sql`stack = ${filter.stack}`);
  if (filter.component !== undefined) parts.push(sql`component = ${filter.component}`);
  if (filter.code !== undefined) parts.push(sql`code = ${filter.code}`);
  if (filter.since !== undefined) parts.push(sql`at >= ${filter.since}`);
  if (filter.until !== undefined) parts.push(sql`at < ${filter.until}`);
  if (filter.topics !== undefined) {
    const whole = filter.topics.filter((topic) => !topic.endsWith("*"));
    const beginnings = filter.topics.filter((topic) => topic.endsWith("*")).map((topic) => topic.slice(0, -1));
    const anyOf = [sql`topics && ${whole}::text[]`];
    if (beginnings.length > 0)
      anyOf.push(
        sql`exists (select from unnest(topics) topic, unnest(${beginnings}::text[]) beginning where starts_with(topic, beginning))`,
      );
    parts.push(sql`(${sql.join(anyOf, sql` or `)})`);
  }
  return sql<boolean>`${sql.join(parts, sql` and `)}`;
}

/** Removes events older than that; the watch stream of a caller who was away longer begins at what is left. */
export async function removeEventsBefore(db: Db, before: Date, limit = 5_000): Promise<number> {
  const result = await sql`delete from events where id in (select id from events where at < ${before} order by at limit ${limit})`.execute(
    db,
  );
  return Number(result.numAffectedRows ?? 0n);
}
