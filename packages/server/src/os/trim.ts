// Gives back what a busy time left behind. V8 lets the heap grow while there is work, which keeps its collections short and few, and hardly shrinks it while
// a little work goes on; a server that works for a minute a day would keep a hundred megabytes for the rest of it.
import { performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";

/** Only there with the flag `--expose-gc` (core/hardened.ts). */
declare const gc: ((options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void) | undefined;

export interface TrimOptions {
  /** ms between two looks: a thread is quiet when it hardly worked since the last. */
  readonly period?: number;
  /** Part of that time, from 0 to 1. */
  readonly quiet?: number;
  /** Bytes by which the heap must have grown since it was last collected. */
  readonly growth?: number;
}

/** Looks after this thread's heap until the signal. A collection takes 20 to 90 ms, once after each busy time; nothing is done without `--expose-gc`. */
export function trimWhenQuiet(signal: AbortSignal, { period = 10_000, quiet = 0.1, growth = 16 * 1024 ** 2 }: TrimOptions = {}): void {
  if (typeof gc !== "function") return;
  const collect = gc;
  let before = performance.eventLoopUtilization();
  let small = 0;
  // What came before counts as work.
  let worked = true;
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    worked ||= utilization > quiet;
    if (!worked || utilization > quiet || getHeapStatistics().total_heap_size < small + growth) return;
    worked = false;
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
    small = getHeapStatistics().total_heap_size;
  }, period).unref();
  signal.addEventListener("abort", () => {
    clearInterval(timer);
  });
}
