// A folder as a tar stream whose bytes depend on its files alone: sorted, without times, owners or more than one bit of mode.
import { open } from "node:fs/promises";
import { constants } from "node:fs";
import { join } from "node:path";
import { Readable, pipeline } from "node:stream";
import { createGzip } from "node:zlib";
import { pack, type Header, type Pack } from "tar-stream";
import { Failure, exitCodes } from "../failure.ts";
import type { PackEntry, Packing } from "./walk.ts";

export interface Archive {
  readonly contentType: string;
  readonly body: () => ReadableStream<Uint8Array>;
}

type Head = Partial<Header> & Pick<Header, "name">;

/** Below this an archive is not worth compressing. */
const smallest = 256 * 1024;
/** Files up to this size are read at once. */
const atOnce = 1024 * 1024;

/** `near`: the server is on this machine, where compressing costs more than it saves. `onFailure` is told when a file cannot be read; the stream breaks then. */
export function archiveOf(packing: Packing, options: { readonly near: boolean; readonly onFailure: (error: unknown) => void }): Archive {
  const compress = !options.near && packing.bytes > smallest;
  return {
    contentType: compress ? "application/gzip" : "application/x-tar",
    body: () => {
      const tar = pack();
      const plain = Readable.from(tar, { objectMode: false });
      write(tar, packing).catch((error: unknown) => {
        // A reader that went away has its own reason, e.g. the server's answer.
        if (!plain.destroyed) options.onFailure(error);
        tar.destroy(error instanceof Error ? error : new Error(String(error)));
      });
      return Readable.toWeb(compress ? pipeline(plain, createGzip({ level: 4 }), () => undefined) : plain) as ReadableStream<Uint8Array>;
    },
  };
}

async function write(tar: Pack, packing: Packing): Promise<void> {
  for (const entry of packing.entries) await add(tar, packing.folder, entry);
  tar.finalize();
}

const still = { mtime: new Date(0), uid: 0, gid: 0, uname: "", gname: "" } as const;

async function add(tar: Pack, folder: string, entry: PackEntry): Promise<void> {
  switch (entry.type) {
    case "directory":
      return put(tar, { ...still, name: `${entry.path}/`, type: "directory", mode: 0o755 });
    case "symlink":
      return put(tar, { ...still, name: entry.path, type: "symlink", linkname: entry.target, mode: 0o777 });
    case "file":
      return addFile(tar, join(folder, entry.path), entry);
    default:
      return entry satisfies never;
  }
}

async function addFile(tar: Pack, path: string, entry: PackEntry & { type: "file" }): Promise<void> {
  try {
    await sendFile(tar, path, entry);
  } catch (error) {
    throw new Failure(exitCodes.failed, `${entry.path} could not be sent: ${error instanceof Error ? error.message : String(error)}.`, {
      next: "If it changed while it was being read, try again; if it is not needed, name it in .berthignore.",
      cause: error,
    });
  }
}

async function sendFile(tar: Pack, path: string, entry: PackEntry & { type: "file" }): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const header: Head = { ...still, name: entry.path, type: "file", mode: entry.executable ? 0o755 : 0o644 };
    if (entry.size <= atOnce) await put(tar, header, await handle.readFile());
    else
      await stream(
        tar,
        { ...header, size: entry.size },
        handle.createReadStream({ start: 0, end: entry.size - 1, autoClose: false, highWaterMark: 256 * 1024 }),
      );
  } finally {
    await handle.close();
  }
}

async function stream(tar: Pack, header: Head, content: Readable): Promise<void> {
  const sent = Promise.withResolvers<void>();
  const sink = tar.entry(header, (error) => {
    if (error) sent.reject(error);
    else sent.resolve();
  });
  const pump = async (): Promise<void> => {
    for await (const piece of content) {
      if (!sink.write(piece))
        await Promise.race([
          new Promise<void>((resolve) => {
            sink.once("drain", () => {
              resolve();
            });
          }),
          sent.promise,
        ]);
    }
    sink.end(null);
  };
  await Promise.all([pump(), sent.promise]);
}

function put(tar: Pack, header: Head, content?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => {
      if (error) reject(error);
      else resolve();
    };
    if (content === undefined) tar.entry(header, done);
    else tar.entry({ ...header, size: content.length }, content, done);
  });
}
