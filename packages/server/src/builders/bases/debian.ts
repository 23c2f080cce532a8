// Makes a minimal Debian root file system with debootstrap, for images that are not pulled from anywhere. Runs as root; what it mounts meanwhile is seen by nobody else.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm, truncate, writeFile, mkdir } from "node:fs/promises";
import { join } from "node:path";

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
    const include = options.include === undefined || options.include.length === 0 ? [] : [`--include=${options.include.join(",")}`];
    // Of its own mount namespace: debootstrap mounts /proc, and may be killed before it unmounts it.
    for await (const _ of output(
      "unshare",
      ["--mount", "debootstrap", "--variant=minbase", ...include, options.suite, folder, options.mirror],
      options,
    ));
    await strip(folder);
    yield* output(
      "tar",
      ["--create", "--sort=name", "--numeric-owner", "--mtime=@0", "--one-file-system", "--directory", folder, "."],
      options,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function strip(folder: string): Promise<void> {
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

const keptWords = 4_000;

/** What a program prints, as it comes. Throws with its last words unless it ends well; ends it when the consumer leaves or the signal says so. */
async function* output(
  program: string,
  args: readonly string[],
  { signal }: { readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, killed) => {
      resolve(code === 0 ? "" : `ended with ${String(code ?? killed)}`);
    });
  });
  // It is awaited below, but not before the output ends.
  ended.catch(() => undefined);
  let words = "";
  const keep = (text: Buffer): void => {
    words = (words + text.toString()).slice(-keptWords);
  };
  child.stderr.on("data", keep);
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, "SIGKILL");
  };
  signal?.addEventListener("abort", kill, { once: true });
  try {
    signal?.throwIfAborted();
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      // debootstrap tells its troubles there, and nothing else of ours is text of a few KB at the end of a failure.
      keep(chunk.subarray(-keptWords));
      yield chunk;
    }
    const trouble = await ended;
    signal?.throwIfAborted();
    if (trouble !== "") throw new Error(`${program} ${trouble}: ${words.trim()}`);
  } finally {
    signal?.removeEventListener("abort", kill);
    kill();
  }
}

/** The suite and mirror that this machine's own packages come from; undefined when they are not Debian's. */
export async function machineMirror(): Promise<{ readonly suite: string; readonly mirror: string } | undefined> {
  const chunks: Buffer[] = [];
  for await (const chunk of output(
    "apt-get",
    ["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(TRUSTED)", "Created-By: Packages"],
    {},
  ))
    chunks.push(chunk);
  for (const line of Buffer.concat(chunks).toString().split("\n")) {
    const [mirror = "", suite = "", component = ""] = line.split(" ");
    if (component === "main" && /\/debian\/?$/.test(mirror) && /^[a-z]+$/.test(suite)) return { suite, mirror };
  }
  return undefined;
}
