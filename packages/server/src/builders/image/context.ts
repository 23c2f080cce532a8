// The context of an image build: the part of a stored source that the Dockerfile may see, as a stream. Nothing is unpacked on the way, so that
// no file of a hostile source ever lies on this machine's disk.
import { Readable } from "node:stream";
import { entryPath } from "../../core/archive.ts";
import type { Ignored } from "../../core/image/ignore.ts";
import type { BlobReader } from "../builder.ts";
import { writeTar, type TarItem } from "../tar.ts";
import { readTar } from "../untar.ts";

export interface ContextOf {
  /** Digest of a stored source. */
  readonly source: string;
  /** The folder inside the source that becomes the context's top, `.` for all of it. */
  readonly root: string;
  readonly ignored: Ignored;
  /** Files that Berth adds or puts in the place of the source's own. */
  readonly extra: readonly { readonly path: string; readonly content: Buffer }[];
}

/** The context as a plain tar whose bytes depend on names, contents and executable bits alone. Rejects with what the blob store says, and with the signal's reason. */
export function buildContext(blobs: BlobReader, of: ContextOf, signal: AbortSignal): Readable {
  return Readable.from(writeTar(itemsOf(blobs, of, signal)), { objectMode: false, signal });
}

async function* itemsOf(blobs: BlobReader, of: ContextOf, signal: AbortSignal): AsyncGenerator<TarItem> {
  const own = new Set(of.extra.map(({ path }) => path));
  for await (const { raw, content } of readTar(await blobs.open(of.source, signal), { signal })) {
    const path = below(of.root, entryPath(raw.name));
    if (path === undefined || own.has(path) || of.ignored(path)) continue;
    if (raw.type === "directory") yield { type: "directory", path };
    else if (raw.type === "symlink") yield { type: "symlink", path, target: raw.linkname ?? "" };
    else if (raw.type === "file") yield { type: "file", path, executable: (raw.mode & 0o111) !== 0, size: raw.size, content };
    else throw new Error(`${path} is neither file, folder nor link`);
  }
  for (const { path, content } of of.extra) yield { type: "file", path, executable: false, size: content.length, content };
}

/** The path as seen from the root; undefined for the root itself and what lies outside it. */
export function below(root: string, path: string): string | undefined {
  if (path === ".") return undefined;
  if (root === ".") return path;
  return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : undefined;
}
