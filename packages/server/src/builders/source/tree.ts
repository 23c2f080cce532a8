// Looks into a stored source without unpacking it: the list of its files and the texts that the detection of build plans asks for.
import { joinPath, parentOf, type SourceTree } from "../../core/buildplan/source.ts";
import type { BlobReader } from "../builder.ts";
import { readTar } from "../untar.ts";

/** Bytes of one text, and of all texts together: what is larger is listed but not loaded. */
const textLimit = 256 * 1024;
const totalLimit = 64 * 1024 * 1024;

/** The tree of a stored source. `isOfInterest` says which files' texts are loaded; others, binaries and texts over 256 KiB read as undefined. */
export async function readSourceTree(
  blobs: BlobReader,
  digest: string,
  isOfInterest: (path: string) => boolean,
  signal: AbortSignal,
): Promise<SourceTree> {
  const files = new Set<string>();
  const texts = new Map<string, string>();
  const links = new Map<string, string>();
  let total = 0;
  for await (const { raw, content } of readTar(await blobs.open(digest, signal), { signal })) {
    if (raw.type === "symlink") links.set(raw.name, joinPath(parentOf(raw.name), raw.linkname ?? ""));
    if (raw.type !== "file") continue;
    files.add(raw.name);
    if (!isOfInterest(raw.name) || raw.size > textLimit || total + raw.size > totalLimit) continue;
    const chunks: Buffer[] = [];
    for await (const data of content) chunks.push(data);
    const text = Buffer.concat(chunks).toString("utf8");
    if (text.includes("\0")) continue;
    total += raw.size;
    texts.set(raw.name, text);
  }
  for (const [path, target] of links) {
    // A link straight to a file is that file to every tool that reads it; longer chains are rare enough to stay unlisted.
    if (!files.has(target)) continue;
    files.add(path);
    const text = texts.get(target);
    if (text !== undefined) texts.set(path, text);
  }
  return { files, read: (path) => texts.get(path) };
}
