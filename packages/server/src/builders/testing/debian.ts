// The Debian base that tests import: made once, and kept outside of the checkout.
import { createHash } from "node:crypto";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { withLock } from "../../os/lock.ts";
import { debianRoot } from "../bases/debian.ts";
import { machineMirror } from "../bases/sources.ts";

const script = join(import.meta.dirname, "..", "bases", "debian.ts");

/** Why there can be no Debian base here; undefined when there can. */
export function debianMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  return existsSync("/usr/sbin/debootstrap") ? undefined : "no debootstrap: apt-get install debootstrap";
}

/** The path of its tar archive, 100 MB, with these packages beyond the essential ones. Takes two minutes the first time, and again when the script changes. */
export async function debianTar(include: readonly string[] = []): Promise<string> {
  const source = machineMirror();
  if (source === undefined) throw new Error("this machine's packages are not Debian's");
  const key = createHash("sha256")
    .update(readFileSync(script))
    .update(JSON.stringify([source, include]))
    .digest("hex")
    .slice(0, 16);
  const folder = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "berth-test");
  const path = join(folder, `debian-${source.suite}-${key}.tar`);
  await mkdir(folder, { recursive: true });
  await withLock(`${path}.lock`, undefined, async () => {
    if (existsSync(path)) return;
    const draft = `${path}.${String(process.pid)}.draft`;
    try {
      await pipeline(Readable.from(debianRoot({ ...source, include, scratch: tmpdir() })), createWriteStream(draft));
      await rename(draft, path);
    } finally {
      await rm(draft, { force: true });
    }
  });
  return path;
}
