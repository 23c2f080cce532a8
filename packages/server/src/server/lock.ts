// One control plane per home folder: the second says so and leaves. Identity is pid, start time and boot, so that a recycled pid is not taken for it.
import { readFileSync, rmSync } from "node:fs";
import { writeWhole } from "../os/files.ts";
import { withLock } from "../os/lock.ts";
import { identify, isSameProcess, type LastingIdentity } from "../os/process.ts";

export type Holder = LastingIdentity;
export type Taken = { readonly ok: true; readonly release: () => void } | { readonly ok: false; readonly holder: Holder };

/** Who holds the lock now; undefined when nobody does, whatever a dead one left behind. */
export function readHolder(file: string): Holder | undefined {
  const holder = readLock(file);
  return holder !== undefined && isSameProcess(holder) ? holder : undefined;
}

function readLock(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch (error) {
    // Written whole by renaming: what is no JSON was left by a full disk, and holds nothing.
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Takes the lock, or answers who holds it. Looking and taking are one step: two starters that find a dead one's lock never both get it. */
export async function takeLock(file: string): Promise<Taken> {
  return withLock(`${file}.guard`, undefined, async (): Promise<Taken> => {
    const holder = readHolder(file);
    if (holder !== undefined) return { ok: false, holder };
    const own = identify(process.pid);
    if (own === undefined) throw new Error("this process is not in /proc");
    writeWhole(file, JSON.stringify(own));
    return {
      ok: true,
      release: () => {
        if (readLock(file)?.start === own.start) rmSync(file, { force: true });
      },
    };
  });
}
