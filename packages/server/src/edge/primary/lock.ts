// One edge per run folder: a lock file that names its holder by pid and start time, so that a stale one is recognised after a crash or a reused pid.
import { randomBytes } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";

/** Takes the lock or throws when a living process holds it. */
export async function takeLock(file: string): Promise<void> {
  const mine = `${String(process.pid)} ${await startTime(process.pid) ?? ""}`;
  const draft = `${file}.${String(process.pid)}.${randomBytes(4).toString("hex")}`;
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    for (;;) {
      try {
        await link(draft, file);
        return;
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      }
      const holder = await readFile(file, "utf8").catch(() => "");
      if (holder !== "" && (await isAlive(holder))) throw new Error(`another edge (pid ${holder.split(" ")[0] ?? ""}) runs with this run folder`);
      // Moved away, not deleted: if a third process was quicker, what was moved is its lock, and it gets it back.
      const aside = `${draft}.stale`;
      await rename(file, aside).catch(() => undefined);
      const moved = await readFile(aside, "utf8").catch(() => holder);
      if (moved !== holder) await rename(aside, file);
      else await rm(aside, { force: true });
    }
  } finally {
    await rm(draft, { force: true });
  }
}

export async function releaseLock(file: string): Promise<void> {
  const holder = await readFile(file, "utf8").catch(() => "");
  if (holder.startsWith(`${String(process.pid)} `)) await rm(file, { force: true });
}

async function isAlive(holder: string): Promise<boolean> {
  const [pid = "", started = ""] = holder.split(" ");
  return started !== "" && (await startTime(Number(pid))) === started;
}

/** Field 22 of /proc/PID/stat with the boot id: the same pid in another life differs. */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${String(pid)}/stat`, "utf8");
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : `${fields[19] ?? ""}@${boot.trim()}`;
  } catch {
    return undefined; // no such process
  }
}
