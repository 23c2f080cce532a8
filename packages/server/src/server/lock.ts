// One control plane per home folder: the second says so and leaves. Identity is pid and start time, so that a recycled pid is not taken for it.
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";

export interface Holder { readonly pid: number; readonly startTime: string }

/** The start time of a process in clock ticks since boot (proc(5), field 22); undefined when it is gone or a zombie. */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

export function readHolder(file: string): Holder | undefined {
  try {
    const holder = JSON.parse(readFileSync(file, "utf8")) as Holder;
    return processStart(holder.pid) === holder.startTime ? holder : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Takes the lock, or answers who holds it. */
export function takeLock(file: string): { readonly ok: true; readonly release: () => void } | { readonly ok: false; readonly holder: Holder } {
  const own: Holder = { pid: process.pid, startTime: processStart(process.pid) ?? "" };
  for (;;) {
    try {
      const handle = openSync(file, "wx", 0o600);
      writeSync(handle, JSON.stringify(own));
      closeSync(handle);
      return { ok: true, release: () => { rmSync(file, { force: true }); } };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = readHolder(file);
    if (holder !== undefined) return { ok: false, holder };
    rmSync(file, { force: true });
  }
}
