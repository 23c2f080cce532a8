// Makes a minimal Debian root file system with debootstrap, for images that are not pulled from anywhere. Runs as root; what it mounts meanwhile is seen by nobody else.
import { mkdtemp, readdir, rm, truncate, writeFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { confined, output, run, type Running } from "./programs.ts";

export interface DebianOptions {
  /** `bookworm` is Debian 12. */
  readonly suite: string;
  /** Where packages come from, as in `http://mirror.example.org/debian`. They are checked with the keys of the machine's debian-archive-keyring. */
  readonly mirror: string;
  /** Packages beyond the essential ones and apt. */
  readonly include?: readonly string[] | undefined;
  /** A folder on a file system with room for 500 MB where devices and programs work (no `nodev`, `noexec`). */
  readonly scratch: string;
  readonly signal?: AbortSignal | undefined;
  /** What debootstrap finds in its environment; undefined: this process's own. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** Emptied: what an image does not need, or what differs from one run to the next. */
const emptied = [
  "dev",
  "run",
  "tmp",
  "usr/share/info",
  "usr/share/lintian",
  "usr/share/locale",
  "usr/share/man",
  "var/cache/apt",
  "var/cache/debconf",
  "var/cache/ldconfig",
  "var/lib/apt/lists",
  "var/log",
];
const removed = ["etc/hostname", "etc/resolv.conf", "etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-", "var/lib/dpkg/status-old"];

/** The same for packages that are installed later, as in Debian's own slim images. Copyright files stay: licences ask for them. */
const dpkgRules = `path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
path-exclude /usr/share/man/*
`;

/**
 * The file system as a tar archive, in chunks: sorted by name, without times, owners by number. Two runs against the same state of the mirror give
 * the same bytes. Takes a minute or two. Throws with debootstrap's last words; a consumer that leaves early leaves nothing behind.
 */
export async function* debianRoot(options: DebianOptions): AsyncGenerator<Buffer> {
  const folder = await mkdtemp(join(options.scratch, "debian-"));
  try {
    await bootstrap(folder, options);
    await strip(folder);
    yield* packRoot(folder, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Makes the root file system in an empty folder. Throws ProgramFailed with debootstrap's last words. */
export async function bootstrap(folder: string, options: Omit<DebianOptions, "scratch">): Promise<void> {
  const include = options.include === undefined || options.include.length === 0 ? [] : [`--include=${options.include.join(",")}`];
  await run(confined(["debootstrap", "--variant=minbase", ...include, options.suite, folder, options.mirror]), {
    ...options,
    name: "debootstrap",
  });
}

/** All of a root file system: sorted by name, without times, owners by number. */
export function packRoot(folder: string, running: Running): AsyncGenerator<Buffer> {
  return output(
    ["tar", "--create", "--sort=name", "--numeric-owner", "--mtime=@0", "--one-file-system", "--directory", folder, "."],
    running,
  );
}

/** Takes away what no image needs, and makes packages that are installed later leave it out as well. May be repeated. */
export async function strip(folder: string): Promise<void> {
  for (const path of emptied)
    for (const entry of await readdir(join(folder, path)).catch(none))
      await rm(join(folder, path, entry), { recursive: true, force: true });
  for (const path of removed) await rm(join(folder, path), { force: true });
  for (const entry of await readdir(join(folder, "usr/share/doc"), { recursive: true, withFileTypes: true }))
    if (!entry.isDirectory() && entry.name !== "copyright") await rm(join(entry.parentPath, entry.name));
  // Without a name the first start makes one; apt wants its folder.
  await truncate(join(folder, "etc/machine-id"), 0).catch(absent);
  await mkdir(join(folder, "var/lib/apt/lists/partial"), { recursive: true });
  await mkdir(join(folder, "var/cache/apt/archives/partial"), { recursive: true });
  // Java's packages link their manuals by update-alternatives, which wants the folder.
  await mkdir(join(folder, "usr/share/man/man1"), { recursive: true });
  await writeFile(join(folder, "etc/dpkg/dpkg.cfg.d/slim"), dpkgRules);
  // Installing a package in an image starts no service.
  await writeFile(join(folder, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", { mode: 0o755 });
}

function absent(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}

function none(error: unknown): string[] {
  absent(error);
  return [];
}
