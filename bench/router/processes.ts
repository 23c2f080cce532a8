// Programs under measurement: each on a core of its own, watched from outside, and ended with everything it started.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** What is measured runs on `subject`; clients and the back end on `rest`. */
export const cores = { subject: 0, rest: availableParallelism() > 1 ? 1 : 0 } as const;
/** Linux counts CPU time in ticks of 10 ms. */
const tick = 10_000;

export interface Started extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
}

/** Starts a program on one core, or on several ("0,1"). It ends by SIGTERM, at the latest when this process does. */
export function start(
  core: number | string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Started {
  const child = spawn("taskset", ["-c", String(core), command, ...args], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: { ...process.env, ...env },
  });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = `${said}${text}`.slice(-4_000);
  });
  let wanted = false;
  const gone = once(child, "exit").then(([code, signal]) => {
    if (!wanted) process.stderr.write(`${command} ended by itself (${String(code ?? signal)}): ${said}\n`);
  });
  const kill = (): void => {
    child.kill("SIGKILL");
  };
  process.once("exit", kill);
  if (child.pid === undefined) throw new Error(`${command} cannot be started`);
  return {
    child,
    pid: child.pid,
    [Symbol.asyncDispose]: async () => {
      wanted = true;
      child.kill("SIGTERM");
      const late = setTimeout(kill, 20_000);
      await gone;
      clearTimeout(late);
      process.off("exit", kill);
    },
  };
}

/** All processes that this one started, and theirs, itself included. */
export function family(pid: number): number[] {
  try {
    const children = readdirSync(`/proc/${String(pid)}/task`).flatMap((task) =>
      readFileSync(`/proc/${String(pid)}/task/${task}/children`, "utf8")
        .trim()
        .split(" ")
        .filter(Boolean)
        .map(Number),
    );
    return [pid, ...children.flatMap(family)];
  } catch {
    return [];
  }
}

/** CPU time that these processes took so far, in µs. */
export function cpuMicros(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * tick;
}

export interface Memory {
  readonly resident: number;
  /** What processes share (the program's text, mostly) counted in parts: other programs of the machine may have the rest. */
  readonly own: number;
  /** What these processes share counted once and in full. */
  readonly together: number;
}

/** Resident memory in bytes. */
export function memory(pids: readonly number[]): Memory {
  const each = pids.map((pid) => {
    // Once: the kernel walks all of the process's pages for it.
    const text = readFileSync(`/proc/${String(pid)}/smaps_rollup`, "utf8");
    const of = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) * 1024;
    return {
      resident: of("Rss"),
      own: of("Pss"),
      alone: of("Private_Clean") + of("Private_Dirty"),
      shared: of("Shared_Clean") + of("Shared_Dirty"),
    };
  });
  const sum = (field: "resident" | "own" | "alone"): number => each.reduce((all, one) => all + one[field], 0);
  return { resident: sum("resident"), own: sum("own"), together: sum("alone") + Math.max(...each.map(({ shared }) => shared)) };
}

/** Polls until it holds; throws with `what` when it does not in time. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, ms = 60_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${String(ms / 1000)} s`);
    await sleep(50);
  }
}
