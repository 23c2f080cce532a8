// What a benchmark promises of itself, found and judged: the table that each ends with, and its exit code.
import { availableParallelism, loadavg } from "node:os";
import { tableOf } from "../router/text.ts";

export interface Bar {
  readonly bar: string;
  readonly found: string;
  readonly pass: boolean;
}

export const atMost = (bar: string, found: number, most: number, unit: string, digits = 1): Bar => ({
  bar: `${bar}: at most ${String(most)} ${unit}`,
  found: `${found.toFixed(digits)} ${unit}`,
  pass: found <= most,
});

export const holds = (bar: string, found: string, pass: boolean): Bar => ({ bar, found, pass });

export function loadLine(): string {
  const cores = availableParallelism();
  const load = loadavg()[0] ?? 0;
  return `${String(cores)} cores, load ${load.toFixed(1)}${load > cores ? ": the machine has other work, so times are pessimistic" : ""}`;
}

export const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** Prints the tables and the bars, or all of it as JSON. Returns the exit code: 1 when a bar is missed. */
export function report(tables: readonly (readonly (readonly string[])[])[], bars: readonly Bar[], json: boolean): number {
  const judged = [["bar", "found", "pass"], ...bars.map((bar) => [bar.bar, bar.found, bar.pass ? "yes" : "NO"])];
  process.stdout.write(
    json
      ? `${JSON.stringify({ load: loadLine(), tables, bars }, undefined, 2)}\n`
      : `${[...tables, judged].map(tableOf).join("\n\n")}\n${loadLine()}\n`,
  );
  return bars.every((bar) => bar.pass) ? 0 : 1;
}
