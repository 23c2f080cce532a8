// The generic reconcile loop: takes due rows and runs a handler on each, many at once. Must never let one stuck handler delay
// another, nor go on with a row whose lease may be somebody else's (promises 2 and 4).
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "../core/errors.ts";
import type { Listener } from "../db/listen.ts";
import type { Log } from "../db/log.ts";
import type { Db } from "../db/pool.ts";
import { isUnavailable } from "../db/transaction.ts";
import { ClockWatch } from "./clockwatch.ts";
import { claim, commitUnder, dueChannel, fail, finish, release, renew, type Claim, type Commit, afterSetBack } from "./queue.ts";

export interface HandlerContext {
  /** Aborted when the lease is lost, the deadline passes, or the process stops; the reason is a `LoopAbort`. */
  readonly signal: AbortSignal;
  readonly fence: number;
  /** The only way in which a handler writes. */
  readonly commit: Commit;
  /** Whether no hand is free for others of the same cluster: then who only waits hands its row back, and comes again. Absent: nobody else is there. */
  readonly isCrowded?: () => boolean;
}
/** When to look again; nothing = when somebody asks. */
export interface HandlerResult {
  readonly again?: Date;
}
export type Handler = (row: Claim, context: HandlerContext) => Promise<HandlerResult | void>;

/** `unreachable`: the row's cluster is away. */
export type AbortCause = "lease_lost" | "deadline" | "stopping" | "unreachable";
export class LoopAbort extends Error {
  readonly why: AbortCause;
  constructor(why: AbortCause) {
    super(`stopped: ${why}`);
    this.name = "LoopAbort";
    this.why = why;
  }
}

/** `stuck`: the handler did not heed its signal and was left behind. */
export type Outcome = "done" | "failed" | "lease_lost" | "stuck" | "released";
export interface LoopMetrics {
  claimed?(kind: string): void;
  ended?(kind: string, outcome: Outcome, ms: number): void;
  running?(kinds: readonly string[], count: number): void;
}

