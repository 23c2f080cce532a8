// The figures of one benchmark run, as a table for people or as JSON for programs. A measure without runs is a failure, never an empty pass.
import { loadavg } from "node:os";

export interface Measure {
  readonly name: string;
  /** ms that the median must stay under; absent: printed only. */
  readonly bar?: number;
  /** ms, in the order they were taken. */
  readonly samples: readonly number[];
}

export interface Row {
  readonly measure: string;
  readonly bar?: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
  readonly pass?: boolean;
}

export function rowOf({ name, bar, samples }: Measure): Row {
  const sorted = samples.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) throw new Error(`nothing was measured for "${name}"`);
  const middle = sorted.length / 2;
  const median = ((sorted[Math.ceil(middle) - 1] ?? max) + (sorted[Math.floor(middle)] ?? max)) / 2;
  return { measure: name, ...(bar === undefined ? {} : { bar, pass: median <= bar }), median, min, max, runs: sorted.length };
}

const seconds = (ms: number | undefined): string => (ms === undefined ? "-" : `${(ms / 1000).toFixed(2)} s`);

export function tableOf(rows: readonly Row[]): string {
  const cells = [
    ["measure", "bar", "median", "min", "max", "pass"],
    ...rows.map((row) => [
      row.measure,
      seconds(row.bar),
      seconds(row.median),
      seconds(row.min),
      seconds(row.max),
      row.pass === undefined ? "-" : row.pass ? "yes" : "NO",
    ]),
  ];
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const lines = cells.map(
    (line) =>
      `| ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(" | ")} |`,
  );
  return [lines[0], `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...lines.slice(1)].join("\n");
}

/** How busy the machine is: the figures of a busy one say little about the program. */
export function loadLine(cores: number): string {
  const load = loadavg()[0] ?? 0;
  return `${cores} cores, load ${load.toFixed(1)}${load > cores ? ": the machine has other work, so these figures are pessimistic" : ""}`;
}
