// Reads a component's lines back: the last ones, those since an instant or after a cursor, and new ones as they come; all instances merged by stamp.
import { open } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import type { LogLine } from "../../engines/engine.ts";
import { parseLine, toLogLine, type StoredLine } from "./files.ts";
import type { ComponentStore, StoredSegment } from "./store.ts";

export interface Query {
  readonly instance?: string;
  readonly tail?: number;
  /** Only lines with a greater stamp. */
  readonly after?: number;
  /** The reader has seen the line with stamp `after`, so it is told when lines after it are gone. */
  readonly resumed: boolean;
  readonly follow: boolean;
}

const batch = 1_000;
const blockBytes = 256 * 1024;
/** ms that a follower waits for more when there is something new. */
const gather = 20;

interface Found {
  readonly instance: string;
  readonly line: StoredLine;
}
/** Where in a file the lines after the last one that was given begin. */
type Places = Map<string, number>;

/** Ends at the newest line, or never when following. The caller's pace is the pace of reading. */
export async function* readLines(store: ComponentStore, query: Query, newest: () => number, signal: AbortSignal): AsyncGenerator<LogLine> {
  const places: Places = new Map();
  let at = query.after ?? 0;
  const until = query.follow ? Number.POSITIVE_INFINITY : newest();
  let changed = Promise.withResolvers<void>();
  const wake = (): void => changed.resolve();
  const end = store.listen(wake);
  signal.addEventListener("abort", wake, { once: true });
  try {
    // Up to here the reader needs no word about lines that are gone: it never asked for them, or was told.
    let told = query.resumed && query.tail === undefined ? 0 : (store.droppedAfter(0, query.instance) ?? 0);
    if (query.tail !== undefined) {
      const from = newest();
      for (const { instance, line } of await lastOf(store, query, { after: at, upTo: from }, query.tail)) yield toLogLine(instance, line);
      at = Math.max(at, from);
    }
    while (!signal.aborted) {
      const gone = store.droppedAfter(Math.max(at, told), query.instance);
      if (gone !== undefined) {
        told = gone;
        yield {
          ...toLogLine(query.instance ?? "", { t: at, s: "berth", m: "Lines are missing here: the log had grown beyond its bound." }),
        };
      }
      changed = Promise.withResolvers<void>();
      const found = await nextOf(store, query.instance, { after: at, upTo: newest() }, places);
      for (const { instance, line } of found) {
        if (line.t > until || signal.aborted) return;
        at = line.t;
        yield toLogLine(instance, line);
      }
      if (found.length >= batch || (found.length > 0 && !query.follow)) continue;
      if (!query.follow) return;
      await changed.promise;
      // Every look opens the files of all instances that wrote: what came meanwhile is worth one, not each piece of it.
      await pause(gather);
    }
  } finally {
    end();
    signal.removeEventListener("abort", wake);
  }
}

function byInstance(segments: readonly StoredSegment[]): Map<string, StoredSegment[]> {
  const grouped = new Map<string, StoredSegment[]>();
  for (const segment of segments) grouped.set(segment.instance, [...(grouped.get(segment.instance) ?? []), segment]);
  return grouped;
}

/**
 * Stamps that a look is for: greater than `after`, and no newer than what there was when it began. Files are read one after the other while lines go on
 * coming: a line of a file that was read first would be passed over for good, should a later one of another file be given.
 */
interface Span {
  readonly after: number;
  readonly upTo: number;
}

/** The next lines in the order of their stamps, about `batch` of each instance; empty when there is none yet. */
async function nextOf(store: ComponentStore, instance: string | undefined, { after, upTo }: Span, places: Places): Promise<Found[]> {
  const found: Found[] = [];
  let horizon = upTo;
  for (const [id, segments] of byInstance(store.segments(instance))) {
    let count = 0;
    for (const segment of segments) {
      if (segment.last <= after) continue;
      for (const line of await linesAfter(segment, after, batch - count, places)) {
        found.push({ instance: id, line });
        count += 1;
      }
      // There may be more of this instance than was read: nothing newer of the others may go first.
      if (count >= batch) {
        horizon = Math.min(horizon, found.at(-1)?.line.t ?? horizon);
        break;
      }
    }
  }
  return found.filter(({ line }) => line.t <= horizon).sort((a, b) => a.line.t - b.line.t);
}

async function linesAfter(segment: StoredSegment, after: number, most: number, places: Places): Promise<StoredLine[]> {
  const found: StoredLine[] = [];
  let offset = places.get(segment.file) ?? 0;
  let settled = offset;
  await withFile(segment.file, async (read) => {
    for (;;) {
      const block = await read(offset, blockBytes);
      const end = block.lastIndexOf(0x0a);
      if (end < 0) {
        if (block.length < blockBytes) return;
        // A single line larger than a block: read it whole.
        const whole = await read(offset, 64 * blockBytes);
        if (whole.indexOf(0x0a) < 0) return;
      }
      const text = end < 0 ? await read(offset, 64 * blockBytes) : block.subarray(0, end + 1);
      let from = 0;
      for (let to = text.indexOf(0x0a); to >= 0; to = text.indexOf(0x0a, from)) {
        const line = parseLine(text.toString("utf8", from, to));
        from = to + 1;
        if (line === undefined) continue;
        if (line.t <= after) settled = offset + from;
        else found.push(line);
        if (found.length >= most) return;
      }
      offset += from;
    }
  });
  places.set(segment.file, settled);
  return found;
}

/** The last `count` lines over all instances, in order. */
async function lastOf(store: ComponentStore, query: Query, { after, upTo }: Span, count: number): Promise<Found[]> {
  const found: Found[] = [];
  if (count === 0) return found;
  for (const [instance, segments] of byInstance(store.segments(query.instance))) {
    const lines: StoredLine[] = [];
    for (const segment of segments.toReversed()) {
      if (segment.last <= after || lines.length >= count) break;
      lines.unshift(...(await lastLinesOf(segment, count - lines.length, upTo)));
    }
    found.push(...lines.filter((line) => line.t > after).map((line) => ({ instance, line })));
  }
  return found.sort((a, b) => a.line.t - b.line.t).slice(-count);
}

async function lastLinesOf(segment: StoredSegment, count: number, upTo: number): Promise<StoredLine[]> {
  let lines: StoredLine[] = [];
  await withFile(segment.file, async (read) => {
    for (let size = blockBytes; ; size *= 4) {
      const from = Math.max(0, segment.bytes - size);
      const text = (await read(from, segment.bytes - from)).toString("utf8");
      lines = (from === 0 ? text : text.slice(text.indexOf("\n") + 1))
        .split("\n")
        .map(parseLine)
        .filter((line) => line !== undefined)
        .filter((line) => line.t <= upTo);
      if (from === 0 || lines.length >= count) return;
    }
  });
  return lines.slice(-count);
}

async function withFile(file: string, act: (read: (offset: number, length: number) => Promise<Buffer>) => Promise<void>): Promise<void> {
  let handle;
  try {
    handle = await open(file);
  } catch {
    // Removed since it was listed, for the bound's sake; the reader is told by the note of what was dropped.
    return;
  }
  try {
    await act(async (offset, length) => {
      const buffer = Buffer.allocUnsafe(length);
      const { bytesRead } = await handle.read(buffer, 0, length, offset);
      return buffer.subarray(0, bytesRead);
    });
  } finally {
    await handle.close();
  }
}
