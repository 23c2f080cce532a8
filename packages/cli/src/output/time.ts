// Instants, durations and sizes as people read and type them.
const units: readonly (readonly [string, number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
];

/** `3m ago`, `in 2h`, `just now`; `-` for none. */
export function ago(instant: string | undefined, now: Date): string {
  if (instant === undefined) return "-";
  const ms = now.getTime() - Date.parse(instant);
  if (Number.isNaN(ms)) return instant;
  if (Math.abs(ms) < 1000) return "just now";
  return ms > 0 ? `${age(ms)} ago` : `in ${age(-ms)}`;
}

/** One unit, rounded down: `42s`, `3m`, `5h`, `12d`. */
export function age(ms: number): string {
  for (const [unit, size] of units) if (ms >= size) return `${Math.floor(ms / size)}${unit}`;
  return "0s";
}

/** Two units at most: `850ms`, `4.2s`, `1m 20s`, `2h 5m`. */
export const duration = (ms: number): string => told(ms, "");

/** The same within a sentence: `850 ms`, `4.2 s`, `1 m 20 s`. */
export const spelled = (ms: number): string => told(ms, " ");

function told(ms: number, gap: string): string {
  if (ms < 1000) return `${Math.round(ms)}${gap}ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}${gap}s`;
  const first = units.findIndex(([, size]) => ms >= size);
  const parts: string[] = [];
  let rest = ms;
  for (const [unit, size] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count}${gap}${unit}`);
    rest -= count * size;
  }
  return parts.join(" ");
}

/** How long something took, for a table: `-` while it has not begun or not ended. */
export function took(startedAt: string | undefined, endedAt: string | undefined): string {
  return startedAt === undefined || endedAt === undefined ? "-" : duration(Date.parse(endedAt) - Date.parse(startedAt));
}

/** `1h30m`, `10m`, `45s`, `500ms`, or a number of seconds, in milliseconds; undefined when it is none of them. */
export function parseDuration(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000);
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/.test(text)) return undefined;
  const size: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)) total += Number(count) * (size[unit ?? ""] ?? 0);
  return Math.round(total);
}

/** `10m` (ago), a date or an instant, as RFC 3339; undefined when it is none of them. */
export function parseInstant(text: string, now: Date): string | undefined {
  const back = parseDuration(text);
  if (back !== undefined) return new Date(now.getTime() - back).toISOString();
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
}

/** `512 B`, `3.4 MiB`; `-` for none. */
export function bytes(count: number | undefined): string {
  if (count === undefined) return "-";
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let name = 0;
  while (value >= 1024 && name < names.length - 1) {
    value /= 1024;
    name += 1;
  }
  return `${name === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${names[name]}`;
}

/** `14:03:07` in the caller's time zone. */
export function clockTime(at: Date): string {
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** Local date and time to the second. */
export function when(instant: string | undefined): string | undefined {
  if (instant === undefined) return undefined;
  const at = new Date(instant);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
