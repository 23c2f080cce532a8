// The log files of one component: appends lines, begins new files, and removes the oldest when there is too much. It remembers what it removed, so that a
// reader who was not there yet is told. One instance that floods takes room from itself first.
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { LogLine } from "../../engines/engine.ts";
import { droppedNote, parseLine, parseSegment, segmentName, type Segment } from "./files.ts";

export interface StoredSegment extends Segment {
  bytes: number;
  last: number;
}

export interface StoreLimits {
  readonly maxFileBytes: number;
  readonly maxFiles: number;
}

/** Unique, rising numbers: microseconds of the wall clock, or one more than the last. They order lines over all instances and survive a clock that is set back. */
export class Stamps {
  readonly #now: () => number;
  #last = 0;
  constructor(now: () => number) {
    this.#now = now;
  }
  next(): number {
    return (this.#last = Math.max(Math.floor(this.#now() * 1000), this.#last + 1));
  }
  seen(stamp: number): void {
    this.#last = Math.max(this.#last, stamp);
  }
  get last(): number {
    return this.#last;
  }
}

/** Files of a component in all, whatever their size: thousands of short-lived instances must not fill a folder. */
const mostSegments = 400;
const smallestFile = 16 * 1024;

export class ComponentStore {
  readonly dir: string;
  readonly #limits: StoreLimits;
  readonly #stamps: Stamps;
  readonly #segments: StoredSegment[] = [];
  readonly #active = new Map<string, { readonly segment: StoredSegment; readonly handle: number }>();
  readonly #live = new Set<string>();
  readonly #dropped = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  /** What could not be written of an instance's lines since the last one that could. */
  readonly #lost = new Map<string, { readonly lines: number; readonly why: string }>();
  readonly #onTrouble: (error: unknown) => void;
  #bytes = 0;

  /** `onTrouble`: told of what the disk refuses, once until it takes lines again. */
  constructor(dir: string, limits: StoreLimits, stamps: Stamps, onTrouble: (error: unknown) => void = () => undefined) {
    this.dir = dir;
    this.#limits = limits;
    this.#stamps = stamps;
    this.#onTrouble = onTrouble;
    this.#load();
  }

  #load(): void {
    let names: string[];
    try {
      names = readdirSync(this.dir);
    } catch {
      // Nothing was written for this component yet.
      return;
    }
    for (const name of names) {
      const segment = parseSegment(this.dir, name);
      if (segment === undefined) continue;
      const bytes = statSync(segment.file).size;
      const last = lastStamp(segment.file, bytes) ?? segment.first;
      this.#stamps.seen(last);
      this.#segments.push({ ...segment, bytes, last });
      this.#bytes += bytes;
    }
    this.#segments.sort((a, b) => a.first - b.first);
    this.#loadDropped();
  }

