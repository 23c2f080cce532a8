// The processes of one Berth seen from outside: who they are, what CPU time they take and what memory they hold. Counts CPU time, never wall time,
// because other work on the machine changes the one much less than the other.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestBerth } from "../../e2e/harness.ts";
import { cpuMicros, family, memory, type Memory } from "../router/processes.ts";

export type Part = "control plane" | "PostgreSQL" | "edge primary" | "router" | "agent" | "collector";

/** Process ids by part. PostgreSQL is there with all its connections, which come and go. */
export type Parts = Readonly<Record<Part, readonly number[]>>;

export function partsOf(berth: Pick<TestBerth, "home" | "serverPid">): Parts {
  const edge = processesWith(join(berth.home, "edge", "config.json"));
  const named = (program: RegExp): number[] => edge.filter(({ command }) => program.test(command)).map(({ pid }) => pid);
  const primary = named(/\bedge(\/main)?\.[jt]s\b/);
  return {
    "control plane": [berth.serverPid()],
    PostgreSQL: postgres(berth.home),
    "edge primary": primary,
    // Forked by the cluster module: their arguments name no home.
    router: primary.flatMap(family).filter((pid) => /\b(edge-router\.js|router\/main\.ts)\b/.test(commandOf(pid).join(" "))),
    agent: named(/\b(edge-(agent|containers)\.js|(agent|containers)\/main\.ts)\b/),
    collector: named(/\b(edge-collector\.js|collector\/main\.ts)\b/),
  };
}

function postgres(home: string): number[] {
  return family(Number(readFileSync(join(home, "postgres", "data", "postmaster.pid"), "utf8").split("\n")[0]));
}

/** The shim of each run of an instance. */
export function shimsOf(berth: Pick<TestBerth, "home">): number[] {
  return processesWith(join(berth.home, "edge", "shim")).map(({ pid }) => pid);
}

/** Processes with this argument. */
function processesWith(argument: string): { readonly pid: number; readonly command: string }[] {
  return readdirSync("/proc").flatMap((entry) => {
    const words = /^\d+$/.test(entry) ? commandOf(Number(entry)) : [];
    return words.includes(argument) ? [{ pid: Number(entry), command: words.slice(0, words.indexOf(argument)).join(" ") }] : [];
  });
}

function commandOf(pid: number): string[] {
  return orNothing(() => readFileSync(`/proc/${String(pid)}/cmdline`, "utf8").split("\0"), []);
}

export interface Cost {
  /** Percent of one core, median over the windows. */
  readonly cpu: number;
  /** Bytes: what is shared with other programs counted in full, and in parts. */
  readonly resident: number;
  readonly own: number;
}

/** What each part costs while nothing but time passes: the median of several windows, so that a single hiccup does not decide. */
export async function costOf(berth: TestBerth, seconds: number, windows = 3): Promise<Readonly<Record<Part, Cost>>> {
  const names = Object.keys(partsOf(berth)) as Part[];
  const shares = new Map(names.map((name) => [name, [] as number[]]));
  for (let window = 0; window < windows; window += 1) {
    const before = partsOf(berth);
    const spent = new Map(names.map((name) => [name, cpuOf(before[name])]));
    const from = performance.now();
    await sleep((seconds * 1000) / windows);
    const took = performance.now() - from;
    // A process that ended meanwhile counts as it was; one that came is not an idle one's cost.
    for (const name of names) shares.get(name)?.push((Math.max(0, cpuOf(before[name]) - (spent.get(name) ?? 0)) / 1000 / took) * 100);
  }
  const after = partsOf(berth);
  return Object.fromEntries(
    names.map((name) => [name, { cpu: median(shares.get(name) ?? []), ...memoryOf(after[name]) }]),
  ) as unknown as Readonly<Record<Part, Cost>>;
}

function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + orNothing(() => cpuMicros([pid]), 0), 0);
}

/** µs of CPU time that each part of this Berth took so far; not what it ran for others (builds, instances). */
export function cpuSpent(berth: Pick<TestBerth, "home" | "serverPid">): Readonly<Record<Part, number>> {
  return Object.fromEntries(Object.entries(partsOf(berth)).map(([part, pids]) => [part, cpuOf(pids)])) as Record<Part, number>;
}

export const cpuSeconds = (berth: Pick<TestBerth, "home" | "serverPid">): number =>
  Object.values(cpuSpent(berth)).reduce((sum, micros) => sum + micros, 0) / 1e6;

export function memoryOf(pids: readonly number[]): Pick<Memory, "resident" | "own"> {
  const each = pids.map((pid) => orNothing<Pick<Memory, "resident" | "own">>(() => memory([pid]), { resident: 0, own: 0 }));
  return { resident: each.reduce((sum, one) => sum + one.resident, 0), own: each.reduce((sum, one) => sum + one.own, 0) };
}

/** For a process that may have ended. */
function orNothing<T>(read: () => T, nothing: T): T {
  try {
    return read();
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return nothing;
    throw error;
  }
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 50);
}

/** The smallest sample that so many percent are not above. Throws without samples: a measure without runs is a failure, never an empty pass. */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)];
  if (found === undefined) throw new Error("nothing was measured");
  return found;
}
