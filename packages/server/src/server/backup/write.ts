// Writes a backup while everything runs: rows as of one instant, the blobs they name, config, and keys when there is a passphrase.
// Under its name it appears only when it is whole, on disk and has been read back.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, readFileSync } from "node:fs";
import { mkdtemp, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import tar from "tar-stream";
import type { BlobStore } from "../../blobs/store.ts";
import { openSnapshot, type Snapshot, type TableShape } from "../../db/snapshot.ts";
import type { DatabaseAddress } from "../../db/pool.ts";
import type { Paths } from "../../paths.ts";
import { backupFormat, BackupRefused, parts, type About, type Manifest } from "./format.ts";
import { sealKeys } from "./keys.ts";
import { readBackup } from "./read.ts";

export interface BackupOrder {
  readonly address: DatabaseAddress;
  readonly blobs: BlobStore;
  readonly paths: Paths;
  readonly program: string;
  /** Absolute; must not exist. */
  readonly file: string;
  readonly now: Date;
  /** Rows only: the blobs stay where they are, which does for a way back on the same machine. */
  readonly withBlobs: boolean;
  readonly passphrase?: string;
}
export interface BackupDone {
  readonly file: string;
  readonly bytes: number;
  readonly about: About;
  readonly manifest: Manifest;
  readonly keys: boolean;
}

type Files = Record<string, { size: number; sha256: string }>;
interface Writing {
  readonly pack: tar.Pack;
  readonly files: Files;
  readonly mtime: Date;
  readonly signal: AbortSignal;
}

/** Throws `BackupRefused`; a signal or a failure leaves no file. */
export async function writeBackup(order: BackupOrder, signal: AbortSignal): Promise<BackupDone> {
  if (existsSync(order.file)) throw new BackupRefused(`${order.file} exists already.`, "Choose another name, or remove it first.");
  const draft = `${order.file}.part`;
  let folder: string | undefined;
  try {
    folder = await mkdtemp(join(dirname(order.file), `.${basename(order.file)}.rows-`));
    const snapshot = await openSnapshot(order.address);
    try {
      await writeDraft(order, snapshot, draft, folder, signal);
    } finally {
      await snapshot.close();
    }
    const { about, manifest, bytes, keys } = await readBackup(draft, {}, signal);
    await rename(draft, order.file);
    await syncPath(dirname(order.file));
    return { file: order.file, bytes, about, manifest, keys: keys !== undefined };
  } catch (error) {
    signal.throwIfAborted();
    throw asRefusal(error, order.file);
  } finally {
    await rm(draft, { force: true });
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function writeDraft(order: BackupOrder, snapshot: Snapshot, draft: string, folder: string, signal: AbortSignal): Promise<void> {
  await rm(draft, { force: true });
  const pack = tar.pack();
  const writing: Writing = { pack, files: {}, mtime: order.now, signal };
  const written = pipeline(pack, createWriteStream(draft, { flags: "wx", mode: 0o600, highWaterMark: 1 << 20 }), { signal });
  // A full disk ends the pipe; whoever waits for the pack to take more is told by the same error.
  const broken = written.then(() => new Promise<never>(() => undefined));
  broken.catch(() => undefined);
  await Promise.race([addAll(order, snapshot, folder, writing), broken]);
  await written;
  await syncPath(draft);
}

async function addAll(order: BackupOrder, snapshot: Snapshot, folder: string, writing: Writing): Promise<void> {
  const about: About = {
    what: "berth backup",
    format: backupFormat,
    program: order.program,
    createdAt: order.now.toISOString(),
    installation: snapshot.installation,
  };
  await addText(writing, parts.about, JSON.stringify(about));
  const config = configOf(order.paths);
  if (config !== undefined) await addText(writing, parts.config, JSON.stringify(config.shown));
  if (order.passphrase !== undefined)
    await addText(
      writing,
      parts.keys,
      JSON.stringify(await sealKeys(keyFiles(order.paths, config?.whole), order.passphrase, snapshot.installation.id)),
    );
  const tables: Manifest["tables"] = [];
  for (const table of snapshot.tables)
    tables.push({
      name: table.name,
      columns: [...table.columns],
      rows: await addTable(writing, snapshot, table, join(folder, table.name)),
    });
  const blobs = order.withBlobs
    ? await addBlobs(writing, order.blobs, snapshot.blobs)
    : { included: false, count: 0, bytes: 0, missing: [], damaged: [] };
  const manifest: Manifest = {
    schema: { minimumProgram: snapshot.minimumProgram, migrations: [...snapshot.migrations] },
    server: snapshot.server,
    tables,
    sequences: [...snapshot.sequences],
    blobs,
    secretKeys: [...snapshot.secretKeys],
    files: { ...writing.files },
  };
  await addText(writing, parts.manifest, JSON.stringify(manifest));
  await addText(writing, parts.end, JSON.stringify({ manifestSha256: writing.files[parts.manifest]?.sha256 ?? "" }));
  writing.pack.finalize();
}

/** Rows first go to a file of their own: a part of a tar begins with its size. Returns how many there are. */
async function addTable(writing: Writing, snapshot: Snapshot, table: TableShape, scratch: string): Promise<number> {
  let rows = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const batch of snapshot.rows(table)) {
      rows += batch.length;
      yield `${batch.join("\n")}\n`;
    }
  }
  await pipeline(Readable.from(lines()), createGzip({ level: 4 }), createWriteStream(scratch, { mode: 0o600 }), { signal: writing.signal });
  await add(writing, `${parts.tables}${table.name}.jsonl.gz`, (await stat(scratch)).size, createReadStream(scratch));
  await rm(scratch);
  return rows;
}

async function addBlobs(writing: Writing, blobs: BlobStore, digests: readonly string[]): Promise<Manifest["blobs"]> {
  const found = { included: true, count: 0, bytes: 0, missing: [] as string[], damaged: [] as string[] };
  for (const digest of digests) {
    const size = await blobs.has(digest);
    if (size === undefined) found.missing.push(digest);
    // One bad blob must not stand in the way of saving all others, so it is read before it is written.
    else if (!(await isWhole(blobs, digest, writing.signal))) found.damaged.push(digest);
    else {
      await add(writing, `${parts.blobs}${digest.replace(/^sha256:/, "")}`, size, await blobs.open(digest, writing.signal));
      found.count += 1;
      found.bytes += size;
    }
  }
  return found;
}

async function isWhole(blobs: BlobStore, digest: string, signal: AbortSignal): Promise<boolean> {
  try {
    for await (const _chunk of await blobs.open(digest, signal)) {
      /* Its hash is checked at its end. */
    }
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Error && error.message.includes("damaged on disk")) return false;
    throw error;
  }
}

