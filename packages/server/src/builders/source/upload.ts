// Takes an archive from outside, checks every entry, and stores it in one canonical form whose digest depends on its content alone.
// Nothing is unpacked, and nothing is left behind when it is refused.
import { randomUUID } from "node:crypto";
import { PassThrough, Readable, finished } from "node:stream";
import { ArchiveTree, checkEntry, refused, sourceLimits, type ArchiveItem, type ArchiveLimits } from "../../core/archive.ts";
import { BerthError } from "../../core/errors.ts";
import type { BlobWriter } from "../builder.ts";
import { writeTar, type TarItem } from "../tar.ts";
import { DamagedArchive, readTar } from "../untar.ts";
import { makeReceiving } from "./receiving.ts";
import { Spool } from "./spool.ts";

export interface ReceiveDeps {
  readonly blobs: BlobWriter;
  /** Folder for the contents of large archives while they are sorted (receiving.ts). */
  readonly tmpDir: string;
  readonly limits?: ArchiveLimits;
}

/** `digest` and `size` are those of the stored canonical tar; `files` counts files and links, `bytes` their contents. */
export interface StoredArchive {
  readonly digest: string;
  readonly size: number;
  readonly files: number;
  readonly bytes: number;
}

/**
 * Stores the tar (plain, gzip or zstd) of a folder. Throws `archive_refused`, `client_closed` when the sender went away, or the signal's reason.
 * The rest of what is refused is read and left: a sender whose connection breaks while it sends never learns why.
 */
export async function receiveUpload(stream: Readable, deps: ReceiveDeps, signal: AbortSignal): Promise<StoredArchive> {
  const body = new PassThrough();
  const forget = finished(stream, { writable: false }, (error) => {
    if (error) body.destroy(error);
  });
  stream.pipe(body);
  try {
    return await storeArchive(body, deps, signal);
  } catch (error) {
    if (!signal.aborted && isDisconnect(error)) throw new BerthError("client_closed", {}, { cause: error });
    throw error;
  } finally {
    forget();
    stream.unpipe(body);
    stream.on("error", () => undefined);
    if (signal.aborted) stream.destroy();
    else stream.resume();
  }
}

function isDisconnect(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    (error.code === "ECONNRESET" || error.code === "ERR_STREAM_PREMATURE_CLOSE" || error.code === "ABORT_ERR")
  );
}

/** As `receiveUpload`, for an archive that Berth itself asked for: the stream's own errors are passed on. */
export async function storeArchive(stream: Readable, deps: ReceiveDeps, signal: AbortSignal): Promise<StoredArchive> {
  const limits = deps.limits ?? sourceLimits;
  // The sender may go away before the reading starts; whoever reads meets the error then.
  stream.on("error", () => undefined);
  await makeReceiving(deps.tmpDir);
  const spool = new Spool(deps.tmpDir, `spool-${randomUUID()}`);
  try {
    const { tree, offsets } = await collect(stream, spool, limits, signal);
    const items = tree.finish();
    spool.seal();
    const stored = await deps.blobs.put(Readable.from(writeTar(tarItems(items, offsets, spool)), { objectMode: false }), {}, signal);
    return { ...stored, files: tree.files, bytes: tree.bytes };
  } catch (error) {
    throw error instanceof DamagedArchive ? refused(error.reason, "Send the folder again, as a tar archive (plain, gzip or zstd).") : error;
  } finally {
    stream.destroy();
    await spool.dispose();
  }
}

interface Collected {
  readonly tree: ArchiveTree;
  readonly offsets: ReadonlyMap<string, number>;
}

async function collect(stream: Readable, spool: Spool, limits: ArchiveLimits, signal: AbortSignal): Promise<Collected> {
  const tree = new ArchiveTree(limits);
  const offsets = new Map<string, number>();
  for await (const { raw, content } of readTar(stream, { signal, onProgress: watchSizes(limits) })) {
    const item = checkEntry(raw, limits);
    tree.add(item);
    if (item.type !== "file") continue;
    offsets.set(item.path, spool.size);
    for await (const data of content) await spool.append(data);
  }
  return { tree, offsets };
}

/** Headers, padding and a bomb's zeros count too, so that a small upload cannot keep the server busy. */
function watchSizes(limits: ArchiveLimits): (received: number, unpacked: number) => void {
  const most = limits.totalBytes + limits.files * 2048;
  return (received, unpacked) => {
    if (unpacked > most)
      throw refused(
        `it is larger than ${String(limits.totalBytes)} bytes`,
        "Leave dependencies and build results out, by .berthignore or .gitignore.",
      );
    if (unpacked > limits.ratioAfter && unpacked > received * limits.ratio)
      throw refused(
        `it unpacks to more than ${String(limits.ratio)} times its size`,
        "Send it less compressed, or without the files that hold almost nothing.",
      );
  };
}

function* tarItems(items: readonly ArchiveItem[], offsets: ReadonlyMap<string, number>, spool: Spool): Generator<TarItem> {
  const byPath = new Map(items.map((item) => [item.path, item]));
  for (const item of items) {
    if (item.type === "directory" || item.type === "symlink") {
      yield item;
      continue;
    }
    const original = item.type === "copy" ? byPath.get(item.of) : item;
    if (original?.type !== "file") throw new Error(`${item.path} copies nothing`);
    yield {
      type: "file",
      path: item.path,
      executable: original.executable,
      size: original.size,
      content: spool.read(offsets.get(original.path) ?? 0, original.size),
    };
  }
}