export interface LoopOptions {
  readonly db: Db;
  readonly kinds: readonly string[];
  /** Asked before each claim: the clusters that this process can reach now. */
  readonly clusters: () => readonly string[] | "all";
  readonly handler: Handler;
  /** Rows of one cluster worked on at once; see `roomOf` for several. */
  readonly concurrency: number;
  /** `machine`: the work is this machine's own, whatever cluster it is for. It shares the hands, and goes on when the cluster is away. */
  readonly at?: "cluster" | "machine";
  readonly holder: string;
  readonly log: Log;
  readonly listener?: Listener;
  readonly metrics?: LoopMetrics;
  /** A holder that falls silent loses its row after this long. */
  readonly leaseMs?: number;
  /** A handler's whole time. Long work belongs into steps that are rows of their own. */
  readonly deadlineMs?: number;
  /** How long a handler may take to heed its signal before it is left behind. */
  readonly abandonMs?: number;
  readonly pollMs?: number;
  /** ms to wait after the n-th failure in a row. */
  readonly backoff?: (attempts: number) => number;
  /** Milliseconds that only go forward. */
  readonly clock?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface Loop {
  /** Looks for due rows now. */
  wake(): void;
  /** Takes no more rows, gives running handlers `graceMs`, then aborts them and hands their rows on. */
  stop(graceMs?: number): Promise<void>;
}

/** ms at most between two tries at a place that does not answer, or answers with errors now and then: what is done there in steps would stand still for minutes. */
const longestAway = 5_000;

/** ms after which a row that is due by the database's clock is due by this process's, too: a look that came a moment too early would be the last until the next poll. */
const slack = 5;

/** So many clusters have all the hands that one has. */
const withAllHands = 4;

/**
 * How many rows may be worked on at once, in all and of one cluster: a cluster that is slow keeps its own hands busy and not those of the others (design: a cluster that is
 * down or slow never delays another). It takes seven slow ones at once to do that to an eighth.
 */
export function roomOf(concurrency: number, clusters: number): { readonly all: number; readonly each: number } {
  if (clusters <= withAllHands) return { all: concurrency * Math.max(1, clusters), each: concurrency };
  return { all: concurrency * withAllHands, each: Math.ceil(concurrency / 2) };
}

interface Running {
  readonly row: Claim;
  readonly controller: AbortController;
  renewedAt: number;
  readonly ended: Promise<void>;
}

/** 0.5 s, doubled with each failure up to 2 min, spread by a quarter. */
export function defaultBackoff(attempts: number, random: () => number = Math.random): number {
  return Math.min(500 * 2 ** Math.min(attempts - 1, 20), 120_000) * (0.75 + random() / 2);
}

/** Starts the loop. Every timer and handler it starts ends with `stop`. */
export function startLoop(options: LoopOptions): Loop {
  const leaseMs = options.leaseMs ?? 30_000;
  const deadlineMs = options.deadlineMs ?? 120_000;
  const abandonMs = options.abandonMs ?? 5_000;
  const pollMs = options.pollMs ?? 1_000;
  const clock = options.clock ?? (() => performance.now());
  const backoff = options.backoff ?? ((attempts) => defaultBackoff(attempts));
  const running = new Set<Running>();
  const stopping = new AbortController();
  const now = options.now ?? Date.now;
  const watch = new ClockWatch(now, clock);
  let woken = false;
  // Instants that handlers of ours asked for and that are still to come, so that `again` in 100 ms is not a poll away.
  const looks = new Set<number>();
  let stir: () => void = () => undefined;

  function wake(): void {
    woken = true;
    stir();
  }

  async function claimLoop(): Promise<void> {
    let silentFor = 0;
    while (!stopping.signal.aborted) {
      woken = false;
      for (const look of looks) if (look <= now()) looks.delete(look);
      try {
        await mindClock();
        await fillSlots();
        silentFor = 0;
      } catch (error) {
        silentFor = Math.min(silentFor === 0 ? 200 : silentFor * 2, 5_000);
        options.log.warn({ error: String(error), kinds: options.kinds }, "cannot take due work; trying again");
        await pause(silentFor);
        continue;
      }
      await rest();
    }
  }

  /** The wall clock was set: what is held here is held on, rather than taken from ourselves as expired, and nothing waits for an instant of another time. */
  async function mindClock(): Promise<void> {
    const jump = watch.look();
    if (jump === 0) return;
    options.log.warn({ jump, kinds: options.kinds }, "the wall clock was set while this server ran; what waits counts from now on");
    await heartbeat();
    if (jump > 0) return;
    looks.clear();
    await afterSetBack(options.db, { kinds: options.kinds, leaseMs });
  }

  /** Until it is time to poll, a row is due that a handler of ours asked for, somebody wakes us, or we stop. */
  async function rest(): Promise<void> {
    const poll = clock() + pollMs;
    for (;;) {
      const ms = Math.min(poll - clock(), Math.min(...looks) - now());
      if (woken || stopping.signal.aborted || ms <= 0) return;
      await pause(Math.max(ms, 5));
    }
  }

  /** Until the time is over, something stirs, or we stop. */
  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        stir = () => undefined;
        resolve();
      }
      stir = done;
      if (stopping.signal.aborted) done();
    });
  }

  /** The clusters that have hands free, and how many rows may be taken of any of them. */
  function room(): { readonly clusters: readonly string[] | "all"; readonly limit: number } {
    const clusters = options.clusters();
    if (clusters === "all" || options.at === "machine") return { clusters, limit: options.concurrency - running.size };
    const { all, each } = roomOf(options.concurrency, clusters.length);
    const used = Map.groupBy(running, ({ row }) => row.cluster);
    const free = (cluster: string): number => each - (used.get(cluster)?.length ?? 0);
    const open = clusters.filter((cluster) => free(cluster) > 0);
    return { clusters: open, limit: Math.min(all - running.size, ...open.map(free)) };
  }

  async function fillSlots(): Promise<void> {
    letGo();
    const { clusters, limit } = room();
    if (limit < 1 || clusters.length === 0) return;
    const asked = clock();
    const rows = await claim(options.db, { kinds: options.kinds, clusters, limit, holder: options.holder, leaseMs });
    for (const row of rows) begin(row, asked);
    // More may be due than there was room for, and somebody may have made room meanwhile.
    if (rows.length === limit) woken = true;
  }

  /** What waits for a cluster that is away waits in the queue, and holds up nobody. */
  function letGo(): void {
    const clusters = options.clusters();
    if (clusters === "all" || options.at === "machine") return;
    for (const { row, controller } of running)
      if (!clusters.includes(row.cluster) && !controller.signal.aborted) controller.abort(new LoopAbort("unreachable"));
  }

  function begin(row: Claim, asked: number): void {
    const controller = new AbortController();
    options.metrics?.claimed?.(row.kind);
    const entry: Running = {
      row,
      controller,
      renewedAt: asked,
      ended: work(row, controller).finally(() => {
        // What is due meanwhile was told, unless there was no room for it.
        const full = isFull(row.cluster);
        running.delete(entry);
        options.metrics?.running?.(options.kinds, running.size);
        if (full || options.listener === undefined) wake();
        else stir();
      }),
    };
    running.add(entry);
    options.metrics?.running?.(options.kinds, running.size);
  }

  /** Whether rows of the cluster may have been left for want of a hand. */
  function isFull(cluster: string): boolean {
    const { clusters, limit } = room();
    return limit < 1 || (clusters !== "all" && !clusters.includes(cluster));
  }

  async function work(row: Claim, controller: AbortController): Promise<void> {
    const started = clock();
    const deadline = setTimeout(() => {
      controller.abort(new LoopAbort("deadline"));
    }, deadlineMs);
    let outcome: Outcome;
    try {
      const result = await orLeftBehind(
        Promise.resolve().then(() =>
          options.handler(row, {
            signal: controller.signal,
            fence: row.fence,
            commit: commitUnder(options.db, row),
            isCrowded: () => isFull(row.cluster),
          }),
        ),
        controller.signal,
      );
      outcome = await settleOnceThere(row, controller.signal, result);
    } catch (error) {
      // The lease runs out, and the row is taken again.
      options.log.warn({ kind: row.kind, key: row.key, error: String(error) }, "could not record how work ended");
      outcome = "lease_lost";
    } finally {
      clearTimeout(deadline);
    }
    options.metrics?.ended?.(row.kind, outcome, clock() - started);
  }

  type Ending =
    | { readonly type: "done"; readonly again: Date | undefined }
    | { readonly type: "threw"; readonly error: unknown }
    | { readonly type: "stuck" };

  /** The handler's ending, or `stuck` when it does not heed its signal in time: its slot is freed, and its fence is stale. */
  async function orLeftBehind(handled: Promise<HandlerResult | void>, signal: AbortSignal): Promise<Ending> {
    const ended = handled.then(
      (result): Ending => ({ type: "done", again: result?.again }),
      (error: unknown): Ending => ({ type: "threw", error }),
    );
    const given = new AbortController();
    const stuck = new Promise<Ending>((resolve) => {
      const startTimer = (): void => {
        sleep(abandonMs, undefined, { signal: given.signal }).then(
          () => {
            resolve({ type: "stuck" });
          },
          () => {
            /* It ended in time. */
          },
        );
      };
      if (signal.aborted) startTimer();
      else signal.addEventListener("abort", startTimer, { once: true, signal: given.signal });
    });
    try {
      return await Promise.race([ended, stuck]);
    } finally {
      given.abort();
    }
  }

  /** A database that is away for a moment must not keep the row from everybody until its lease is over. What was settled without an answer is found settled. */
  async function settleOnceThere(row: Claim, signal: AbortSignal, ending: Ending): Promise<Outcome> {
    const from = clock();
    for (let ms = 50; ; ms = Math.min(ms * 2, 1_000)) {
      try {
        return await settle(row, signal, ending);
      } catch (error) {
        const hopeless = abortedBy(signal) !== undefined || stopping.signal.aborted || clock() + ms - from > leaseMs;
        if (hopeless || !isUnavailable(error)) throw error;
        await sleep(ms, undefined, { signal: stopping.signal });
      }
    }
  }

  async function settle(row: Claim, signal: AbortSignal, ending: Ending): Promise<Outcome> {
    const why = abortedBy(signal);
    if (ending.type === "done") {
      const held = await finish(options.db, row, ending.again === undefined ? {} : { again: ending.again });
      if (ending.again !== undefined) looks.add(ending.again.getTime());
      return held ? "done" : "lease_lost";
    }
    if (why === "lease_lost") return ending.type === "stuck" ? "stuck" : "lease_lost";
    if (why === "stopping" || why === "unreachable") return (await release(options.db, row)) ? "released" : "lease_lost";
    const error = ending.type === "stuck" ? `it took longer than ${deadlineMs} ms and did not stop` : sentence(ending.error);
    options.log.warn({ kind: row.kind, key: row.key, attempts: row.attempts, error }, "work failed; it will be tried again");
    const wait = backoff(row.attempts);
    const backoffMs = ending.type === "threw" && isAway(ending.error) ? Math.min(wait, longestAway) : wait;
    const held = await fail(options.db, row, { error, backoffMs });
    looks.add(now() + backoffMs + slack);
    return ending.type === "stuck" ? "stuck" : held ? "failed" : "lease_lost";
  }

  /** Renews what is held; what could not be renewed for most of its lease is given up before the lease runs out. */
  async function heartbeat(): Promise<void> {
    const asked = clock();
    const entries = [...running].filter((entry) => abortedBy(entry.controller.signal) !== "lease_lost");
    const beat = async (entry: (typeof entries)[number]): Promise<void> => {
      if (await renew(options.db, entry.row, leaseMs)) entry.renewedAt = asked;
      else if (running.has(entry)) entry.controller.abort(new LoopAbort("lease_lost"));
    };
    // A row that somebody keeps locked holds up no other.
    for (const ended of await Promise.allSettled(entries.map(beat)))
      if (ended.status === "rejected") options.log.warn({ error: String(ended.reason) }, "could not renew a lease");
  }

  /** Asked every fifth of a lease: whatever lies between renewing and asking, a tenth of the lease is left in which a handler can heed its signal. */
  function giveUpSilent(): void {
    for (const entry of running) if (clock() - entry.renewedAt > leaseMs * 0.7) entry.controller.abort(new LoopAbort("lease_lost"));
  }

  let beating: Promise<void> | undefined;
  const beat = setInterval(() => {
    giveUpSilent();
    beating ??= heartbeat().finally(() => {
      beating = undefined;
    });
  }, leaseMs / 5);
  const unlisten = options.listener?.on(dueChannel, (kind) => {
    if (kind === undefined || options.kinds.includes(kind)) wake();
  });
  const claiming = claimLoop();

  async function stop(graceMs = 5_000): Promise<void> {
    stopping.abort();
    stir();
    unlisten?.();
    await claiming;
    const all = Promise.all([...running].map((entry) => entry.ended));
    const patience = new AbortController();
    await Promise.race([all, sleep(graceMs, undefined, { signal: patience.signal }).catch(() => undefined)]);
    patience.abort();
    for (const entry of running) entry.controller.abort(new LoopAbort("stopping"));
    await all;
    clearInterval(beat);
    await beating;
  }

  return { wake, stop };
}

function abortedBy(signal: AbortSignal): AbortCause | undefined {
  return signal.reason instanceof LoopAbort ? signal.reason.why : undefined;
}

const isAway = (error: unknown): boolean => error instanceof BerthError && error.code === "engine_unavailable";

function sentence(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
