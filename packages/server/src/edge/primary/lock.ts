// One edge per run folder: a lock file that names its holder, so that one left by a crash is recognised, and so is another process with its pid.
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { withLock } from "../../os/lock.ts";
import { identityLives, identityText } from "../registry.ts";

export class AnotherEdge extends Error {}

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (isMissing(error)) return "";
    throw error;
  }
}

const pidIn = (holder: string): string => holder.split(" ")[0] ?? "";

/** Takes the lock or throws `AnotherEdge` when a living process holds it. Only one at a time looks and takes, so that a dead holder's lock is never given to two. */
export async function takeLock(file: string): Promise<void> {
  await withLock(`${file}.guard`, undefined, async () => {
    const holder = read(file);
    if (identityLives(holder)) throw new AnotherEdge(`another edge (pid ${pidIn(holder)}) runs with this run folder`);
    rmSync(file, { force: true });
    const draft = `${file}.new`;
    writeFileSync(draft, identityText(process.pid), { mode: 0o600 });
    try {
      // Not by renaming: an edge of an earlier version takes the lock without the guard.
      linkSync(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST")
        throw new AnotherEdge(`another edge (pid ${pidIn(read(file))}) has just started with this run folder`);
      throw error;
    } finally {
      rmSync(draft, { force: true });
    }
  });
}

/** The pid of the living process that holds the lock. */
export function lockHolder(file: string): number | undefined {
  const holder = read(file);
  return identityLives(holder) ? Number(pidIn(holder)) : undefined;
}

export function releaseLock(file: string): void {
  if (pidIn(read(file)) === String(process.pid)) rmSync(file, { force: true });
}
