// Remembers what a step made of its inputs, so that an unchanged step is restored instead of run. Kept per stack, where no build can write, and bounded.
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat, utimes, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants as zlib, createZstdCompress } from "node:zlib";
import type { BuildStep } from "@berth/contract/buildplan.ts";
import { comparePaths } from "../../core/archive.ts";
import { baseOf, joinPath, parentOf } from "../../core/buildplan/source.ts";
import { canonicalJson } from "../../core/canonical.ts";
import type { RunAs } from "../builder.ts";
import type { UsedTool } from "../../core/attest/built.ts";
import { writeTar, type TarItem } from "../tar.ts";
import { unpack } from "./unpack.ts";
import { openBelow, walkItems, type Walk } from "./walk.ts";

export interface OutputPlace {
  /** The stack's folder of kept outputs; only Berth may read it. */
  readonly store: string;
  readonly workDir: string;
  /** The plan's root, relative to `workDir`. */
  readonly root: string;
  readonly runAs: RunAs | undefined;
  /** A folder on the same file system that only Berth may enter, for what is not in place yet. */
  readonly stagingDir: string;
  /** Bytes that the stack's kept outputs may take together. */
  readonly limit: number;
}

/** The step's key, or undefined when it always has to run. Everything that may change its outcome is in it. */
export async function outputKey(
  step: BuildStep,
  place: OutputPlace,
  facts: { readonly tools: readonly UsedTool[]; readonly env: Readonly<Record<string, string>> },
): Promise<string | undefined> {
  if (step.inputs.length === 0 || step.outputs.length === 0) return undefined;
  if ([...step.inputs, ...step.outputs].some((path) => leadsOut(joinPath(place.root, path)))) return undefined;
  const inputs: (readonly [string, string])[] = [];
  for (const input of [...step.inputs].sort()) inputs.push([input, await hashOf(place, joinPath(place.root, input))]);
  const tools = facts.tools.map((tool) => `${tool.name} ${tool.version}`).sort();
  const text = canonicalJson({
    format: 1,
    root: place.root,
    command: step.command,
    outputs: [...step.outputs].sort(),
    inputs,
    tools,
    env: facts.env,
    platform: `${process.platform}-${process.arch}`,
  });
  return createHash("sha256").update(text).digest("hex");
}

function leadsOut(path: string): boolean {
  return path === ".." || path.startsWith("../");
}

/** The content of a file or of everything below a folder; a word when there is no such thing. */
async function hashOf(place: OutputPlace, path: string): Promise<string> {
  const hash = createHash("sha256");
  let found = false;
  for await (const item of itemsAt(place, path)) {
    found = true;
    hash.update(`${item.type}\0${item.path}\0`);
    if (item.type === "symlink") hash.update(`${item.target}\0`);
    if (item.type !== "file") continue;
    hash.update(`${item.executable ? "x" : "-"}\0${String(item.size)}\0`);
    if (Buffer.isBuffer(item.content)) hash.update(item.content);
    else for await (const data of item.content) hash.update(data);
  }
  return found ? hash.digest("hex") : "absent";
}

/** The item at a path of the work folder and everything below it, with paths from the work folder. */
async function* itemsAt(place: OutputPlace, path: string): AsyncGenerator<TarItem> {
  const walk: Walk = {
    workDir: place.workDir,
    root: path,
    owner: place.runAs?.uid,
    exclude: new Set(),
    links: "keep",
    onSkipped: () => undefined,
  };
  const folder = await openBelow(place.workDir, path);
  if (folder !== undefined) {
    await folder.close();
    if (path !== ".") yield { type: "directory", path };
    for await (const item of walkItems(walk)) yield { ...item, path: joinPath(path, item.path) };
    return;
  }
  const parent = await openBelow(place.workDir, parentOf(path));
  if (parent === undefined) return;
  await parent.close();
  const name = baseOf(path);
  for await (const item of walkItems({ ...walk, root: parentOf(path), only: name })) yield { ...item, path };
}

