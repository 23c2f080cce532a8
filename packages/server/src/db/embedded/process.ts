// Who a process is on this machine: pid + start time + boot id, and a lock file that carries it.
// Must never believe a bare pid: after a crash it may name a zombie or a stranger.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

export interface ProcessIdentity { readonly pid: number; /** Clock ticks after boot, field 22 of /proc/PID/stat. */ readonly start: string; readonly boot: string }

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ESRCH";
}

/** State letter, parent and start time of a process; undefined when there is none. */
export function processStat(pid: number): { state: string; parent: number; start: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  // The second field is the program's name in brackets and may itself hold brackets and blanks.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "?", parent: Number(fields[1]), start: fields[19] ?? "" };
}

/** True while the process does something: a zombie or a dead entry does not count. */
export function isRunning(pid: number): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.state !== "Z" && stat.state !== "X";
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

/** The identity of a process that runs now; undefined when it does not. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = processStat(pid);
  return stat === undefined || stat.state === "Z" || stat.state === "X" ? undefined : { pid, start: stat.start, boot: bootId() };
}

/** True while exactly that process runs. */
export function isSameProcess(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now !== undefined && now.start === identity.start && now.boot === identity.boot;
}

interface LockContent extends ProcessIdentity { readonly nonce: string }

async function readLock(path: string): Promise<LockContent | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as LockContent;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Runs `work` while holding the lock file. A holder that died is recognised by its identity, never by age. Breaking a dead
 * holder's lock is itself done under a lock named by that holder's nonce, so that two breakers never remove a living lock.
 */
export async function withLock<T>(path: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const own: LockContent = { ...(identify(process.pid) as ProcessIdentity), nonce: randomUUID() };
  const draft = `${path}.${own.nonce}.draft`;
  await writeFile(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    while (!(await tryLink(draft, path))) {
      signal?.throwIfAborted();
      const holder = await readLock(path);
      if (holder === undefined) continue;
      if (isSameProcess(holder)) await sleep(20, undefined, signal === undefined ? {} : { signal });
      else await withLock(`${path}.${holder.nonce}`, signal, async () => {
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
