// Lines on their way from a process to somebody who follows over the API: how long each takes, whether all arrive, and what a flood does to others.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { until, type TestBerth } from "../../e2e/harness.ts";
import { cpuSpent, percentile, type Part } from "../shared/watch.ts";
import { writersOf, type Writer } from "./project.ts";

export interface Followed {
  readonly lines: number;
  /** ms from the moment a line was written until a follower had it; only of lines that were written while it listened. */
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
  /** Lines that never came, or came again or out of order. */
  readonly lost: number;
  readonly wrong: number;
  /** ms that one write took at most. */
  readonly stalled: number;
  /** Percent of a core while the lines were written. */
  readonly cpu: Readonly<Record<Part, number>>;
}

export interface Flooded {
  readonly beside: Followed;
  /** Bytes that the flood wrote. */
  readonly wrote: number;
  /** ms until it had. */
  readonly took: number;
  /** Bytes of its log on the disk, at most. */
  readonly kept: number;
}

/** ms from asking for a deployment until its writers begin. */
export interface Timing {
  readonly warmup: number;
  /** ms that everything may take. */
  readonly patience: number;
}

export async function followWriters(berth: TestBerth, stack: string, writer: Writer, timing: Timing): Promise<Followed> {
  await deployWriters(berth, stack, [writer], timing);
  return follow(berth, stack, writer, timing);
}

/** One writes as much as is taken; the other's lines are followed meanwhile. */
export async function flood(berth: TestBerth, stack: string, flooding: Writer, quiet: Writer, timing: Timing): Promise<Flooded> {
  await deployWriters(berth, stack, [flooding, quiet], timing);
  const folder = join(berth.home, "logs", stack, flooding.name);
  let kept = 0;
  const looking = setInterval(() => (kept = Math.max(kept, sizeOf(folder))), 200);
  try {
    const [beside, took] = await Promise.all([follow(berth, stack, quiet, timing), floodEnd(berth, stack, flooding, timing)]);
    kept = Math.max(kept, sizeOf(folder));
    return { beside, wrote: flooding.lines * flooding.bytes, took, kept };
  } finally {
    clearInterval(looking);
  }
}

async function deployWriters(berth: TestBerth, stack: string, writers: readonly Writer[], { warmup }: Timing): Promise<void> {
  const files = writersOf(writers, Date.now() + warmup);
  await berth.up(stack, files, { ".": files });
}

/** ms between its first and its last line. Reads the last line there is, again and again: a flood cannot be followed whole. */
async function floodEnd(berth: TestBerth, stack: string, { name, lines }: Writer, { patience }: Timing): Promise<number> {
  let first: number | undefined;
  return until(
    async () => {
      for await (const { data } of berth.client.readLogs({ params: { stack, component: name }, query: { tail: 1 } })) {
        const [number = 0, at = 0] = data.text.split(" ").map(Number);
        first ??= at;
        if (number === lines - 1) return at - first;
      }
      return undefined;
    },
    `the last line of ${name}`,
    patience,
    () => berth.log(),
    500,
  );
}

/** Follows until the last line of every instance came. */
async function follow(berth: TestBerth, stack: string, writer: Writer, { patience }: Timing): Promise<Followed> {
  const stopping = AbortSignal.timeout(patience);
  const next = new Map<string, number>();
  const times: number[] = [];
  const [listening, wanted] = [Date.now(), writer.replicas * writer.lines];
  let [lines, lost, wrong, stalled, ended] = [0, 0, 0, 0, 0];
  let spent: { readonly at: number; readonly cpu: Readonly<Record<Part, number>> } | undefined;
  const stream = berth.client.readLogs({ params: { stack, component: writer.name }, query: { follow: true } }, { signal: stopping });
  for await (const { data } of stream) {
    if (data.stream !== "stdout") continue;
    const [number = 0, at = 0, longest = 0] = data.text.split(" ", 3).map(Number);
    spent ??= { at: performance.now(), cpu: cpuSpent(berth) };
    if (at > listening) times.push(Date.now() - at);
    const expected = next.get(data.instance) ?? 0;
    if (number < expected) wrong += 1;
    else lost += number - expected;
    next.set(data.instance, Math.max(expected, number + 1));
    lines += 1;
    stalled = Math.max(stalled, longest);
    if (number === writer.lines - 1) ended += 1;
    if (ended === writer.replicas) break;
  }
  if (ended < writer.replicas || spent === undefined)
    throw new Error(`${String(lines)} of ${String(wanted)} lines came in time, the last of ${String(ended)} of ${String(writer.replicas)}`);
  const took = performance.now() - spent.at;
  const after = cpuSpent(berth);
  const before = spent.cpu;
  return {
    lines,
    p50: percentile(times, 50),
    p99: percentile(times, 99),
    longest: Math.max(...times),
    lost,
    wrong,
    stalled,
    cpu: Object.fromEntries(
      Object.entries(after).map(([part, micros]) => [part, ((micros - before[part as Part]) / 1000 / took) * 100]),
    ) as unknown as Readonly<Record<Part, number>>,
  };
}

function sizeOf(folder: string): number {
  try {
    return readdirSync(folder).reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0);
  } catch (error) {
    // Nothing was written yet.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
}
