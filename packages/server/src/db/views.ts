// What was read for people who look at the same things again and again, kept in memory until the database says that it has changed. Must never give what is older than the
// question: before anything kept is given, the database is asked what has changed, whichever server or program changed it. One such question serves all that wait for it.
import { sql } from "kysely";
import pg from "pg";
import { niceSession } from "../os/priority.ts";
import type { Log } from "./log.ts";
import { clientConfig, type DatabaseAddress, type Db } from "./pool.ts";

/** `of`: the ids of all things that it was made of, as `view_changes` names them; nothing is kept that names none. `bytes`: about what it takes to keep it. */
export interface Read<T> {
  readonly value: T;
  readonly of: readonly string[];
  readonly bytes: number;
}

export interface Views {
  /**
   * What `read` gives for this key, kept from an earlier question or read now. It is what the database had when `question` came for the first time, or newer: what was committed
   * before, by any server, is in it. `isStill`: whether what was kept is right in everything that the database does not know; otherwise it is read anew.
   */
  get<T>(question: object, key: string, read: () => Promise<Read<T>>, isStill?: (value: T) => boolean): Promise<T>;
  close(): Promise<void>;
}

export interface ViewsOptions {
  readonly address: DatabaseAddress;
  readonly log: Log;
  /** Bytes that may be kept. */
  readonly most?: number;
}

/** ms between two tries to ask a database that could not be asked. */
const pause = 1_000;
/** Bytes that keeping something takes beside it: its key, and what finds it by the ids that it is of. */
const overhead = ({ key, of }: Kept): number => 2 * key.length + 200 * of.length + 300;
/** Who was away for so long asks anew for everything; rows of `view_changes` stay for twice as long (`removeViewChanges`), s. */
const memory = 300;

/**
 * What was committed since a snapshot: transactions that it did not see, because they began after it or were under way. However long others last, no more is read than that. PostgreSQL's snapshots are compared and not numbers of rows, since these come in an order that is not
 * that of the commits. A clock that was set back tells nothing: then all is read anew.
 */
const question = {
  name: "berth_view_changes",
  rowMode: "array",
  text: `select pg_current_snapshot()::text, extract(epoch from clock_timestamp())::float8,
    extract(epoch from clock_timestamp())::float8 - $2::float8 between 0 and ${String(memory)},
    array(select distinct of::text from view_changes where xid >= pg_snapshot_xmax($1::pg_snapshot) or xid = any(array(select pg_snapshot_xip($1::pg_snapshot))))`,
} as const;
/** Of the first question, which is not about what was before. */
const nothingUnseen = "9000000000000000000:9000000000000000000:";
type Answer = [snapshot: string, at: number, isRecent: boolean, changed: string[]];

interface Kept extends Read<unknown> {
  readonly key: string;
}

