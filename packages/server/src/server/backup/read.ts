// Reads a backup from its beginning to its end and believes nothing that it has not checked: sizes, hashes, completeness.
// It changes nothing; what the parts are for is the caller's.
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { Transform, type Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Value } from "typebox/value";
import tar from "tar-stream";
import { BackupRefused, End, damaged, parts, readAbout, readManifest, type About, type Manifest } from "./format.ts";

export interface BackupReader {
  /** Lines of a table's rows, in batches. */
  readonly onRows?: (table: string, lines: readonly string[]) => Promise<void>;
  readonly onBlob?: (digest: string, size: number, bytes: Readable) => Promise<void>;
}

export interface ReadBackup {
  readonly about: About;
  readonly manifest: Manifest;
  /** The sealed keys as they are in the file, and the config. */ readonly keys: string | undefined;
  readonly config: string | undefined;
  readonly bytes: number;
}

interface Seen {
  readonly size: number;
  readonly sha256: string;
}

/** Throws `BackupRefused` for a file that is not a backup, is damaged, cut short or of a newer format; then handlers may have been called already. */
export async function readBackup(file: string, reader: BackupReader, signal: AbortSignal): Promise<ReadBackup> {
  const bytes = sizeOf(file);
  const seen = new Map<string, Seen>();
  const small = new Map<string, string>();
  let about: About | undefined;
  const extract = tar.extract();
  const source = createReadStream(file, { highWaterMark: 1 << 20 });
  const feeding = pipeline(source, extract, { signal });
  // Told below, by what could not be read.
  feeding.catch(() => undefined);
  try {
    for await (const entry of extract) {
      const { name, size = 0 } = entry.header;
      if (seen.has(name)) throw damaged(file, `${name} is in it twice`);
      const counted = counting();
      const content = entry.pipe(counted.stream);
      entry.on("error", (error) => {
        counted.stream.destroy(error);
      });
      if (about === undefined) {
        if (name !== parts.about) throw new BackupRefused(`${file} is not a backup of Berth.`, "Give the file that `berth backup` wrote.");
        const said = await text(content);
        about = readAbout(file, said);
      } else if (name.startsWith(parts.tables))
        await readRows(content, name.slice(parts.tables.length).replace(/\.jsonl\.gz$/, ""), reader.onRows, file);
      else if (name.startsWith(parts.blobs)) await (reader.onBlob?.(digestOf(name), size, content) ?? drain(content));
      else small.set(name, await text(content));
      seen.set(name, counted.result());
    }
    await feeding;
  } catch (error) {
    source.destroy();
    if (error instanceof BackupRefused) throw error;
    signal.throwIfAborted();
    if (isFormatError(error))
      throw about === undefined
        ? new BackupRefused(`${file} is not a backup of Berth.`, "Give the file that `berth backup` wrote.", { cause: error })
        : damaged(file, "it cannot be read to its end", error);
    throw error;
  }
  if (about === undefined) throw new BackupRefused(`${file} is not a backup of Berth.`, "Give the file that `berth backup` wrote.");
  return { about, manifest: checkWhole(file, seen, small), keys: small.get(parts.keys), config: small.get(parts.config), bytes };
}

function sizeOf(file: string): number {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new BackupRefused(`There is no file ${file}.`, "Give the file that `berth backup` wrote.");
  return stat.size;
}

/** Every part that the list names is there as it names it, and nothing else. */
function checkWhole(file: string, seen: ReadonlyMap<string, Seen>, small: ReadonlyMap<string, string>): Manifest {
  const [manifestText, endText] = [small.get(parts.manifest), small.get(parts.end)];
  if (manifestText === undefined || endText === undefined) throw damaged(file, "it ends too early");
  const end = JSON.parse(endText) as unknown;
  if (!Value.Check(End, end) || end.manifestSha256 !== seen.get(parts.manifest)?.sha256)
    throw damaged(file, "its list of parts was changed");
  const manifest = readManifest(file, manifestText);
  for (const [name, wanted] of Object.entries(manifest.files)) {
    const found = seen.get(name);
    if (found === undefined) throw damaged(file, `${name} is missing`);
    if (found.size !== wanted.size || found.sha256 !== wanted.sha256) throw damaged(file, `${name} was changed`);
  }
  const extra = [...seen.keys()].find((name) => manifest.files[name] === undefined && name !== parts.manifest && name !== parts.end);
  if (extra !== undefined) throw damaged(file, `${extra} does not belong to it`);
  return manifest;
}

async function readRows(content: Readable, table: string, onRows: BackupReader["onRows"], file: string): Promise<void> {
  if (onRows === undefined) return drain(content);
  let held = "";
  let lines: string[] = [];
  let bytes = 0;
  const plain = createGunzip();
  const feeding = pipeline(content, plain);
  feeding.catch(() => undefined);
  plain.setEncoding("utf8");
  for await (const chunk of plain as AsyncIterable<string>) {
    const found = (held + chunk).split("\n");
    held = found.pop() ?? "";
    lines.push(...found);
    bytes += chunk.length;
    if (lines.length < 1_000 && bytes < 4_000_000) continue;
    await onRows(table, lines);
    lines = [];
    bytes = 0;
  }
  await feeding;
  if (held !== "") throw damaged(file, `the rows of ${table} end too early`);
  await onRows(table, lines);
}

async function drain(content: Readable): Promise<void> {
  for await (const _chunk of content) {
    /* Only its hash is of interest. */
  }
}

function digestOf(name: string): string {
  return `sha256:${name.slice(parts.blobs.length)}`;
}

function counting(): { stream: Transform; result(): Seen } {
  const hash = createHash("sha256");
  let size = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(undefined, chunk);
    },
  });
  return { stream, result: () => ({ size, sha256: hash.digest("hex") }) };
}

/** What tar-stream, zlib and JSON say of bytes that are not theirs. */
function isFormatError(error: unknown): boolean {
  return (
    error instanceof SyntaxError ||
    (error instanceof Error &&
      /Invalid tar header|Unexpected end|incorrect header check|invalid (stored|block|distance|code|literal|data)|unexpected end of file|incorrect data check|Premature close/i.test(
        `${error.message} ${String((error as { code?: unknown }).code)}`,
      ))
  );
}
