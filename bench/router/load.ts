// One round of load by wrk (keep-alive, one thread) on one proxy. Every answer has to be a good one.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { cores, cpuMicros, memory } from "./processes.ts";
import type { Proxy } from "./proxies.ts";

export interface Round {
  readonly requestsPerSecond: number;
  /** CPU time of the proxy's processes per request, µs: what others on the machine do changes it little. */
  readonly cpuPerRequest: number;
  /** ms */
  readonly p50: number;
  readonly p99: number;
  /** bytes */
  readonly resident: number;
}

export interface LoadOptions {
  readonly connections: number;
  readonly seconds: number;
}

export async function load(proxy: Proxy, { connections, seconds }: LoadOptions): Promise<Round> {
  const pids = proxy.pids();
  const before = cpuMicros(pids);
  const { stdout } = await promisify(execFile)("taskset", [
    "-c",
    String(cores.rest),
    "wrk",
    "-t1",
    `-c${String(connections)}`,
    `-d${String(seconds)}s`,
    "--latency",
    "-H",
    `Host: ${proxy.host}`,
    "-H",
    `Cookie: session=abc; ${proxy.cookie}`,
    proxy.url,
  ]);
  const micros = cpuMicros(pids) - before;
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  if (/Non-2xx|Socket errors/.test(stdout) || requests === 0) throw new Error(`${proxy.name} did not answer well:\n${stdout}`);
  return {
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0),
    cpuPerRequest: micros / requests,
    p50: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
    p99: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
    resident: memory(pids).resident,
  };
}

function milliseconds(match: RegExpExecArray | null): number {
  const factor = match?.[2] === "s" ? 1_000 : match?.[2] === "ms" ? 1 : 0.001;
  return Number(match?.[1] ?? NaN) * factor;
}

/** The middle of several rounds, figure by figure. */
export function middle(rounds: readonly Round[]): Round {
  const of = (figure: keyof Round): number => median(rounds.map((round) => round[figure]));
  return {
    requestsPerSecond: of("requestsPerSecond"),
    cpuPerRequest: of("cpuPerRequest"),
    p50: of("p50"),
    p99: of("p99"),
    resident: of("resident"),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? NaN) + (sorted[Math.floor(half)] ?? NaN)) / 2;
}
