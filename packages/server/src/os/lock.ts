// A lock file that carries its holder's identity: after a crash a bare pid may name a zombie or a stranger.
import { createHash, randomUUID } from "node:crypto";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { identify, isSameProcess, type LastingIdentity } from "./process.ts";

interface LockContent extends LastingIdentity {
  readonly nonce: string;
}

/** A holder that can be compared with what runs, or what is left of one that cannot be told any more. */
type Holder = { readonly nonce: string; readonly identity: LastingIdentity | undefined };

async function readLock(path: string): Promise<Holder | undefined> {
  try {
    return holderIn(await readFile(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** A living holder's text is whole before it is linked: what cannot be read was cut by a power cut or a full disk, and its holder is gone. */
function holderIn(text: string): Holder {
  try {
    const content = JSON.parse(text) as Partial<LockContent> | null;
    if (typeof content?.nonce === "string") return { nonce: content.nonce, identity: content as LockContent };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { nonce: createHash("sha256").update(text).digest("hex").slice(0, 32), identity: undefined };
}

/**
 * Runs `work` while holding the lock file. A holder that died is recognised by its identity, never by age. Breaking a dead
 * holder's lock is itself done under a lock named by that holder's nonce, so that two breakers never remove a living lock.
 */
export async function withLock<T>(path: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const own: LockContent = { ...(identify(process.pid) as LastingIdentity), nonce: randomUUID() };
  const draft = `${path}.${own.nonce}.draft`;
  await writeFile(draft, JSON.stringify(own), { mode: 0o600, flush: true });
  try {
    while (!(await tryLink(draft, path))) {
      signal?.throwIfAborted();
      const holder = await readLock(path);
      if (holder === undefined) continue;
      // The loop's head says why it was given up, in the signal's own words.
      if (holder.identity !== undefined && isSameProcess(holder.identity))
        await sleep(20, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
      else
        await withLock(`${path}.${holder.nonce}`, signal, async () => {
          if ((await readLock(path))?.nonce === holder.nonce) await rm(path);
        });
    }
  } finally {
    await rm(draft, { force: true });
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}