/** Puts kept outputs into place; false when there are none for this key. A damaged one is removed and counts as none. */
export async function restoreOutputs(key: string, step: BuildStep, place: OutputPlace, signal: AbortSignal): Promise<boolean> {
  const kept = join(place.store, `${key}.tar.zst`);
  if ((await stat(kept).catch(() => undefined)) === undefined) return false;
  const staged = join(place.stagingDir, key);
  await mkdir(staged, { mode: 0o700 });
  try {
    await unpack(createReadStream(kept), staged, place.runAs, signal);
  } catch (error) {
    signal.throwIfAborted();
    await rm(kept, { force: true });
    await rm(staged, { recursive: true, force: true });
    if (error instanceof Error) return false;
    throw error;
  }
  for (const output of outermost(step.outputs.map((path) => joinPath(place.root, path)))) {
    const parent = await openBelow(place.workDir, parentOf(output));
    if (parent === undefined) return false;
    try {
      await moveInto(parent, baseOf(output), join(staged, output), join(place.stagingDir, `old-${key}-${baseOf(output)}`));
    } finally {
      await parent.close();
    }
  }
  const now = new Date();
  await utimes(kept, now, now);
  return true;
}

/** Through the open folder, so that no link can lead the move elsewhere. */
async function moveInto(parent: FileHandle, name: string, from: string, aside: string): Promise<void> {
  const to = `/proc/self/fd/${String(parent.fd)}/${name}`;
  const absent = (error: NodeJS.ErrnoException): void => {
    if (error.code !== "ENOENT") throw error;
  };
  await rename(to, aside).catch(absent);
  // An output that the step did not make then is not there now either.
  await rename(from, to).catch(absent);
}

/** Keeps the outputs under the key. */
export async function keepOutputs(key: string, step: BuildStep, place: OutputPlace, signal: AbortSignal): Promise<void> {
  await mkdir(place.store, { recursive: true, mode: 0o700 });
  // Two builds of a stack may keep the same outputs at the same time.
  const part = join(place.store, `${key}-${randomUUID()}.part`);
  try {
    await pipeline(
      Readable.from(writeTar(outputItems(step, place)), { objectMode: false }),
      createZstdCompress({ params: { [zlib.ZSTD_c_compressionLevel]: 1 } }),
      createWriteStream(part, { mode: 0o600 }),
      { signal },
    );
    await rename(part, join(place.store, `${key}.tar.zst`));
  } finally {
    await rm(part, { force: true });
  }
  await forgetOldest(place.store, place.limit);
}

async function* outputItems(step: BuildStep, place: OutputPlace): AsyncGenerator<TarItem> {
  const folders = new Set<string>();
  for (const output of outermost(step.outputs.map((path) => joinPath(place.root, path)))) {
    let started = false;
    for await (const item of itemsAt(place, output)) {
      if (!started) {
        started = true;
        for (const folder of foldersTo(output))
          if (!folders.has(folder)) {
            folders.add(folder);
            yield { type: "directory", path: folder };
          }
      }
      yield item;
    }
  }
}

function foldersTo(path: string): string[] {
  const folders: string[] = [];
  for (let folder = parentOf(path); folder !== "."; folder = parentOf(folder)) folders.unshift(folder);
  return folders;
}

function outermost(paths: readonly string[]): string[] {
  const sorted = [...new Set(paths)].sort(comparePaths);
  return sorted.filter((path, index) => !sorted.slice(0, index).some((other) => path.startsWith(`${other}/`)));
}

/** The least recently used go first; the newest stays, whatever its size. */
async function forgetOldest(store: string, limit: number): Promise<void> {
  const kept: { readonly path: string; readonly size: number; readonly used: number }[] = [];
  for (const name of await readdir(store)) {
    const path = join(store, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && name.endsWith(".tar.zst")) kept.push({ path, size: found.size, used: found.mtimeMs });
  }
  let total = 0;
  for (const [index, one] of kept.sort((a, b) => b.used - a.used).entries()) {
    total += one.size;
    if (index > 0 && total > limit) await rm(one.path, { force: true });
  }
}

/** Removes what a crash left half written. Only while no build of the stack runs. */
export async function removeParts(store: string): Promise<void> {
  for (const name of await readdir(store).catch(() => [])) if (name.endsWith(".part")) await rm(join(store, name), { force: true });
}
