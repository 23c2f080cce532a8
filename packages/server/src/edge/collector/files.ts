// The log files' format: one folder per component, segments per instance named by their first line's stamp, one JSON object a line.
// A stamp (microseconds, unique and rising over the whole collector) orders all lines of all instances, and is the cursor that readers resume from.
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { LogLine, Ref } from "../../engines/engine.ts";

export interface StoredLine {
  readonly t: number;
  readonly s: LogLine["stream"];
  readonly m: string;
}
export interface Segment {
  readonly instance: string;
  readonly first: number;
  readonly file: string;
}

/** Which lines were dropped, in a component's folder. */
export const droppedNote = "dropped.json";

export const componentDir = (logsDir: string, ref: Ref): string => join(logsDir, ref.stack, ref.component);
export const segmentName = (instance: string, first: number): string => `${instance}.${first.toString(36)}.log`;

export function parseSegment(dir: string, name: string): Segment | undefined {
  const match = /^([a-z0-9-]+)\.([0-9a-z]+)\.log$/.exec(name);
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { instance: match[1], first: Number.parseInt(match[2], 36), file: join(dir, name) };
}

/** All segments of a component (or of one of its instances), oldest first. */
export async function segmentsOf(dir: string, instance?: string): Promise<Segment[]> {
  let names: string[];
  try {
    names = await readdir(dir);
  } catch {
    // Nothing was ever written for it.
    return [];
  }
  return names
    .map((name) => parseSegment(dir, name))
    .filter((one) => one !== undefined)
    .filter((one) => instance === undefined || one.instance === instance)
    .sort((a, b) => a.first - b.first);
}

/** Removes a stack's log files, and its folders when nothing else is in them: a stack may be called as a folder of Berth's own. */
export function removeLogs(logsDir: string, stack: string): void {
  const top = join(logsDir, stack);
  if (!existsSync(top)) return;
  for (const entry of readdirSync(top, { withFileTypes: true })) if (entry.isDirectory()) removeSegments(join(top, entry.name));
  removeEmpty(top);
}

/** Removes a component's log files, and its stack's folder with the last one. */
export function removeComponentLogs(logsDir: string, ref: Ref): void {
  const dir = componentDir(logsDir, ref);
  if (!existsSync(dir)) return;
  removeSegments(dir);
  removeEmpty(join(logsDir, ref.stack));
}

function removeSegments(dir: string): void {
  for (const name of readdirSync(dir))
    if (name === droppedNote || parseSegment(dir, name) !== undefined) rmSync(join(dir, name), { force: true });
  removeEmpty(dir);
}

function removeEmpty(dir: string): void {
  if (readdirSync(dir).length === 0) rmdirSync(dir);
}

/** A stored line, or undefined for what a crash left half written. */
export function parseLine(text: string): StoredLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("t" in value) || !("s" in value) || !("m" in value)) return undefined;
    const { t, s, m } = value;
    return typeof t === "number" && typeof m === "string" && (s === "stdout" || s === "stderr" || s === "berth") ? { t, s, m } : undefined;
  } catch {
    // Half a line, from a power cut.
    return undefined;
  }
}

export const toLogLine = (instance: string, line: StoredLine): LogLine => ({
  at: new Date(line.t / 1000).toISOString(),
  instance,
  stream: line.s,
  text: line.m,
  cursor: line.t.toString(36),
});

/** The stamp of a cursor; undefined when it is none. */
export function stampOf(cursor: string): number | undefined {
  const stamp = /^[0-9a-z]{1,11}$/.test(cursor) ? Number.parseInt(cursor, 36) : Number.NaN;
  return Number.isSafeInteger(stamp) ? stamp : undefined;
}

/** The last `count` lines of one instance since an instant (unix ms), read from the end of its newest segments. */
export async function lastLines(logsDir: string, ref: Ref, instance: string, count: number, since: number): Promise<LogLine[]> {
  const segments = await segmentsOf(componentDir(logsDir, ref), instance);
  const found: LogLine[] = [];
  for (const segment of segments.toReversed().slice(0, 2)) {
    const lines = (await tailText(segment.file, 256 * 1024))
      .split("\n")
      .map(parseLine)
      .filter((line) => line !== undefined && line.t >= since * 1000 && line.s !== "berth")
      .map((line) => toLogLine(instance, line as StoredLine));
    found.unshift(...lines);
    if (found.length >= count) break;
  }
  return found.slice(-count);
}

async function tailText(file: string, most: number): Promise<string> {
  let handle;
  try {
    handle = await open(file);
  } catch {
    // Rotated away between listing and opening.
    return "";
  }
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.min(most, size));
    await handle.read(buffer, 0, buffer.length, size - buffer.length);
    const text = buffer.toString("utf8");
    return size > most ? text.slice(text.indexOf("\n") + 1) : text;
  } finally {
    await handle.close();
  }
}
