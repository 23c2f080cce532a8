// Figures as text for people.
import { loadavg } from "node:os";

export function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(0);
}

/** A table that is Markdown too. The first line is its head. */
export function tableOf(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const shown = lines.map(
    (line) =>
      `| ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(" | ")} |`,
  );
  return [shown[0], `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...shown.slice(1)].join("\n");
}

/** How busy the machine is: others take from all proxies alike, but not at the same moment. */
export function loadLine(cores: number): string {
  const load = loadavg()[0] ?? 0;
  return `${String(cores)} cores, load ${load.toFixed(1)} before`;
}
