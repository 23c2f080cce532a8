// The packages that a stored source's lockfiles name.
import { isLockfile, lockedPackages } from "../../core/attest/lockfiles.ts";
import { entryPath } from "../../core/archive.ts";
import type { SoftwarePackage } from "../../core/attest/package.ts";
import type { BlobReader } from "../builder.ts";
import { below } from "../image/context.ts";
import { readTar } from "../untar.ts";

/** Bytes of one lockfile, and how many are read: a source is a stranger's. */
const largest = 16 * 1024 * 1024;
const most = 100;

/** `root`: the folder that was built; lockfiles of folders above it count, too, as those of workspaces lie there. */
export async function readSourcePackages(
  blobs: BlobReader,
  of: { readonly digest: string; readonly root: string },
  signal: AbortSignal,
): Promise<{ readonly packages: readonly SoftwarePackage[]; readonly unread: readonly string[] }> {
  const packages: SoftwarePackage[] = [];
  const unread: string[] = [];
  let count = 0;
  for await (const { raw, content } of readTar(await blobs.open(of.digest, signal), { signal })) {
    const path = entryPath(raw.name);
    if (raw.type !== "file" || !isLockfile(path) || !concerns(of.root, path)) continue;
    count += 1;
    if (raw.size > largest || count > most) {
      unread.push(`${path} (${count > most ? `more than ${String(most)} lockfiles` : "larger than 16 MiB"})`);
      continue;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    const found = lockedPackages(path, Buffer.concat(chunks).toString("utf8"));
    if (found === undefined) unread.push(`${path} (not what its name says)`);
    else packages.push(...found);
  }
  return { packages, unread };
}

function concerns(root: string, path: string): boolean {
  if (below(root, path) !== undefined) return true;
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
  return folder === "." || root.startsWith(`${folder}/`);
}
