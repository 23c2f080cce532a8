// How often something may be done: so many at once, and so many a second after that. Time comes from the caller.

export interface Bucket {
  /** 0: it may be done now, and counts. Else the seconds after which one more will be let through. */
  take(key: string, now: number): number;
}

/** `burst`: at once; `perSecond`: refilled. Keys that have been full again for a while are forgotten. */
export function createBucket({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }): Bucket {
  const levels = new Map<string, { left: number; at: number }>();
  const refilled = ({ left, at }: { left: number; at: number }, now: number): number =>
    Math.min(burst, left + (Math.max(0, now - at) / 1_000) * perSecond);
  return {
    take(key, now) {
      if (levels.size > 1_000) for (const [other, level] of levels) if (refilled(level, now) >= burst) levels.delete(other);
      const left = refilled(levels.get(key) ?? { left: burst, at: now }, now);
      const taken = left >= 1;
      levels.set(key, { left: taken ? left - 1 : left, at: now });
      return taken ? 0 : Math.max(1, Math.ceil((1 - left) / perSecond));
    },
  };
}
