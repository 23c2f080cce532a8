// Answers that are asked for again and again, remembered for a moment.

export interface Recent<T> {
  /** What was found for this key less than `ms` ago, or is being looked for; otherwise what `find` gives. A failure is not remembered. */
  get(key: string, find: () => Promise<T>): Promise<T>;
  /** After a change: what was found before, or is being looked for now, is given to nobody who asks from here on. */
  forget(): void;
}

/** `clock` in ms, of which only differences count. */
export function createRecent<T>(ms: number, clock: () => number): Recent<T> {
  const known = new Map<string, { readonly until: number; readonly found: Promise<T> }>();
  return {
    get(key, find) {
      const before = known.get(key);
      if (before !== undefined && before.until > clock()) return before.found;
      const entry = { until: clock() + ms, found: find() };
      if (known.size > 10_000) known.clear();
      known.set(key, entry);
      entry.found.catch(() => {
        if (known.get(key) === entry) known.delete(key);
      });
      return entry.found;
    },
    forget() {
      known.clear();
    },
  };
}
