// How sentences tell numbers: how often something was, and how long it took. Pure.

/** `once`, `3 times`. */
export const times = (count: number): string => (count === 1 ? "once" : `${String(count)} times`);

/** `250 ms`, `4.2 s`, `90 s`, `3 min`, `2 h`, `7 days`: what was waited or given, as people say it. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1000).toFixed(ms < 9_950 ? 1 : 0)} s`;
  if (ms < 100 * 60_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 50 * 3_600_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** `250 ms`, `4.2 s`, `31.4 s`, `3 min`, `2 h`: what one run took. To the tenth for as long as a time-out of the program's own could be recognised by it. */
export function measured(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 90_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}
