// Build logs: JSON lines in a file while the build runs, where any process on this machine can follow them; the blob store keeps them afterwards.
import { createReadStream } from "node:fs";
import { appendFile, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { BlobStore } from "../../blobs/store.ts";

export interface StoredLine {
  readonly at: string;
  readonly stream: "stdout" | "stderr" | "berth";
  readonly step?: string;
  readonly text: string;
}
export interface FollowedLine extends StoredLine {
  readonly cursor: string;
}

export interface BuildLogs {
  append(build: string, lines: readonly StoredLine[]): Promise<void>;
  /** Empties the log: a build that starts again after a crash tells its story from the start. */
  reset(build: string): Promise<void>;
  /** Stores the finished log as a blob, and answers its digest. Who follows the file goes on doing so until it is removed. */
  keep(build: string): Promise<string | undefined>;
  /** Forgets the file of a log, as soon as the blob store has it or its build is gone. Absent = success. */
  remove(build: string): Promise<void>;
  /** Builds whose log is still a file, with its last change. */
  files(): Promise<readonly { readonly build: string; readonly changedAt: Date }[]>;
  /** All lines after `after` (a line number); goes on until `ended` says so when following. */
  read(
    build: string,
    options: { readonly digest: string | null; readonly after: number; readonly follow: boolean; readonly ended: () => Promise<boolean> },
    signal: AbortSignal,
  ): AsyncIterable<FollowedLine>;
}

/** ms between looks at a log that is being written. */
const look = 100;

export function createBuildLogs(folder: string, blobs: BlobStore): BuildLogs {
  const fileOf = (build: string): string => join(folder, `${build}.jsonl`);
  return {
    async append(build, lines) {
      if (lines.length === 0) return;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await appendFile(fileOf(build), lines.map((line) => `${JSON.stringify(line)}\n`).join(""), { mode: 0o600 });
    },
    async reset(build) {
      await rm(fileOf(build), { force: true });
    },
    async keep(build) {
      const size = await sizeOf(fileOf(build));
      if (size === undefined) return undefined;
      const { digest } = await blobs.put(createReadStream(fileOf(build)));
      return digest;
    },
    async remove(build) {
      await rm(fileOf(build), { force: true });
    },
    async files() {
      const names = (
        await readdir(folder).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT") return [];
          throw error;
        })
      ).filter((name) => /^[0-9a-f-]{36}\.jsonl$/.test(name));
      const found = await Promise.all(
        names.map(async (name) => ({
          build: name.slice(0, -".jsonl".length),
          stat: await stat(join(folder, name)).catch(() => undefined),
        })),
      );
      return found.flatMap((one) => (one.stat === undefined ? [] : [{ build: one.build, changedAt: one.stat.mtime }]));
    },
    async *read(build, options, signal) {
      let number = 0;
      if (options.digest !== null) {
        const input = await blobs.open(options.digest, signal);
        const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
        // readline passes on what the input fails of after the reader has left, too.
        lines.on("error", () => undefined);
        try {
          for await (const text of lines) {
            number += 1;
            if (number > options.after) yield parse(text, number);
          }
        } finally {
          input.destroy();
        }
        return;
      }
      let offset = 0;
      let rest = "";
      for (;;) {
        signal.throwIfAborted();
        // Asked before reading, so that what was written until the end is still read.
        const ended = options.follow ? await options.ended() : true;
        const chunk = await readFrom(fileOf(build), offset);
        if (chunk !== undefined && chunk.length > 0) {
          offset += chunk.length;
          const lines = (rest + chunk.toString("utf8")).split("\n");
          rest = lines.pop() ?? "";
          for (const text of lines) {
            number += 1;
            if (number > options.after) yield parse(text, number);
          }
          continue;
        }
        if (ended) return;
        await delay(look, undefined, { signal });
      }
    },
  };
}

function parse(text: string, number: number): FollowedLine {
  return { ...(JSON.parse(text) as StoredLine), cursor: String(number) };
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    const handle = await open(file, "r");
    try {
      return (await handle.stat()).size;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** What lies behind `offset`, up to the last whole UTF-8 line of 1 MiB; undefined when there is no file yet. */
async function readFrom(file: string, offset: number): Promise<Buffer | undefined> {
  let handle;
  try {
    handle = await open(file, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const buffer = Buffer.alloc(1 << 20);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
    const last = buffer.subarray(0, bytesRead).lastIndexOf(10);
    return buffer.subarray(0, last + 1);
  } finally {
    await handle.close();
  }
}
