// Loaded into a server that is measured (NODE_OPTIONS): notes how long its threads' event loops stood still. What other processes take of the machine is told apart: a turn of
// 50 ms that took 5 ms of CPU time waited for the machine, not for the program.
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { isMainThread } from "node:worker_threads";

export interface Stall {
  /** Unix ms. */
  readonly at: number;
  readonly thread: "answers" | "works";
  /** ms by the clock, and of the thread's own CPU time. */
  readonly wall: number;
  readonly cpu: number;
}

/** ms between two looks. */
const period = 5;
/** Shorter ones are not worth a line, ms. */
const worthwhile = 15;
const folder = process.env["BERTH_BENCH_STALLS"];

// A worker has arguments of its own; whose it is tells the process's id.
if (folder !== undefined && (!isMainThread || process.argv.includes("run"))) {
  const file = join(folder, `${String(process.pid)}.jsonl`);
  const thread = isMainThread ? "answers" : "works";
  const used = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1_000;
  };
  let before = { at: performance.now(), cpu: used() };
  setInterval(() => {
    const now = { at: performance.now(), cpu: used() };
    const wall = now.at - before.at;
    if (wall >= worthwhile)
      appendFileSync(file, `${JSON.stringify({ at: Date.now(), thread, wall, cpu: now.cpu - before.cpu } satisfies Stall)}\n`);
    before = now;
  }, period).unref();
}
