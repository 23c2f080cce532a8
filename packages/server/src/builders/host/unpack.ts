// Unpacks archives that Berth itself has stored into a new folder that nobody else can reach yet. Links are made last, so that nothing is ever written through one.
import { chown, lchown, mkdir, open, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { comparePaths, entryPath } from "../../core/archive.ts";
import { parentOf } from "../../core/buildplan/source.ts";
import type { RunAs } from "../builder.ts";
import { readTar } from "../untar.ts";

/** Files that are written at the same time, and the largest that is kept in memory for it. */
const atOnce = 16;
const smallFile = 256 * 1024;

/** Unpacks a stored tar (plain or zstd) into `dir`, which must be empty. Everything belongs to `owner` when Berth is root. Throws on anything but files, folders and links. */
export async function unpack(stream: Readable, dir: string, owner: RunAs | undefined, signal: AbortSignal): Promise<void> {
  const links: { readonly path: string; readonly target: string }[] = [];
  const folders = new Set<string>();
  const writing = new Set<Promise<void>>();
  let failure: Error | undefined;
  const makeFolder = async (path: string): Promise<void> => {
    if (path === "." || folders.has(path)) return;
    folders.add(path);
    // What is left out of a context may be the folder and not all that is in it.
    await makeFolder(parentOf(path));
    await mkdir(join(dir, path), { mode: 0o755 });
    if (owner !== undefined) await chown(join(dir, path), owner.uid, owner.gid);
  };
  try {
    for await (const { raw, content } of readTar(stream, { signal })) {
      const path = entryPath(raw.name);
      if (raw.type === "directory") {
        await makeFolder(path);
        continue;
      }
      await makeFolder(parentOf(path));
      if (raw.type === "symlink") {
        links.push({ path, target: raw.linkname ?? "" });
        continue;
      }
      if (raw.type !== "file") throw new Error(`${path} is neither file, folder nor link`);
      const target = { path: join(dir, path), mode: raw.mode & 0o111 ? 0o755 : 0o644, owner };
      if (raw.size > smallFile) {
        await writeFileTo(target, content);
        continue;
      }
      const chunks: Buffer[] = [];
      for await (const data of content) chunks.push(data);
      if (failure !== undefined) throw failure;
      if (writing.size >= atOnce) await Promise.race(writing);
      const one: Promise<void> = writeFileTo(target, chunks)
        .catch((error: unknown) => {
          failure ??= error instanceof Error ? error : new Error(String(error));
        })
        .finally(() => writing.delete(one));
      writing.add(one);
    }
  } finally {
    await Promise.all(writing);
  }
  if (failure !== undefined) throw failure;
  for (const link of links.sort((a, b) => comparePaths(a.path, b.path))) {
    await symlink(link.target, join(dir, link.path));
    if (owner !== undefined) await lchown(join(dir, link.path), owner.uid, owner.gid);
  }
}

async function writeFileTo(
  target: { readonly path: string; readonly mode: number; readonly owner: RunAs | undefined },
  content: Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<void> {
  const file = await open(target.path, "wx", target.mode);
  try {
    for await (const data of content) {
      let done = 0;
      while (done < data.length) done += (await file.write(data, done, data.length - done)).bytesWritten;
    }
    if (target.owner !== undefined) await file.chown(target.owner.uid, target.owner.gid);
  } finally {
    await file.close();
  }
}
