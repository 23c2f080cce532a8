import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeByTime } from "./merge-lines.ts";

interface Line {
  readonly at: string;
  readonly text: string;
}
const line = (at: number, text = String(at)): Line => ({ at: String(at).padStart(6, "0"), text });
const whenOf = (one: Line): string => one.at;

async function* given(lines: readonly Line[]): AsyncGenerator<Line> {
  for (const one of lines) yield one;
}

/** A stream that is written to from outside and stays open until `end`. */
function live(): {
  readonly stream: AsyncIterable<Line>;
  readonly write: (...lines: Line[]) => void;
  readonly end: () => void;
  readonly closed: Promise<void>;
  readonly read: () => number;
} {
  const lines: Line[] = [];
  let read = 0;
  let over = false;
  let changed = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const stream: AsyncIterable<Line> = {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        for (;;) {
          const one = lines.shift();
          if (one !== undefined) {
            read += 1;
            return { done: false, value: one };
          }
          if (over) return { done: true, value: undefined };
          await changed.promise;
        }
      },
      return: () => {
        over = true;
        closed.resolve();
        wake();
        return Promise.resolve({ done: true as const, value: undefined });
      },
    }),
  };
  return {
    stream,
    write: (...more) => {
      lines.push(...more);
      wake();
    },
    end: () => {
      over = true;
      wake();
    },
    closed: closed.promise,
    read: () => read,
  };
}

async function collect(lines: AsyncIterable<Line>): Promise<string[]> {
  const texts: string[] = [];
  for await (const one of lines) texts.push(one.text);
  return texts;
}

describe("lines of streams that end", () => {
  it("come in order of time, whatever the lengths of their streams, and none is lost", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(fc.integer({ min: 0, max: 999_999 }), { maxLength: 20 }), { maxLength: 5 }), async (streams) => {
        const all = streams.map((times) => times.toSorted((a, b) => a - b));
        const texts = await collect(
          mergeByTime(
            all.map((times) => given(times.map((at) => line(at)))),
            undefined,
            whenOf,
          ),
        );
        expect(texts).toEqual(
          all
            .flat()
            .toSorted((a, b) => a - b)
            .map(String),
        );
      }),
      { numRuns: 100 },
    );
  });

  it("wait for a slow stream rather than overtake it", async () => {
    const slow = live();
    const texts = collect(mergeByTime([given([line(2), line(3)]), slow.stream], undefined, whenOf));
    slow.write(line(1), line(4));
    slow.end();
    expect(await texts).toEqual(["1", "2", "3", "4"]);
  });

  it("of the same instant come in the order of their streams", async () => {
    expect(await collect(mergeByTime([given([line(1, "a"), line(1, "b")]), given([line(1, "c")])], undefined, whenOf))).toEqual([
      "a",
      "b",
      "c",
    ]);
  });

  it("are none when there is no stream", async () => {
    expect(await collect(mergeByTime([], undefined, whenOf))).toEqual([]);
  });
});

describe("following", () => {
  it("gives lines of a busy stream although another one stays silent, without waiting for each", async () => {
    const busy = live();
    const silent = live();
    busy.write(...Array.from({ length: 2_000 }, (_, index) => line(index)));
    const merged = mergeByTime([busy.stream, silent.stream], 50, whenOf)[Symbol.asyncIterator]();
    const started = performance.now();
    for (let index = 0; index < 2_000; index += 1) expect((await merged.next()).value).toEqual(line(index));
    // Waiting anew for each line would take 100 s.
    expect(performance.now() - started).toBeLessThan(30_000);
    await merged.return?.();
  });

  it("puts a line that comes a little late before a later one of another stream", async () => {
    const [one, other] = [live(), live()];
    const merged = mergeByTime([one.stream, other.stream], 60_000, whenOf)[Symbol.asyncIterator]();
    const first = merged.next();
    one.write(line(2));
    setImmediate(() => {
      other.write(line(1));
    });
    expect((await first).value).toEqual(line(1));
    await merged.return?.();
  });

  it("ends when all streams ended", async () => {
    const [one, other] = [live(), live()];
    const texts = collect(mergeByTime([one.stream, other.stream], 10_000, whenOf));
    one.write(line(1));
    one.end();
    other.end();
    expect(await texts).toEqual(["1"]);
  });

  it("closes its streams when the reader leaves, a silent one too", async () => {
    const [one, silent] = [live(), live()];
    one.write(line(1), line(2));
    for await (const _ of mergeByTime([one.stream, silent.stream], 5, whenOf)) break;
    await Promise.all([one.closed, silent.closed]);
  });

  it("reads only so far ahead of a slow reader", async () => {
    const one = live();
    one.write(...Array.from({ length: 2_000 }, (_, index) => line(index)));
    const merged = mergeByTime([one.stream], 5, whenOf)[Symbol.asyncIterator]();
    await merged.next();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(one.read()).toBeLessThan(300);
    await merged.return?.();
  });

  it("hands on a stream's failure after its lines, even when it fails while the reader is busy", async () => {
    async function* failing(): AsyncGenerator<Line> {
      yield line(1);
      throw new Error("the agent went away");
    }
    const merged = mergeByTime([failing(), live().stream], 5, whenOf)[Symbol.asyncIterator]();
    expect((await merged.next()).value).toEqual(line(1));
    // The failure lies unread meanwhile: it must not count as an unhandled rejection, which would end the server.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    await expect(merged.next()).rejects.toThrow("the agent went away");
  });
});
