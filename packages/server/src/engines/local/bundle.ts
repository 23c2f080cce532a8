// Unpacks a bundle into a release's folder: whole or not at all, and never outside of it. Links are made last, so that nothing is written through one.
import { randomUUID } from "node:crypto";
import { chown, lchown, mkdir, open, readdir, rename, stat, symlink, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { extract } from "tar-stream";
import { checkEntry, type ArchiveItem, type ArchiveLimits } from "../../core/archive.ts";
import { removeTree } from "../../os/remove.ts";
import type { RunAs } from "./tools.ts";

/** Files that are written at the same time, and the largest that is kept in memory for it. */
const atOnce = 16;
const smallFile = 256 * 1024;
/** Berth packed it and checked its digest: only the form of its entries is looked at, not their number. */
const limits: ArchiveLimits = {
  files: Number.MAX_SAFE_INTEGER,
  totalBytes: Number.MAX_SAFE_INTEGER,
  fileBytes: Number.MAX_SAFE_INTEGER,
  ratio: Number.MAX_SAFE_INTEGER,
  ratioAfter: Number.MAX_SAFE_INTEGER,
  absoluteLinks: true,
};

/** Unpacks a tar (plain, gzip or zstd) to `target`, unless it is there. Everything belongs to `owner` when given. Throws `archive_refused` or the stream's error. */
export async function unpackBundle(
  openBlob: () => Promise<Readable>,
  target: string,
  owner: RunAs | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (await isThere(target)) {
    const now = new Date();
    // When it was last wanted: old ones are removed.
    await utimes(target, now, now);
    return;
  }
  const beside = join(dirname(target), `.${basename(target)}.${randomUUID()}`);
  try {
    await mkdir(beside, { mode: 0o750 });
    await fill(await openBlob(), beside, owner, signal);
    if (owner !== undefined) await chown(beside, owner.uid, owner.gid);
    await rename(beside, target);
  } catch (error) {
    await removeTree(beside);
    // Somebody else was faster with the same content.
    if (!(await isThere(target))) throw error;
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function* decompressed(source: Readable): AsyncGenerator<Buffer> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await chunks.next();
  if (first.done === true) return;
  const rest = Readable.from(
    (async function* () {
      yield first.value;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
    })(),
    { objectMode: false },
  );
  const magic = first.value.readUInt32BE(0);
  const expand = magic === 0x28b52ffd ? createZstdDecompress() : magic >>> 16 === 0x1f8b ? createGunzip() : undefined;
  if (expand === undefined) yield* rest as AsyncIterable<Buffer>;
  else {
    const feeding = pipeline(rest, expand);
    feeding.catch((error: unknown) => expand.destroy(error instanceof Error ? error : new Error(String(error))));
    yield* expand as AsyncIterable<Buffer>;
    await feeding;
  }
}

async function fill(source: Readable, dir: string, owner: RunAs | undefined, signal: AbortSignal): Promise<void> {
  const parser = extract();
  const feeding = pipeline(Readable.from(decompressed(source), { objectMode: false }), parser, { signal });
  feeding.catch(() => undefined);
  const links: Extract<ArchiveItem, { type: "symlink" }>[] = [];
  const copies: Extract<ArchiveItem, { type: "copy" }>[] = [];
  const folders = new Set<string>(["."]);
  const writing = new Set<Promise<void>>();
  let failure: Error | undefined;
  const makeFolder = async (path: string): Promise<void> => {
    if (folders.has(path)) return;
    await makeFolder(dirname(path));
    folders.add(path);
    await mkdir(join(dir, path), { mode: 0o755 });
    if (owner !== undefined) await chown(join(dir, path), owner.uid, owner.gid);
  };
  try {
    for await (const entry of parser) {
      const { header } = entry;
      const item = checkEntry(
        {
          name: header.name,
          type: header.type ?? undefined,
          size: header.size ?? 0,
          mode: header.mode ?? 0,
          linkname: header.linkname ?? undefined,
          pax: (header.pax ?? undefined) as Record<string, string> | undefined,
        },
        limits,
      );
      if (item.type === "directory") await makeFolder(item.path);
      else if (item.type === "symlink") links.push(item);
      else if (item.type === "copy") copies.push(item);
      else {
        await makeFolder(dirname(item.path));
        const target = { path: join(dir, item.path), mode: item.executable ? 0o755 : 0o644, owner };
        if (item.size > smallFile) await writeFile(target, entry as AsyncIterable<Buffer>);
        else {
          const chunks: Buffer[] = [];
          for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
          if (writing.size >= atOnce) await Promise.race(writing);
          const one: Promise<void> = writeFile(target, chunks)
            .catch((error: unknown) => {
              failure ??= asError(error);
            })
            .finally(() => writing.delete(one));
          writing.add(one);
        }
      }
      if (failure !== undefined) throw failure;
      entry.resume();
    }
    await feeding;
  } catch (error) {
    source.destroy();
    await feeding.catch(() => undefined);
    throw error;
  } finally {
    await Promise.all(writing);
  }
  if (failure !== undefined) throw failure;
  for (const copy of copies) await copyWithin(dir, copy.of, copy.path, owner, makeFolder);
  for (const link of links) {
    await makeFolder(dirname(link.path));
    await symlink(link.target, join(dir, link.path));
    if (owner !== undefined) await lchown(join(dir, link.path), owner.uid, owner.gid);
  }
}

async function copyWithin(
  dir: string,
  from: string,
  to: string,
  owner: RunAs | undefined,
  makeFolder: (path: string) => Promise<void>,
): Promise<void> {
  await makeFolder(dirname(to));
  const source = await open(join(dir, from));
  const { mode } = await source.stat();
  await writeFile({ path: join(dir, to), mode: mode & 0o777, owner }, source.createReadStream());
}

async function writeFile(
  target: { readonly path: string; readonly mode: number; readonly owner: RunAs | undefined },
  content: Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<void> {
  const file = await open(target.path, "wx", target.mode);
  try {
    for await (const chunk of content) await file.writev([chunk]);
    // Whatever the umask: the release's own programs must be able to read it.
    await file.chmod(target.mode);
    if (target.owner !== undefined) await file.chown(target.owner.uid, target.owner.gid);
  } finally {
    await file.close();
  }
}

/** Removes unpacked releases that nothing runs from, but for the newest `keep` and whatever was wanted within the last hour. They can be unpacked again. */
export async function pruneReleases(releases: string, inUse: ReadonlySet<string>, keep: number, now: number): Promise<void> {
  const found: { path: string; at: number }[] = [];
  for (const name of await readdir(releases)) {
    const path = join(releases, name);
    const at = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    );
    // Gone meanwhile: another release of the stack was just put in place.
    if (at !== undefined && !inUse.has(`sha256:${name}`)) found.push({ path, at });
  }
  const old = found
    .sort((a, b) => b.at - a.at)
    .filter((one, index) => (index >= keep || basename(one.path).startsWith(".")) && now - one.at > 3_600_000);
  for (const { path } of old) await removeTree(path);
}
