// Clears away what a control plane that died left in the home folder. Only at the start of the one process that works for this home, before it takes a request.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { sweepFetches } from "../builders/source/git.ts";
import { removeTree } from "../os/remove.ts";
import type { Paths } from "../paths.ts";

/** Fetches, uploads and whatever else was under way: what had become of them is in the database and the blob store. */
export async function sweepTemporary(paths: Pick<Paths, "tmp">): Promise<void> {
  await sweepFetches(paths.tmp);
  for (const name of await names(paths.tmp)) await rm(join(paths.tmp, name), { recursive: true, force: true });
}

/** Archives that were being unpacked for volumes: nothing of them has come into any. */
export async function sweepVolumes(paths: Pick<Paths, "home">): Promise<void> {
  const stacks = join(paths.home, "stacks");
  for (const stack of await names(stacks)) await removeTree(join(stacks, stack, "volumes.new"));
}

/** Compiled code of other versions of Berth, which nobody will run again. */
export async function sweepCompiled(paths: Pick<Paths, "compiled">, version: string): Promise<void> {
  for (const name of await names(paths.compiled))
    if (name !== version) await rm(join(paths.compiled, name), { recursive: true, force: true });
}

async function names(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
}
