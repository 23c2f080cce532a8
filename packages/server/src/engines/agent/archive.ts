// The content of a volume as a tar archive, and a volume from one. By GNU tar, which steps from open folder to open folder and never follows a link: programs write
// into these folders while they are read, and Berth may be root. Content comes into a volume whole or not at all.
import { execFile, spawn } from "node:child_process";
import { chown, mkdir, readdir, rename, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { BerthError } from "../../core/errors.ts";
import { removeTree } from "../../os/remove.ts";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const program = "tar";
/** Nothing of Berth's own environment: TAR_OPTIONS would change what is done. */
const env = { PATH: "/usr/bin:/bin", LC_ALL: "C" };
const common = ["--numeric-owner", "--xattrs", "--xattrs-include=*"];

/**
 * Everything below the folder, with owners, modes, links, times and extended attributes; names begin with `./`. What changes while it is read is in it as it was
 * at its moment. Destroying the stream ends it. A failure ends the stream with an error.
 */
export function packFolder(folder: string, signal: AbortSignal): Readable {
  const out = new PassThrough({ highWaterMark: 1024 * 1024 });
  const names = ["--pax-option=delete=atime,delete=ctime", "--one-file-system", "--sparse", "-C", folder, "."];
  const child = spawn(program, ["--create", "--file=-", "--format=posix", ...common, ...names], {
    cwd: "/",
    env,
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  // First of all: where no more files can be opened there is nothing else of it, and nobody has the stream.
  out.on("error", () => undefined);
  child.once("error", (error) => out.destroy(error));
  const said = lastWords(child.stderr);
  child.stdout.pipe(out, { end: false });
  // 1: something was changed while it was read, which is no failure for a volume that is in use.
  child.once("close", (code) => {
    if (code === 0 || code === 1) out.end();
    else if (!out.destroyed) out.destroy(new Error(`the volume could not be read: ${said() || `tar ended with ${String(code)}`}`));
  });
  out.once("close", () => child.kill("SIGKILL"));
  return out;
}

export interface Filling {
  /** The volume's folder; it may be there, but has to be empty. */
  readonly folder: string;
  /** Where the content is put together: on the same file system, in a folder that only Berth can write to. */
  readonly staging: string;
  /** Whom everything is to belong to; undefined: to whom the archive says. */
  readonly owner?: Owner | undefined;
  /** Rejects when the volume may not be replaced: asked before, and once more at the end. */
  readonly checkFree: () => Promise<void>;
}

/** Errors: `volume_not_empty`, what `checkFree` says, `archive_refused`, `storage_full`; what the archive's own stream failed of. After a failure nothing is left. */
export async function fillFolder({ folder, staging, owner, checkFree }: Filling, archive: Readable, signal: AbortSignal): Promise<void> {
  // One that fails before it is read has its error asked for then.
  archive.on("error", () => undefined);
  try {
    await checkFree();
    await checkEmpty(folder);
    await removeTree(staging);
    await mkdir(staging, { recursive: true, mode: 0o755 });
    if (owner !== undefined) await chown(staging, owner.uid, owner.gid);
    await unpack(staging, owner, archive, signal);
    await run("sync", ["-f", staging]);
    await checkFree();
    await checkEmpty(folder);
    await rmdir(folder).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    });
    await rename(staging, folder);
    await run("sync", ["-f", dirname(folder)]);
  } catch (error) {
    archive.destroy();
    await removeTree(staging);
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") throw full(error);
    if (code === "ENOTEMPTY" || code === "EEXIST") throw notEmpty(error);
    throw error;
  }
}

async function checkEmpty(folder: string): Promise<void> {
  const found = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  if (found.length > 0) throw notEmpty();
}

const notEmpty = (because?: unknown): BerthError => new BerthError("volume_not_empty", {}, { cause: because });
const full = (because?: unknown): BerthError => new BerthError("storage_full", { what: "volumes" }, { cause: because });

/** As the owner himself where there is one: what an archive says of devices, of other owners and of their rights is then beyond what it can do. */
async function unpack(folder: string, owner: Owner | undefined, archive: Readable, signal: AbortSignal): Promise<void> {
  const ownership = owner === undefined && process.getuid?.() === 0 ? "--same-owner" : "--no-same-owner";
  const child = spawn(
    program,
    ["--extract", "--file=-", ownership, "--same-permissions", "--delay-directory-restore", ...common, "-C", folder],
    { cwd: "/", env, stdio: ["pipe", "ignore", "pipe"], signal, ...(owner === undefined ? {} : owner) },
  );
  const ended = Promise.withResolvers<number | null>();
  ended.promise.catch(() => undefined);
  child.once("error", ended.reject);
  child.once("close", ended.resolve);
  const said = lastWords(child.stderr);
  // It reads no further once it has failed, or has seen the archive's end, and says itself which; a stream that breaks off must not look like a short archive.
  let broke: Error | undefined;
  const breakOff = (error: Error): void => {
    broke ??= error;
    child.kill("SIGKILL");
  };
  child.stdin.on("error", () => undefined);
  archive.once("error", breakOff).once("close", () => {
    if (!archive.readableEnded) breakOff(new Error("the archive broke off"));
  });
  if (archive.destroyed) breakOff(archive.errored ?? new Error("the archive broke off"));
  archive.pipe(child.stdin);
  const end = await ended.promise.catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
  signal.throwIfAborted();
  if (broke !== undefined) throw broke;
  if (end === 0) return;
  const words = said();
  if (/No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes/.test(words)) throw full();
  throw new BerthError("archive_refused", {
    reason:
      words === ""
        ? `tar ended with ${String(end)}`
        : (words.split("\n").find((line) => !/Exiting with failure/.test(line)) ?? words).replace(/\.$/, ""),
    hint: "Send a tar archive as `berth volumes snapshot` writes them, not compressed.",
  });
}

/** The end of what it says; bytes beyond 8 KiB are forgotten. */
function lastWords(stream: Readable): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (text = (text + chunk).slice(-8192)));
  return () =>
    text
      .trim()
      .replaceAll(/^tar: /gm, "")
      .slice(0, 1_000);
}

function run(name: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(name, args, { cwd: "/", env }, (error) => (error === null ? resolve() : reject(error)));
  });
}
