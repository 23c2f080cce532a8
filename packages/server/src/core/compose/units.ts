// Durations and sizes as Compose writes them, to whole milliseconds and bytes and back. Pure.

const milliseconds: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** `1h30m`, `1.5s`, `300ms`, `0`; undefined when it is none. A part of a millisecond counts as a whole one. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (text.length > 100 || !/^\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[a-zµμ]+)+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)([a-zµμ]+)/g)) {
    const factor = unit === undefined || !Object.hasOwn(milliseconds, unit) ? undefined : milliseconds[unit];
    if (factor === undefined) return undefined;
    total += Number(amount) * factor;
  }
  const rounded = Math.ceil(Math.round(total * 1e6) / 1e6);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}

/** The shortest exact form: `90000` is `1m30s`. */
export function formatDuration(value: number): string {
  if (value === 0) return "0s";
  let rest = value;
  let text = "";
  for (const [unit, size] of [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
    ["ms", 1],
  ] as const) {
    const amount = Math.floor(rest / size);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * size;
  }
  return text;
}

const powers = ["b", "k", "m", "g", "t", "p"] as const;

/** `512m`, `1.5 GiB`, `1024`: units are powers of 1024, letter case does not count; undefined when it is none. */
export function parseBytes(text: string): number | undefined {
  const match = text.length > 40 ? null : /^([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(?:b|([kmgtp])(?:i?b)?)?$/i.exec(text);
  if (match === null) return undefined;
  const power = powers.indexOf((match[2]?.toLowerCase() ?? "b") as (typeof powers)[number]);
  const bytes = Math.floor(Number(match[1]) * 1024 ** power);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

export function formatBytes(bytes: number): string {
  const power = [5, 4, 3, 2, 1].find((candidate) => bytes > 0 && bytes % 1024 ** candidate === 0) ?? 0;
  return `${bytes / 1024 ** power}${powers[power]}`;
}