async function add({ pack, files, mtime, signal }: Writing, name: string, size: number, bytes: Readable): Promise<void> {
  const hash = createHash("sha256");
  const entry = pack.entry({ name, size, mode: 0o600, mtime });
  await pipeline(
    bytes,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    entry,
    { signal },
  );
  files[name] = { size, sha256: hash.digest("hex") };
}

function addText(writing: Writing, name: string, content: string): Promise<void> {
  const bytes = Buffer.from(content, "utf8");
  return add(writing, name, bytes.length, Readable.from([bytes]));
}

/** The config as the file has it, and without what opens a database. */
function configOf(paths: Paths): { readonly whole: string; readonly shown: Record<string, unknown> } | undefined {
  const file = join(paths.home, "config.json");
  if (!existsSync(file)) return undefined;
  const whole = readFileSync(file, "utf8");
  const { databaseUrl: _password, ...shown } = JSON.parse(whole) as Record<string, unknown>;
  return { whole, shown };
}

function keyFiles(paths: Paths, config: string | undefined): Record<string, string> {
  const files = { "secrets.key": paths.secretsKey, "audit.key": paths.auditKey };
  return {
    ...Object.fromEntries(Object.entries(files).flatMap(([name, path]) => (existsSync(path) ? [[name, readFileSync(path, "utf8")]] : []))),
    ...(config === undefined ? {} : { "config.json": config }),
  };
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function asRefusal(error: unknown, file: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new BackupRefused(`The disk that holds ${dirname(file)} is full.`, "Free some space there, or write the backup elsewhere.", {
      cause: error,
    });
  if (code === "ENOENT" || code === "EACCES" || code === "EROFS" || code === "ENOTDIR")
    return new BackupRefused(
      `${file} cannot be written: ${(error as Error).message}.`,
      "Name a folder that exists and that you may write to.",
      { cause: error },
    );
  return error;
}
