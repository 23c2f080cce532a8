// Small files that have to be whole or absent.
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** Replaces a file at once: written beside it and renamed. `mode` is 0600 unless told; `durable` waits until it would survive a power cut. */
export function writeWhole(path: string, content: string, options: { readonly mode?: number; readonly durable?: boolean } = {}): void {
  const beside = `${path}.${String(process.pid)}.new`;
  const handle = openSync(beside, "w", options.mode ?? 0o600);
  try {
    writeFileSync(handle, content);
    if (options.durable === true) fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(beside, path);
  if (options.durable === true) syncFolderNow(dirname(path));
}

/** Replaces a file at once, without holding up anybody else: there after a power cut when it resolves, with mode 0600 and never for a moment open to others. */
export async function writeDurably(path: string, content: string): Promise<void> {
  const beside = `${path}.${randomBytes(4).toString("hex")}.tmp`;
  const handle = await open(beside, "wx", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, path);
  await syncFolder(dirname(path));
}

/** As `syncFolder`, for who cannot wait. */
export function syncFolderNow(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** A rename is durable only when its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
