// A blob store in one folder, for tests of sources and builders; the product's own lives in blobs/ and keeps the same promises.
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BerthError } from "../../core/errors.ts";
import type { BlobReader, BlobWriter } from "../builder.ts";

export interface TestBlobs extends BlobReader, BlobWriter {
  list(): Promise<string[]>;
}

export async function folderBlobs(dir: string): Promise<TestBlobs> {
  await mkdir(dir, { recursive: true });
  return {
    put: async (stream, _options, signal) => {
      const part = join(dir, `${randomUUID()}.part`);
      const hash = createHash("sha256");
      let size = 0;
      const hashing = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          hash.update(chunk);
          size += chunk.length;
          done(null, chunk);
        },
      });
      try {
        await pipeline(stream, hashing, createWriteStream(part), signal === undefined ? {} : { signal });
      } catch (error) {
        await rm(part, { force: true });
        throw error;
      }
      const digest = `sha256:${hash.digest("hex")}`;
      await rename(part, join(dir, digest.slice(7)));
      return { digest, size };
    },
    open: async (digest) => {
      const path = join(dir, digest.slice(7));
      if ((await stat(path).catch(() => undefined)) === undefined)
        throw new BerthError("not_found", { kind: "blob", name: digest, hint: "" });
      return createReadStream(path);
    },
    list: async () => (await readdir(dir)).sort(),
  };
}
