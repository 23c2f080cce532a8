// The Debian base without what tests of builds and of whole Berths never run: Perl, apt, dpkg and data of other languages. Each build moves its base through a daemon or two,
// and what is not there is not copied, hashed and unpacked.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, readFileSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { extract, pack } from "tar-stream";
import { withLock } from "../../os/lock.ts";
import { debianTar } from "./debian.ts";

/** Whole folders, or what begins so. */
const left: readonly RegExp[] = [
  /^usr\/share\/(doc|zoneinfo|perl5?|bash-completion|nodejs\/@types)\//,
  /^usr\/lib\/[^/]+-linux-gnu\/(gconv|perl|perl5|perl-base)\//,
  /^usr\/lib\/[^/]+-linux-gnu\/lib(apt-|db-|gnutls|unistring|p11-kit|mvec)/,
  /^usr\/lib\/(apt|dpkg)\//,
  /^usr\/bin\/(perl|apt|dpkg|gpgv)/,
  /^usr\/sbin\/(ldconfig|[a-z0-9.]*(e2|ext|fs)|zic|unix_)/,
  /^usr\/bin\/(localedef|lsblk|findmnt|lscpu|mawk)$/,
  /^usr\/share\/(common-licenses|keyrings|base-files|polkit-1|systemd|initramfs-tools)\//,
  // What dpkg knows of packages stays: bills of materials are made of it.
  /^var\/(cache|lib\/(apt|dpkg\/info))\//,
];

/** The path of its tar archive, with these packages beyond the essential ones (debian.ts). Kept beside the whole one. */
export async function leanTar(include: readonly string[] = []): Promise<string> {
  const whole = await debianTar(include);
  const key = createHash("sha256")
    .update(readFileSync(import.meta.filename))
    .digest("hex")
    .slice(0, 8);
  const path = whole.replace(/\.tar$/, `-lean-${key}.tar`);
  await withLock(`${path}.lock`, undefined, async () => {
    if (existsSync(path)) return;
    const draft = `${path}.${String(process.pid)}.draft`;
    try {
      const kept = pack();
      const writing = pipeline(kept, createWriteStream(draft));
      const reader = extract();
      createReadStream(whole).pipe(reader);
      for await (const entry of reader) {
        const name = entry.header.name.replace(/^\.\//, "");
        if (left.some((pattern) => pattern.test(name))) entry.resume();
        else await pipeline(entry, kept.entry(entry.header));
      }
      kept.finalize();
      await writing;
      await rename(draft, path);
    } finally {
      await rm(draft, { force: true });
    }
  });
  return path;
}
