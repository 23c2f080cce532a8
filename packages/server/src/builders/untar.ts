// Reads tar archives, plain or compressed, one entry at a time. Judges nothing but the form: what an entry may be is decided by its caller.
import { Readable, Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { extract, type Header } from "tar-stream";
import type { RawEntry } from "../core/archive.ts";

const block = 512;

export interface TarEntry {
  readonly raw: RawEntry;
  readonly content: AsyncIterable<Buffer>;
}

/** Not an archive, or a damaged or incomplete one; `reason` is a phrase for people. */
export class DamagedArchive extends Error {
  readonly reason: string;
  constructor(reason: string, options?: { cause: unknown }) {
    super(reason, options);
    this.name = "DamagedArchive";
    this.reason = reason;
  }
}

export interface TarReading {
  /** Called with what was read so far, compressed and plain; throws to end the reading. */
  readonly onProgress?: (received: number, unpacked: number) => void;
  readonly signal: AbortSignal;
}

/**
 * The entries of a tar that may be gzip- or zstd-compressed. Each content has to be read (or left) before the next entry is asked for.
 * Throws DamagedArchive, the stream's own error, what `onProgress` threw, or the signal's reason. The stream is destroyed in the end, whatever happens.
 */
export async function* readTar(stream: Readable, reading: TarReading): AsyncGenerator<TarEntry> {
  const { signal } = reading;
  signal.throwIfAborted();
  let received = 0;
  let unpacked = 0;
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
  };
  let end = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      unpacked += chunk.length;
      try {
        reading.onProgress?.(received, unpacked);
      } catch (error) {
        fail(error);
        done(new Error("refused"));
        return;
      }
      done(null, chunk);
    },
  });
  const parser = extract();
  stream.once("error", fail);
  const feeding = pipeline(
    Readable.from(
      decompressed(stream, (bytes) => {
        received += bytes;
      }),
      { objectMode: false },
    ),
    meter,
    parser,
    { signal },
  ).catch((error: unknown) => {
    fail(signal.aborted ? signal.reason : error);
  });
  try {
    for await (const entry of parser) {
      const { header } = entry;
      end = endOf(header);
      const content = contentOf(entry as AsyncIterable<Buffer>, (error) => understood(failure ?? error, signal));
      yield {
        raw: {
          name: header.name,
          type: header.type ?? undefined,
          size: header.size ?? 0,
          mode: header.mode ?? 0,
          linkname: header.linkname ?? undefined,
          pax: (header.pax ?? undefined) as Record<string, string> | undefined,
        },
        content,
      };
      entry.resume();
    }
  } catch (error) {
    await feeding;
    throw understood(failure ?? error, signal);
  } finally {
    parser.destroy();
    stream.destroy();
    await feeding;
  }
  if (failure !== undefined) throw understood(failure, signal);
  // A tar ends with blocks of zeros; without them something may be missing, though every entry so far is whole.
  if (unpacked < end + block) throw new DamagedArchive("it is cut short");
}

/** Whoever reads a content meets the same errors as whoever asks for the next entry. */
async function* contentOf(entry: AsyncIterable<Buffer>, understand: (error: unknown) => unknown): AsyncGenerator<Buffer> {
  try {
    yield* entry;
  } catch (error) {
    throw understand(error);
  }
}

function understood(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (!(error instanceof Error)) return error;
  const code = "code" in error ? String(error.code) : "";
  if (/^(Z_|ZSTD_)/.test(code) || /^ERR_ZLIB|^ERR_ZSTD/.test(code))
    return new DamagedArchive("its compressed data are damaged", { cause: error });
  if (/Unexpected end of data|Writable stream closed prematurely/.test(error.message))
    return new DamagedArchive("it is cut short", { cause: error });
  if (/[Ii]nvalid (tar )?header|Header exceeds max size/.test(error.message))
    return new DamagedArchive("it is not a tar archive, or a damaged one", { cause: error });
  return error;
}

/** Where an entry ends, padding included; tar-stream knows the offset of its content, though its types do not say so. */
function endOf(header: Header): number {
  const offset = "byteOffset" in header && typeof header.byteOffset === "number" ? header.byteOffset : 0;
  const size = header.type === "directory" ? 0 : (header.size ?? 0);
  return offset + Math.ceil(size / block) * block;
}

async function* decompressed(stream: Readable, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  const chunks = counted(stream, onBytes);
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 4) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  if (head.length === 0) throw new DamagedArchive("it is empty");
  const rest = Readable.from(joined(head, chunks), { objectMode: false });
  const inflate = inflaterFor(head);
  if (inflate === undefined) {
    yield* rest as AsyncIterable<Buffer>;
    return;
  }
  const inflating = pipeline(rest, inflate);
  // Its error reaches the reader below through `inflate` itself; it is only kept from being reported as unhandled.
  inflating.catch(() => undefined);
  yield* inflate as AsyncIterable<Buffer>;
  await inflating;
}

function inflaterFor(head: Buffer): Transform | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return createGunzip({ chunkSize: 128 * 1024 });
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return createZstdDecompress({ chunkSize: 128 * 1024 });
  if (head[0] === 0x50 && head[1] === 0x4b) throw new DamagedArchive("it is a zip file; send a tar");
  return undefined;
}

async function* counted(stream: Readable, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    const data = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    onBytes(data.length);
    yield data;
  }
}

async function* joined(head: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield head;
  yield* rest;
}