/** One that is under way; `changed` meanwhile, so that it may have seen the time before. */
interface Reading {
  readonly found: Promise<unknown>;
  readonly changed: Set<string>;
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export function createViews(options: ViewsOptions): Views {
  const most = options.most ?? 48 * 1024 * 1024;
  const kept = new Map<string, Kept>();
  const byId = new Map<string, Set<Kept>>();
  const readings = new Set<Reading>();
  /** Those that began after the last change that is known. */
  const current = new Map<string, Reading>();
  const asked = new WeakMap<object, Promise<boolean>>();
  let bytes = 0;
  let session: { readonly client: pg.Client; snapshot: string; at: number } | undefined;
  let asking: Promise<boolean> | undefined;
  let next: Promise<boolean> | undefined;
  /** ms of this process: until then everybody reads by himself, since the last try failed. */
  let notBefore = 0;
  let isClosed = false;

  function drop(entry: Kept): void {
    if (kept.get(entry.key) !== entry) return;
    kept.delete(entry.key);
    bytes -= entry.bytes + overhead(entry);
    for (const id of entry.of) {
      const those = byId.get(id);
      those?.delete(entry);
      if (those?.size === 0) byId.delete(id);
    }
  }

  function keep(entry: Kept): void {
    const before = kept.get(entry.key);
    if (before !== undefined) drop(before);
    kept.set(entry.key, entry);
    bytes += entry.bytes + overhead(entry);
    for (const id of entry.of) {
      const those = byId.get(id);
      if (those === undefined) byId.set(id, new Set([entry]));
      else those.add(entry);
    }
    // Those that nobody asked for the longest come first.
    for (const oldest of kept.values()) {
      if (bytes <= most) break;
      drop(oldest);
    }
  }

  function forgetAll(): void {
    kept.clear();
    byId.clear();
    bytes = 0;
    // Nobody joins what is under way, and it is kept by nobody.
    readings.clear();
    current.clear();
  }

  function forget(changed: readonly string[]): void {
    if (changed.length === 0) return;
    current.clear();
    for (const id of changed) {
      for (const reading of readings) reading.changed.add(id);
      for (const entry of [...(byId.get(id) ?? [])]) drop(entry);
    }
  }

  async function open(): Promise<NonNullable<typeof session>> {
    const client = new pg.Client({ ...clientConfig(options), application_name: "berth-views" });
    const opened = { client, snapshot: nothingUnseen, at: Number.NaN };
    client.on("error", (error) => {
      options.log.warn({ error: error.message }, "the connection that tells what has changed was lost");
      if (session === opened) session = undefined;
    });
    try {
      await client.connect();
      // The plan is made once, when there are few rows; it is to be good for many.
      await client.query("set enable_seqscan = off; set jit = off");
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    if ("host" in options.address) niceSession((client as unknown as { readonly processID?: number }).processID, -10);
    return opened;
  }

  /** Whether what is kept from here on is what the database has. Never rejects: whoever asks reads by himself then, and hears what is wrong with the database. */
  async function ask(): Promise<boolean> {
    try {
      if (isClosed || performance.now() < notBefore) return false;
      // What was kept is of a database that may be another one now: the standby of before does not know what was lost.
      if (session === undefined) forgetAll();
      session ??= await open();
      const of = session;
      if (isClosed) throw new Error("closed meanwhile");
      const { rows } = await of.client.query<Answer>({ ...question, values: [of.snapshot, of.at] });
      const [answer] = rows;
      if (answer === undefined || session !== of) return false;
      const [snapshot, at, isRecent, changed] = answer;
      if (isRecent) forget(changed);
      else forgetAll();
      of.snapshot = snapshot;
      of.at = at;
      return true;
    } catch (error) {
      options.log.warn({ error: String(error) }, "the database was not asked what has changed; everything is read anew");
      notBefore = performance.now() + pause;
      const lost = session;
      session = undefined;
      forgetAll();
      await lost?.client.end().catch(() => undefined);
      return false;
    }
  }

  /** An answer to a question that is asked after this moment: one for all who came in this turn of the event loop, or while the one before was under way. */
  function sinceNow(): Promise<boolean> {
    next ??= (async () => {
      await asking;
      await turn();
      next = undefined;
      asking = ask();
      return asking;
    })();
    return next;
  }

  function isCurrent(of: object): Promise<boolean> {
    const before = asked.get(of);
    if (before !== undefined) return before;
    const now = sinceNow();
    asked.set(of, now);
    return now;
  }

  async function readAnew<T>(key: string, read: () => Promise<Read<T>>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // Everybody who waits for it hears of it by his own await.
    promise.catch(() => undefined);
    const reading: Reading = { found: promise, changed: new Set() };
    readings.add(reading);
    current.set(key, reading);
    try {
      const found = await read();
      if (readings.has(reading) && found.of.length > 0 && !found.of.some((id) => reading.changed.has(id))) keep({ ...found, key });
      resolve(found.value);
    } catch (error) {
      reject(error as Error);
    } finally {
      readings.delete(reading);
      if (current.get(key) === reading) current.delete(key);
    }
    return promise;
  }

  return {
    async get<T>(of: object, key: string, read: () => Promise<Read<T>>, isStill: (value: T) => boolean = () => true) {
      if (!(await isCurrent(of))) return (await read()).value;
      const known = kept.get(key);
      if (known !== undefined && isStill(known.value as T)) {
        // It was asked for last.
        kept.delete(key);
        kept.set(key, known);
        return known.value as T;
      }
      const reading = current.get(key);
      if (reading !== undefined) {
        const found = (await reading.found) as T;
        if (isStill(found)) return found;
      }
      return readAnew(key, read);
    },

    async close() {
      isClosed = true;
      const last = session;
      session = undefined;
      forgetAll();
      await last?.client.end();
    },
  };
}

/**
 * Removes what every server has heard of, or asks anew for everything after: what a snapshot saw that is twice as old as a server may be away. Notes that a dump brought from
 * another database say nothing here: its transactions had other numbers.
 */
export async function removeViewChanges(db: Db): Promise<void> {
  await sql`delete from view_changes where xid >= pg_snapshot_xmax(pg_current_snapshot())`.execute(db);
  const old = sql`at < clock_timestamp() - make_interval(secs => ${sql.lit(2 * memory)})`;
  await sql`delete from view_changes where ${old} and pg_visible_in_snapshot(xid, (select seen from view_changes where ${old} order by at desc limit 1))`.execute(
    db,
  );
}
