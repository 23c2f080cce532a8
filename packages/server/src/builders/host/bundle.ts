// Packs what a build made into a bundle: a zstd-compressed tar whose bytes depend on its content alone, written straight into the blob store.
import { Readable, Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants as zlib, createZstdCompress } from "node:zlib";
import type { BlobWriter } from "../builder.ts";
import { writeTar } from "../tar.ts";
import { walkItems, type Walk } from "./walk.ts";

export class BundleTooLarge extends Error {}

/**
 * Stores the bundle and returns its digest (over the compressed bytes) and size. Throws BundleTooLarge past `limit` bytes of content.
 * zstd level 1, measured on a node_modules of 9,600 files and 211 MB: 74 MB in 2.8 s, against 211 MB in 1.7 s without compression. Bundles are
 * kept for as long as a release needs them, so that space counts more than that second; small bundles do not feel it.
 */
export async function storeBundle(
  walk: Walk,
  blobs: BlobWriter,
  limit: number,
  signal: AbortSignal,
): Promise<{ digest: string; size: number }> {
  const packed = createZstdCompress({ params: { [zlib.ZSTD_c_compressionLevel]: 1 } });
  const packing = pipeline(Readable.from(writeTar(walkItems(walk)), { objectMode: false }), bounded(limit), packed, { signal });
  const storing = blobs.put(packed, {}, signal);
  // Whichever fails first ends the other; its error is the one that tells.
  const first = new Promise<never>((_, reject) => {
    packing.catch(reject);
    storing.catch(reject);
  });
  try {
    const [stored] = await Promise.race([first, Promise.all([storing, packing])]);
    return stored;
  } catch (error) {
    packed.destroy();
    await Promise.allSettled([packing, storing]);
    throw error;
  }
}

function bounded(limit: number): Transform {
  let size = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      size += chunk.length;
      if (size > limit) done(new BundleTooLarge());
      else done(null, chunk);
    },
  });
}
