// Blobs in a folder of this machine. A blob appears whole or not at all: written aside, synced, and renamed into its place.
import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Transform, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BerthError } from "../core/errors.ts";
import { syncFolder } from "../os/files.ts";
import type { Blob, BlobStore } from "./store.ts";

const digestShape = /^sha256:[0-9a-f]{64}$/;
/** A file being written is touched all the time; one that was not for this long belongs to a process that died. */
const leftoverMs = 3_600_000;

/** Opens (and makes) the folder, and sweeps away what a crash left half-written. */
export async function openBlobFolder(root: string, options: { readonly now?: () => Date } = {}): Promise<BlobStore> {
  const now = options.now ?? (() => new Date());
  const drafts = join(root, "drafts");
  const content = join(root, "sha256");
  for (const folder of [root, drafts, content]) await mkdir(folder, { recursive: true, mode: 0o700 });
  await sweep(drafts, now().getTime() - leftoverMs);

  async function put(
    stream: Readable,
    { expected }: { readonly expected?: string } = {},
    signal?: AbortSignal,
  ): Promise<{ digest: string; size: number }> {
    if (expected !== undefined) checkDigest(expected);
    const draft = join(drafts, randomUUID());
    try {
      const { digest, size } = await writeDraft(draft, stream, signal);
      if (expected !== undefined && digest !== expected)
        throw new BerthError("invalid_request", { reason: `the content is ${digest}, not ${expected}` });
      const folder = folderOf(content, digest);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await rename(draft, fileOf(content, digest));
      for (const changed of [folder, content]) await syncFolder(changed);
      return { digest, size };
    } catch (error) {
      throw diskError(error);
    } finally {
      await rm(draft, { force: true });
    }
  }

  async function openBlob(digest: string, signal?: AbortSignal): Promise<Readable> {
    checkDigest(digest);
    let file: FileHandle;
    try {
      file = await open(fileOf(content, digest));
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw new BerthError("not_found", { kind: "blob", name: digest, hint: "It may have been removed by retention." });
    }
    const checked = checking(digest);
    // A failure reaches the reader through `checked`, which pipeline destroys with it.
    pipeline(file.createReadStream({ highWaterMark: 256 * 1024 }), checked, signal === undefined ? {} : { signal }).catch(() => undefined);
    return checked;
  }

  async function has(digest: string): Promise<number | undefined> {
    checkDigest(digest);
    try {
      return (await stat(fileOf(content, digest))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async function remove(digest: string, { storedBefore }: { readonly storedBefore?: Date } = {}): Promise<void> {
    checkDigest(digest);
    const path = fileOf(content, digest);
    const aside = join(drafts, randomUUID());
    try {
      // Moved aside first, so that what is looked at is what is removed, even while the same content is being stored again.
      await rename(path, aside);
      if (storedBefore !== undefined && (await stat(aside)).mtime >= storedBefore) await link(aside, path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOENT" && code !== "EEXIST") throw error;
    } finally {
      await rm(aside, { force: true });
    }
  }

  async function* list(): AsyncGenerator<Blob> {
    for (const start of await readdir(content)) {
      for (const name of await readdir(join(content, start))) {
        const found = await stat(join(content, start, name)).catch((error: unknown) => {
          if (isMissing(error)) return undefined;
          throw error;
        });
        if (found !== undefined) yield { digest: `sha256:${name}`, size: found.size, storedAt: found.mtime };
      }
    }
  }

  return { put, open: openBlob, has, remove, list };
}

async function writeDraft(path: string, stream: Readable, signal: AbortSignal | undefined): Promise<{ digest: string; size: number }> {
  const hash = createHash("sha256");
  let size = 0;
  const file = await open(path, "wx", 0o600);
  try {
    await pipeline(
      stream,
      async (source: AsyncIterable<Buffer>) => {
        for await (const chunk of source) {
          hash.update(chunk);
          size += chunk.length;
          for (let from = 0; from < chunk.length;) from += (await file.write(chunk, from)).bytesWritten;
        }
      },
      signal === undefined ? {} : { signal },
    );
    await file.sync();
  } finally {
    await file.close();
  }
  return { digest: `sha256:${hash.digest("hex")}`, size };
}

/** Passes bytes through and fails at the end when they are not what was kept. */
function checking(digest: string): Transform {
  const hash = createHash("sha256");
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(undefined, chunk);
    },
    flush(done) {
      done(`sha256:${hash.digest("hex")}` === digest ? undefined : new Error(`blob ${digest} is damaged on disk`));
    },
  });
}

async function sweep(drafts: string, before: number): Promise<void> {
  for (const name of await readdir(drafts)) {
    const path = join(drafts, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && found.mtimeMs < before) await rm(path, { force: true });
  }
}

function checkDigest(digest: string): void {
  if (!digestShape.test(digest)) throw new BerthError("invalid_request", { reason: `${digest.slice(0, 100)} is not a digest` });
}

function folderOf(content: string, digest: string): string {
  return join(content, digest.slice(7, 9));
}

function fileOf(content: string, digest: string): string {
  return join(folderOf(content, digest), digest.slice(7));
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

function diskError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOSPC" || code === "EDQUOT" ? new BerthError("storage_full", { what: "the blobs" }, { cause: error }) : error;
}
