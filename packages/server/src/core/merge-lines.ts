// Merges streams of lines into one in order of time. Uses no clock of its own beyond a short wait for stragglers.

/** With `settle` (ms) the streams may go on for ever: a line waits so long for an earlier one from another stream. Without it, all streams end. */
export async function* mergeByTime<T>(sources: readonly AsyncIterable<T>[], settle: number | undefined, at: (item: T) => string): AsyncIterable<T> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const heads: (Promise<{ index: number; result: IteratorResult<T> }> | undefined)[] = iterators.map((_, index) => head(index));
  const ready: ({ item: T } | undefined)[] = iterators.map(() => undefined);
  function head(index: number): Promise<{ index: number; result: IteratorResult<T> }> | undefined {
    const iterator = iterators[index];
    return iterator === undefined ? undefined : iterator.next().then((result) => ({ index, result }));
  }
  const take = ({ index, result }: { index: number; result: IteratorResult<T> }): void => {
    heads[index] = undefined;
    if (result.done !== true) ready[index] = { item: result.value };
  };
  try {
    for (;;) {
      const waiting = heads.filter((promise) => promise !== undefined);
      const have = ready.some((item) => item !== undefined);
      if (waiting.length === 0 && !have) return;
      if (waiting.length > 0) {
        if (!have) take(await Promise.race(waiting));
        else if (settle === undefined) take(await Promise.race(waiting));
        else {
          const next = await Promise.race([...waiting, pause(settle)]);
          if (next !== undefined) {
            take(next);
            continue;
          }
        }
        if (settle === undefined && heads.some((promise) => promise !== undefined)) continue;
        if (settle !== undefined && !have) continue;
      }
      let first = -1;
      for (const [index, item] of ready.entries()) {
        const best = ready[first];
        if (item !== undefined && (best === undefined || at(item.item) < at(best.item))) first = index;
      }
      const chosen = ready[first];
      if (chosen === undefined) continue;
      ready[first] = undefined;
      heads[first] = head(first);
      yield chosen.item;
    }
  } finally {
    for (const iterator of iterators) void iterator.return?.();
  }
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms, undefined);
  });
}