  #loadDropped(): void {
    try {
      for (const [instance, stamp] of Object.entries(
        JSON.parse(readFileSync(join(this.dir, droppedNote), "utf8")) as Record<string, number>,
      ))
        this.#dropped.set(instance, stamp);
    } catch {
      // Nothing was dropped yet, or a crash cut the note short: then a reader is not told of lines that are gone.
    }
  }

  /** Oldest first. */
  segments(instance?: string): readonly StoredSegment[] {
    return instance === undefined ? this.#segments : this.#segments.filter((one) => one.instance === instance);
  }

  /** The newest removed line after this stamp; undefined when nothing after it is missing. */
  droppedAfter(stamp: number, instance?: string): number | undefined {
    const dropped = instance === undefined ? Math.max(0, ...this.#dropped.values()) : (this.#dropped.get(instance) ?? 0);
    return dropped > stamp ? dropped : undefined;
  }

  /** Its files are the last to go. */
  begin(instance: string): void {
    this.#live.add(instance);
  }

  end(instance: string): void {
    this.#live.delete(instance);
    this.#tellLost(instance);
    this.#retire(instance);
  }

  /** Throws when the disk does not take them; then none of them is there. */
  append(instance: string, stream: LogLine["stream"], lines: readonly string[]): void {
    if (lines.length === 0) return;
    const lost = this.#lost.get(instance);
    this.#write(instance, [
      ...(lost === undefined ? [] : [{ s: "berth" as const, m: missingNote(lost) }]),
      ...lines.map((m) => ({ s: stream, m })),
    ]);
    this.#lost.delete(instance);
    this.#bound();
    for (const listener of this.#listeners) listener();
  }

  /** As `append`, for lines that nobody else has and whose writer must not be held up: those that the disk does not take are lost, and readers are told how many. */
  appendOrLose(instance: string, stream: LogLine["stream"], lines: readonly string[]): void {
    try {
      this.append(instance, stream, lines);
    } catch (error) {
      const lost = this.#lost.get(instance);
      this.#lost.set(instance, { lines: (lost?.lines ?? 0) + lines.length, why: error instanceof Error ? error.message : String(error) });
      if (lost === undefined) this.#onTrouble(error);
    }
  }

  /** At its end there is no later line to tell it with. */
  #tellLost(instance: string): void {
    const lost = this.#lost.get(instance);
    if (lost === undefined) return;
    this.#write(instance, [{ s: "berth", m: missingNote(lost) }]);
    this.#lost.delete(instance);
    for (const listener of this.#listeners) listener();
  }

  #write(instance: string, lines: readonly { readonly s: LogLine["stream"]; readonly m: string }[]): void {
    const stamped = lines.map((line) => ({ t: this.#stamps.next(), ...line }));
    const data = Buffer.from(stamped.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const { segment, handle } = this.#active.get(instance) ?? this.#open(instance, stamped[0]?.t ?? this.#stamps.next());
    try {
      for (let done = 0; done < data.length;) done += writeSync(handle, data, done);
    } catch (error) {
      // What comes next must not be the end of half a line.
      ftruncateSync(handle, segment.bytes);
      throw error;
    }
    segment.bytes += data.length;
    segment.last = stamped.at(-1)?.t ?? segment.last;
    this.#bytes += data.length;
    if (segment.bytes >= this.#fileLimit()) this.#retire(instance);
  }

  /** Calls back after every append; returns the function that ends it. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    for (const instance of [...this.#active.keys()]) this.#retire(instance);
  }

  /** Many instances share the room: each file is smaller then. */
  #fileLimit(): number {
    const { maxFileBytes, maxFiles } = this.#limits;
    return Math.max(
      Math.min(smallestFile, maxFileBytes),
      Math.min(maxFileBytes, Math.floor((maxFileBytes * maxFiles) / (2 * Math.max(1, this.#live.size)))),
    );
  }

  #open(instance: string, first: number): { readonly segment: StoredSegment; readonly handle: number } {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    const file = join(this.dir, segmentName(instance, first));
    const segment = { instance, first, file, bytes: 0, last: first };
    const active = { segment, handle: openSync(file, "a", 0o600) };
    this.#segments.push(segment);
    this.#active.set(instance, active);
    return active;
  }

  #retire(instance: string): void {
    const active = this.#active.get(instance);
    if (active === undefined) return;
    this.#active.delete(instance);
    closeSync(active.handle);
  }

  #bound(): void {
    const most = this.#limits.maxFileBytes * this.#limits.maxFiles;
    while (this.#bytes > most || this.#segments.length > mostSegments) {
      const victim = this.#victim();
      if (victim === undefined) return;
      if (this.#active.get(victim.instance)?.segment === victim) this.#retire(victim.instance);
      this.#segments.splice(this.#segments.indexOf(victim), 1);
      this.#bytes -= victim.bytes;
      this.#dropped.set(victim.instance, Math.max(this.#dropped.get(victim.instance) ?? 0, victim.last));
      this.#noteDropped();
      rmSync(victim.file, { force: true });
    }
  }

  #noteDropped(): void {
    try {
      writeFileSync(join(this.dir, droppedNote), JSON.stringify(Object.fromEntries([...this.#dropped].slice(-200))), { mode: 0o600 });
    } catch (error) {
      // It is known here all the same, and what it is about is removed to make room.
      this.#onTrouble(error);
    }
  }

  /** The oldest file of an instance that is gone; else the oldest of the instance that has most. */
  #victim(): StoredSegment | undefined {
    const departed = this.#segments.find((one) => !this.#live.has(one.instance));
    if (departed !== undefined) return departed;
    const sizes = new Map<string, number>();
    for (const one of this.#segments) sizes.set(one.instance, (sizes.get(one.instance) ?? 0) + one.bytes);
    const [largest] = [...sizes].sort((a, b) => b[1] - a[1])[0] ?? [];
    return this.#segments.find((one) => one.instance === largest);
  }
}

const missingNote = ({ lines, why }: { readonly lines: number; readonly why: string }): string =>
  `${lines === 1 ? "A line is" : `${String(lines)} lines are`} missing here: not written (${why}).`;

/** The stamp of a file's last whole line; undefined when there is none near its end. */
function lastStamp(file: string, bytes: number): number | undefined {
  const buffer = Buffer.alloc(Math.min(bytes, 512 * 1024));
  const handle = openSync(file, "r");
  try {
    readSync(handle, buffer, 0, buffer.length, bytes - buffer.length);
  } finally {
    closeSync(handle);
  }
  return buffer
    .toString("utf8")
    .split("\n")
    .map(parseLine)
    .findLast((line) => line !== undefined)?.t;
}
