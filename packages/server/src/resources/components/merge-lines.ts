// Merges streams of lines, each in order of time, into one. Uses no clock but a short timer for stragglers. Must never let a silent stream hold up a busy one,
// nor read far ahead of a slow reader.

/** Lines read ahead of each stream. */
const readAhead = 256;

interface Waiting<T> {
  readonly item: T;
  settled: boolean;
  readonly timer: NodeJS.Timeout | undefined;
}
interface Lane<T> {
  readonly iterator: AsyncIterator<T>;
  readonly waiting: Waiting<T>[];
  ended: boolean;
  failure: { readonly error: unknown } | undefined;
}

/**
 * With `settle` (ms) the streams may go on for ever: a line waits so long for an earlier one from another stream. Without it, all streams end, and the order is exact.
 * A stream that fails ends the whole with its error, after the lines that it gave before.
 */
export async function* mergeByTime<T>(
  sources: readonly AsyncIterable<T>[],
  settle: number | undefined,
  at: (item: T) => string,
): AsyncIterable<T> {
  const lanes = sources.map((source): Lane<T> => ({
    iterator: source[Symbol.asyncIterator](),
    waiting: [],
    ended: false,
    failure: undefined,
  }));
  const closing = new AbortController();
  const isOpen = (): boolean => !closing.signal.aborted;
  let changed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const arrived = (item: T): Waiting<T> => {
    const waiting: Waiting<T> = {
      item,
      settled: false,
      timer:
        settle === undefined
          ? undefined
          : setTimeout(() => {
              waiting.settled = true;
              wake();
            }, settle),
    };
    return waiting;
  };
  const pump = async (lane: Lane<T>): Promise<void> => {
    try {
      while (isOpen()) {
        const next = await lane.iterator.next();
        if (next.done === true) break;
        if (isOpen()) lane.waiting.push(arrived(next.value));
        wake();
        while (isOpen() && lane.waiting.length >= readAhead) await changed.promise;
      }
    } catch (error) {
      lane.failure = { error };
    }
    lane.ended = true;
    wake();
  };
  try {
    for (const lane of lanes) void pump(lane);
    for (;;) {
      const failed = lanes.find((lane) => lane.failure !== undefined && lane.waiting.length === 0);
      if (failed?.failure !== undefined) throw failed.failure.error;
      const first = earliest(lanes, at);
      if (first === undefined && lanes.every((lane) => lane.ended)) return;
      if (first !== undefined && (first.waiting[0]?.settled === true || lanes.every((lane) => lane.ended || lane.waiting.length > 0))) {
        const taken = first.waiting.shift();
        if (taken === undefined) continue;
        clearTimeout(taken.timer);
        wake();
        yield taken.item;
      } else await changed.promise;
    }
  } finally {
    closing.abort();
    wake();
    for (const lane of lanes) {
      for (const { timer } of lane.waiting) clearTimeout(timer);
      // Not awaited: a stream that is silent answers only when it is aborted. Its failure is of no interest any more.
      lane.iterator.return?.().catch(() => undefined);
    }
  }
}

/** Of lines of the same instant the one of the first stream. */
function earliest<T>(lanes: readonly Lane<T>[], at: (item: T) => string): Lane<T> | undefined {
  let best: { readonly lane: Lane<T>; readonly at: string } | undefined;
  for (const lane of lanes) {
    const [head] = lane.waiting;
    if (head === undefined) continue;
    const when = at(head.item);
    if (best === undefined || when < best.at) best = { lane, at: when };
  }
  return best?.lane;
}
